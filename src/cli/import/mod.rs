//! `changeagent import`: stores the changes of a file in their order, each
//! exactly once.
//!
//! Every request bears an `Idempotency-Key` made of the import's id and the place
//! in the file where it starts. The journal says how far the import has got and
//! what the next request holds; it is written before each request. An import that
//! was killed sends exactly that request again, with the same key, and gets the
//! same answer; once the node may have forgotten the key, it looks into the list
//! first whether the request was carried out.

mod batch;
mod change;
mod journal;
mod request;
mod session;
mod source;
mod stored;
mod tally;

use std::path::PathBuf;

use clap::Args;

use super::{
    failure::Failure,
    files::beside,
    list::PlaceArguments,
    node::{Node, NodeArguments, RetryArguments},
};
use change::{Maps, Rewrite};
use journal::Journal;
use session::{Session, Target};
use source::Source;

/// What to store, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    retry: RetryArguments,
    /// One change a line, as export writes them, or an array of them, perhaps packed by gzip; - is
    /// standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put every change into this tenant, without its own tenant, collection and key
    #[arg(long, value_name = "T", conflicts_with = "map")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    tenant: Option<String>,
    /// Put what is of tenant or collection OLD into NEW; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = change::pair)]
    map: Vec<(uuid::Uuid, uuid::Uuid)>,
    /// Leave out the changes that delete a key, collection or tenant
    #[arg(long)]
    skip_deletions: bool,
    /// Most changes sent at once
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Most bytes sent at once, unless one change alone is larger
    #[arg(long, value_name = "SIZE", default_value = "4MiB")]
    batch_bytes: bytesize::ByteSize,
    /// Where progress is kept [default: FILE.import; none for standard input]
    #[arg(long, value_name = "PATH")]
    journal: Option<PathBuf>,
}

impl Arguments {
    fn journal(&self) -> Option<PathBuf> {
        let is_file = self.file.as_os_str() != "-";
        self.journal.clone().or_else(|| is_file.then(|| beside(&self.file, ".import")))
    }

    fn rewrite(&self) -> Result<Rewrite, Failure> {
        Ok(Rewrite {
            into_tenant: self.tenant.is_some(),
            maps: Maps::new(&self.map)?,
            skip_deletions: self.skip_deletions,
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let rewrite = arguments.rewrite()?;
    let node = Node::new(&arguments.node, arguments.retry)?;
    let source = Source::open(&arguments.file)?;
    let journal = Journal::open(arguments.journal())?;
    // Which history the node serves, and how far it has got, is known before
    // anything is stored in it.
    let newest = node.get_newest()?;
    let place = PlaceArguments { tenant: arguments.tenant.clone(), collection: None };
    let target = Target {
        path: format!("{}/changes", place.path()?),
        list: format!("{}/changes", place.identity(&node)?),
        newest,
    };
    let limits = batch::Limits {
        changes: arguments.batch as usize,
        bytes: usize::try_from(arguments.batch_bytes.as_u64()).unwrap_or(usize::MAX),
    };
    Session::begin(&node, source, journal, &rewrite, target, limits)?.run()
}
