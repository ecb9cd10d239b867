//! `changeagent backup`: what a node holds, as a directory or an archive of its own.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use bytesize::ByteSize;
use clap::Args;
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
    /// How large the parts of the log get in it
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = segment_bytes)]
    segment_size: usize,
}

fn segment_bytes(text: &str) -> Result<usize, String> {
    let size: ByteSize = text.parse()?;
    match (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size.as_u64()) {
        true => usize::try_from(size.as_u64()).map_err(|error| error.to_string()),
        false => Err("must be from 32KiB to 1GiB".into()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = Node::new(&arguments.node, arguments.retry);
    let mut source = Client { node: &node, received: 0 };
    let progress = Progress::of_ids();
    let told = |reached, goal| {
        progress.total(goal);
        progress.reach(reached);
    };
    let (out, size) = (&arguments.out, arguments.segment_size);
    let made = match out.as_os_str() == "-" {
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
    /// Bytes of its log and its checkpoint that came.
    received: u64,
}

impl Client<'_> {
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
                    return Ok((said, bytes));
                }
                Err(failure) => backoff.wait(failure)?,
            }
        }
    }
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
