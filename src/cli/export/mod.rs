//! `changeagent export`: a list as NDJSON, to standard output or a file.

mod origin;
mod output;

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    failure::Failure,
    list::{List, ListArguments},
    node::{Node, NodeArguments, RetryArguments},
    order::Order,
    page::{Head, head},
    progress::Progress,
    reader::{Reader, Sink},
};
use origin::Origin;
use output::Output;

/// What to write, and where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    list: ListArguments,
    #[command(flatten)]
    retry: RetryArguments,
    /// Start with what follows this id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    since: u64,
    /// Write to this file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on after the last complete line of the file, if it exists; of the same list
    #[arg(long, requires = "out", conflicts_with = "since")]
    resume: bool,
}

/// Writes, checks and counts.
struct Export {
    output: Output,
    order: Order,
    progress: Progress,
}

impl Sink for Export {
    fn until(&mut self, newest: u64) {
        self.progress.total(newest);
    }

    fn take(&mut self, id: u64, line: &[u8]) -> Result<(), Failure> {
        self.order.take(id)?;
        self.output.line(line)?;
        self.progress.reach(id);
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = Node::new(&arguments.node, arguments.retry)?;
    let list = List::new(&arguments.list)?;
    let (output, since) = match &arguments.out {
        None => (Output::stdout(), arguments.since),
        Some(path) if arguments.resume => {
            let origin = Origin::of(&node, &arguments.list)?;
            origin.check(path)?;
            let begun = resumed(&node, path)?;
            origin.note(path)?;
            begun
        }
        Some(path) => {
            let origin = Origin::of(&node, &arguments.list)?;
            let output = Output::create(path)?;
            origin.note(path)?;
            (output, arguments.since)
        }
    };
    let order = Order::new(since, list.is_everything());
    let mut export = Export { output, order, progress: Progress::of_ids() };
    let outcome = Reader::new(&node, &list, since).run(&mut export);
    let Export { output, order, progress } = export;
    drop(progress);
    // What has been read is kept, so that resuming goes on from there.
    let finished = output.finish();
    match outcome.and(finished) {
        Ok(()) => {
            eprintln!("exported {}", order.summary());
            Ok(())
        }
        Err(Failure::OutputClosed) => Err(Failure::OutputClosed),
        Err(failure) if order.count == 0 => Err(failure),
        Err(failure) => Err(failure.at(format!("after change {}", order.last))),
    }
}

/// The file, and the id of its last change.
fn resumed(node: &Node, path: &Path) -> Result<(Output, u64), Failure> {
    let (output, last) = Output::resume(path)?;
    let Some(line) = last else { return Ok((output, 0)) };
    let last = head(&line).map_err(|failure| failure.at(path.display()))?;
    check_history(node, &last, path)?;
    Ok((output, last.id))
}

/// Checks that the last change of a file is one of this node's: ids of another
/// history would be mixed with it.
fn check_history(node: &Node, last: &Head, path: &Path) -> Result<(), Failure> {
    let here = match node.get_json(&format!("/changes/{}", last.id)) {
        Ok(bytes) => head(&bytes)?,
        // No longer held, so it was.
        Err(failure) if failure.is("purged") => return Ok(()),
        Err(failure) => return Err(failure.at(path.display())),
    };
    if here == *last {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "{}: its last change is not change {} of {}: it was written from another database",
        path.display(),
        last.id,
        node.url()
    )))
}
