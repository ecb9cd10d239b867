//! What clients asked and what they were told: all that the oracle knows.

use std::fmt;

use crate::base::ids::NodeId;

/// A moment in the order of the events of a run. No two events share one.
pub type Moment = u64;

/// A request with its answer.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asked.
    pub client: u64,
    /// Which node was asked.
    pub node: NodeId,
    /// How often that node had begun anew with another disk.
    pub life: u32,
    /// Before anything of it was sent.
    pub called: Moment,
    /// When the client knew what came of it.
    pub returned: Moment,
    pub asked: Asked,
    pub told: Told,
    /// The newest change that the node said to hold with its answer.
    pub last: Option<u64>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// New changes, all of them or none.
    Append {
        /// What tells each from all others.
        labels: Vec<u64>,
        place: Place,
        /// The same key means the same request.
        idempotency: Option<String>,
    },
    /// The value of a key.
    Put { label: u64, key: u64, condition: Condition },
    /// The end of a key.
    Delete { key: u64, condition: Condition },
    /// A part of a list.
    List { filter: Filter, since: u64, consistency: Consistency },
    /// The current change of a key.
    Key { key: u64, consistency: Consistency },
}

/// How new what is read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// What the node holds.
    Local,
    /// All that was acknowledged before.
    Strong,
    /// At least that change.
    AtLeast(u64),
}

/// What a key must be for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    None,
    /// Its current change has that id.
    Is(u64),
    /// There is none.
    IsAbsent,
}

/// Where a change belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// One of the tenants of a run, by its number.
    pub tenant: Option<u64>,
    /// It bears the tag of that number.
    pub tag: Option<u64>,
}

/// Which changes a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    All,
    Tenant(u64),
    Tag(u64),
    /// The changes of keys: they are of one collection.
    Collection,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A write happened; its changes have ids from this one on. With a key: whether
    /// there was none before.
    Done { first: u64, created: bool },
    /// A condition does not hold, or there is nothing to delete: this was there.
    Refused { current: Option<u64> },
    /// It certainly did not happen, or was not read.
    Failed,
    /// Nobody knows whether it happened.
    Unknown,
    /// A part of a list: changes after `since` up to and with `last`.
    Page { changes: Vec<Seen>, last: u64, at_end: bool },
    /// A key.
    Key(Option<Seen>),
    /// That part of the list is held no more: what is held begins with `first`.
    Purged { first: u64 },
    /// What a client must not be told.
    Odd(String),
}

/// A change as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: u64,
    /// Its very bytes.
    pub text: String,
}

impl fmt::Display for Call {
    /// On one line, for the trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, node, called, returned, asked, told, last, .. } = self;
        write!(f, "client {client} at {node} [{called} {returned}] {asked} -> {told}")?;
        last.map_or(Ok(()), |last| write!(f, " (last {last})"))
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { labels, place, idempotency } => {
                write!(f, "append {labels:?}")?;
                place.tenant.map_or(Ok(()), |tenant| write!(f, " tenant {tenant}"))?;
                place.tag.map_or(Ok(()), |tag| write!(f, " tag {tag}"))?;
                idempotency.as_ref().map_or(Ok(()), |key| write!(f, " under {key}"))
            }
            Self::Put { label, key, condition } => write!(f, "put {label} at k{key}{condition}"),
            Self::Delete { key, condition } => write!(f, "delete k{key}{condition}"),
            Self::List { filter, since, consistency } => {
                write!(f, "read {filter:?} after {since} {consistency:?}")
            }
            Self::Key { key, consistency } => write!(f, "read k{key} {consistency:?}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Is(id) => write!(f, " if it is {id}"),
            Self::IsAbsent => write!(f, " if there is none"),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { first, created } => {
                write!(f, "done as {first}{}", if *created { "" } else { ", replaced" })
            }
            Self::Refused { current } => write!(f, "refused, it is {current:?}"),
            Self::Failed => write!(f, "failed"),
            Self::Unknown => write!(f, "unknown"),
            Self::Page { changes, last, at_end } => {
                let (first, to) = (changes.first(), changes.last());
                let ids = first.zip(to).map(|(first, to)| (first.id, to.id));
                let end = if *at_end { ", the end" } else { "" };
                write!(f, "{} changes {ids:?}, up to {last}{end}", changes.len())
            }
            Self::Key(seen) => write!(f, "{:?}", seen.as_ref().map(|seen| &seen.text)),
            Self::Purged { first } => write!(f, "purged, {first} is the first"),
            Self::Odd(text) => write!(f, "ODD: {text}"),
        }
    }
}
