//! `changeagent backup`: what a node holds, as a directory or an archive of its own.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::{
    failure::{Failure, Problem},
    node::{Answer, Node, NodeArguments, OCTETS, RetryArguments},
    progress::Progress,
};
use crate::{
    backup::{self, BackupError, Held, Manifest, Part, Piece, Source},
    base::ids::{ClusterId, LogId, Timestamp},
    log::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN},
    server,
};

/// What to back up, and where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    /// A directory, which is made, or holds an earlier backup that is gone on with; - writes a tar
    /// archive to standard output
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    #[command(flatten)]
    retry: RetryArguments,
    /// Everything that was acknowledged before, by any node (strong), or what this node has applied
    /// (local): also without a leader
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    consistency: Consistency,
    /// At most so many bytes a second
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    rate: Option<u64>,
    /// How large the parts of the log get in it
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = segment_bytes)]
    segment_size: usize,
}

/// What a backup must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Consistency {
    #[default]
    Strong,
    Local,
}

fn rate(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse()?;
    if size.as_u64() > 0 { Ok(size.as_u64()) } else { Err("must be more than nothing".into()) }
}

fn segment_bytes(text: &str) -> Result<usize, String> {
    let size: ByteSize = text.parse()?;
    match (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size.as_u64()) {
        true => usize::try_from(size.as_u64()).map_err(|error| error.to_string()),
        false => Err("must be from 32KiB to 1GiB".into()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = Node::new(&arguments.node, arguments.retry)?;
    let (out, size) = (&arguments.out, arguments.segment_size);
    let is_archive = out.as_os_str() == "-";
    if is_archive && io::stdout().is_terminal() {
        return Err(Failure::Usage("an archive is not written to a terminal".into()));
    }
    let Arguments { consistency, rate, .. } = *arguments;
    let mut source = Client { node: &node, consistency, rate, begun: Instant::now(), received: 0 };
    let progress = Progress::of_ids();
    let told = |reached, goal| {
        progress.total(goal);
        progress.reach(reached);
    };
    let made = match is_archive {
        true => {
            let mut archive = server::Archive::new(io::BufWriter::new(io::stdout().lock()));
            backup::run(&mut source, &mut archive, Held::nothing(), size, told)
        }
        false => server::backup(out, &mut source, size, told),
    };
    let received = source.received;
    drop(progress);
    let manifest = made.map_err(|error| failure(out, error))?;
    eprintln!("{}", summary(&manifest, received));
    Ok(())
}

fn failure(out: &Path, error: BackupError<Failure>) -> Failure {
    match error {
        BackupError::Source(failure) if failure.is("no-leader") => Failure::Other(format!(
            "{failure}; --consistency local copies what this node has applied"
        )),
        BackupError::Source(failure) => failure,
        other => Failure::Other(format!("{}: {other}", out.display())),
    }
}

fn summary(manifest: &Manifest, received: u64) -> String {
    let changes = match manifest.first <= manifest.last {
        true => format!("changes {} to {}", manifest.first, manifest.last),
        false => "no change".to_owned(),
    };
    format!(
        "backed up {changes} of cluster {}: {} received, {} in {} files",
        manifest.cluster(),
        ByteSize(received),
        ByteSize(manifest.bytes()),
        manifest.files.len()
    )
}

/// A node as the source of a backup.
struct Client<'n> {
    node: &'n Node,
    consistency: Consistency,
    rate: Option<u64>,
    begun: Instant,
    /// Bytes of its log and its checkpoint that came.
    received: u64,
}

impl Client<'_> {
    /// Waits until what came is no more than the rate allows.
    fn pause(&self) {
        if let Some(rate) = self.rate {
            thread::sleep(time_at(rate, self.received).saturating_sub(self.begun.elapsed()));
        }
    }

    /// Asks until `read` makes something of an answer, or all tries are used up.
    fn ask<T>(
        &mut self,
        target: &str,
        read: impl Fn(Answer) -> Result<(T, Bytes), Failure>,
    ) -> Result<(T, Bytes), Failure> {
        let mut backoff = self.node.backoff();
        loop {
            match self.node.get(target, OCTETS).and_then(&read) {
                Ok((said, bytes)) => {
                    self.received += bytes.len() as u64;
                    self.pause();
                    return Ok((said, bytes));
                }
                Err(failure) => backoff.wait(failure)?,
            }
        }
    }
}

/// How long it would have taken at a rate, to receive so much.
fn time_at(rate: u64, bytes: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate as f64)
}

/// The node has not yet what is asked for.
fn behind(target: &str) -> Failure {
    let detail = "this node lies behind what the backup holds".to_owned();
    let problem = Problem { status: 503, code: "behind".into(), detail, ..Problem::default() };
    Failure::Refused { request: format!("GET {target}"), problem: Box::new(problem) }
}

/// What a node says besides a piece of its log.
struct Said {
    applied: u64,
    last: u64,
    last_at: u64,
}

impl Source for Client<'_> {
    type Error = Failure;

    fn entries(
        &mut self,
        from: u64,
        to: Option<u64>,
        must: bool,
    ) -> Result<Result<Piece, LogId>, Failure> {
        let mut target = format!("/cluster/log?from={from}");
        if let Some(to) = to {
            target += &format!("&to={to}");
        } else if self.consistency == Consistency::Strong {
            target += "&consistency=strong";
        }
        let asked = self.ask(&target, |answer| {
            let said = Said {
                applied: answer.number("changeagent-log-applied")?,
                last: answer.number("changeagent-log-last")?,
                last_at: answer.number("changeagent-log-time")?,
            };
            let bytes = answer.bytes()?;
            if must && bytes.is_empty() { Err(behind(&target)) } else { Ok((said, bytes.into())) }
        });
        match asked {
            Ok((Said { applied, last, last_at }, frames)) => {
                Ok(Ok(Piece { frames, applied, last, last_at: Timestamp(last_at) }))
            }
            Err(Failure::Refused { problem, .. }) if problem.purged.is_some() => {
                let (index, term) = (problem.purged, problem.purged_term);
                let (index, term) = (index.unwrap_or_default(), term.unwrap_or_default());
                Ok(Err(LogId { term, index }))
            }
            Err(failure) => Err(failure),
        }
    }

    fn checkpoint(&mut self, index: Option<u64>, from: u64) -> Result<Option<Part>, Failure> {
        let mut target = format!("/cluster/checkpoint?from={from}");
        if let Some(index) = index {
            target += &format!("&index={index}");
        }
        let asked = self.ask(&target, |answer| {
            let index = answer.number("changeagent-checkpoint")?;
            let total = answer.number("changeagent-checkpoint-bytes")?;
            Ok(((index, total), answer.bytes()?.into()))
        });
        match asked {
            // It would never end.
            Ok(((_, total), bytes)) if bytes.is_empty() && from < total => Ok(None),
            Ok(((index, total), bytes)) => Ok(Some(Part { index, total, bytes })),
            Err(failure) if failure.is("not-found") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn cluster(&mut self) -> Result<ClusterId, Failure> {
        self.node.get_newest()?;
        let cluster = self.node.cluster().and_then(|text| Uuid::parse_str(text).ok());
        let url = self.node.url();
        cluster.map(ClusterId).ok_or_else(|| Failure::Other(format!("{url}: not a ChangeAgent")))
    }
}
