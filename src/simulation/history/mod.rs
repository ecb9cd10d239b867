//! What clients asked and what they were told: all that the oracle knows.

mod kinds;
mod text;

use uuid::Uuid;

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
    /// Requests with the same key are the same request.
    pub idempotency: Option<String>,
    pub told: Told,
    /// The newest change that the node said to hold with its answer.
    pub last: Option<u64>,
    /// The history that it said to be of.
    pub cluster: Option<Uuid>,
    /// So many seconds ago, or later, a copy had all that its origin had then, as it said.
    pub age: Option<u64>,
}

/// What a node said to be.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    pub node: NodeId,
    /// How often it had begun with an empty disk.
    pub begun: u32,
    pub cluster: Uuid,
    /// Its number among the members.
    pub number: u64,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// New changes, all of them or none.
    Append(Vec<New>),
    /// The value of a key.
    Put { new: New, condition: Condition },
    /// The end of a key.
    Delete { key: Key, condition: Condition },
    /// A tenant of that name, or a collection of that tenant.
    Make { tenant: Option<Uuid>, name: String },
    /// The end of a tenant or a collection.
    End(Thing),
    /// The end of what a change says.
    Redact(u64),
    /// How many of its newest changes a tenant keeps in its lists.
    Retain { tenant: Uuid, changes: u64 },
    /// A part of a list.
    List { filter: Filter, since: u64, consistency: Consistency },
    /// A part of a list, from the first change on that is stamped later than `at`, in microseconds.
    Later { filter: Filter, at: u64, consistency: Consistency },
    /// The current changes of all keys of a collection, and what changed after that.
    State { collection: Uuid },
    /// The current change of a key.
    Key { key: Key, consistency: Consistency },
    /// The current changes of the keys of a collection, those behind `after` that begin with
    /// `prefix`, `limit` at most.
    Keys { collection: Uuid, prefix: String, after: String, limit: usize, consistency: Consistency },
    /// The names of all tenants with what they stand for, or of the collections of that one.
    Names { tenant: Option<Uuid> },
}

/// A change that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct New {
    /// What tells it from all others.
    pub label: u64,
    pub place: Place,
}

/// Where a change belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub tenant: Option<Uuid>,
    /// One of that tenant.
    pub collection: Option<Uuid>,
    /// The key of that number in that collection.
    pub key: Option<u64>,
    /// It bears the tag of that number.
    pub tag: Option<u64>,
    /// This version of the key is to live so many seconds.
    pub ttl: Option<u64>,
}

/// A key of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub collection: Uuid,
    pub number: u64,
}

/// What has a name, and comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Tenant(Uuid),
    Collection(Uuid),
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
    /// It has one of these.
    IsOneOf(u64, u64),
    /// It has another, or there is none.
    IsNot(u64),
    /// There is one.
    Exists,
    /// There is none.
    IsAbsent,
}

impl Condition {
    /// Whether it holds for a key that is `current`.
    pub fn holds(self, current: Option<u64>) -> bool {
        match self {
            Self::None => true,
            Self::Is(id) => current == Some(id),
            Self::IsOneOf(one, other) => current == Some(one) || current == Some(other),
            Self::IsNot(id) => current != Some(id),
            Self::Exists => current.is_some(),
            Self::IsAbsent => current.is_none(),
        }
    }
}

/// Which changes a list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of that tenant or collection; without one, of all.
    pub of: Option<Thing>,
    /// And those of that one.
    pub also: Option<Thing>,
    /// Those that bear that tag.
    pub tag: Option<u64>,
}

impl Filter {
    /// The tenants and collections of which it has the changes.
    pub fn things(self) -> impl Iterator<Item = Thing> {
        self.of.into_iter().chain(self.also)
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A write happened; its changes have ids from this one on. With a key: whether
    /// there was none before.
    Done { first: u64, created: bool },
    /// What was to have the name is that.
    Made(Uuid),
    /// The name belongs to that.
    Taken(Uuid),
    /// What a change says is gone.
    Redacted,
    /// A tenant keeps so much from now on.
    Retained,
    /// A condition does not hold, or there is nothing to delete: this was there.
    Refused { current: Option<u64> },
    /// Something that the request names is not there.
    Gone,
    /// It certainly did not happen, or was not read.
    Failed,
    /// Nobody knows whether it happened.
    Unknown,
    /// A part of a list: changes after `since` up to and with `last`.
    Page { changes: Vec<Seen>, last: u64, at_end: bool },
    /// A key.
    Key(Option<Seen>),
    /// The changes that came of a state, and those of the keys that there were once the list ended
    /// with `upto`, by what had come until then.
    State { changes: Vec<Seen>, held: Vec<u64>, upto: u64 },
    /// Keys in their order; `at_end` when there are no more of them.
    Keys { changes: Vec<Seen>, at_end: bool },
    /// Names with what they stand for.
    Names(Vec<(String, Uuid)>),
    /// That part of the list is held no more: what is held begins with `first`.
    Purged { first: u64 },
    /// The node cannot read these changes, the first and the last, from its disk.
    Damaged { first: u64, last: u64 },
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

impl Asked {
    /// The changes that it would add.
    pub fn news(&self) -> &[New] {
        match self {
            Self::Append(news) => news,
            Self::Put { new, .. } => std::slice::from_ref(new),
            _ => &[],
        }
    }

    /// Whether nothing changes by it.
    pub fn is_read(&self) -> bool {
        match self {
            Self::Append(_)
            | Self::Put { .. }
            | Self::Delete { .. }
            | Self::Make { .. }
            | Self::End(_)
            | Self::Redact(_)
            | Self::Retain { .. } => false,
            Self::List { .. }
            | Self::Later { .. }
            | Self::State { .. }
            | Self::Key { .. }
            | Self::Keys { .. }
            | Self::Names { .. } => true,
        }
    }

    /// The tenants and collections without which it can do nothing.
    pub fn needs(&self) -> Vec<Thing> {
        let of_place = |place: &Place| {
            let collection = place.collection.map(Thing::Collection);
            collection.or(place.tenant.map(Thing::Tenant))
        };
        match self {
            Self::Append(news) => news.iter().filter_map(|new| of_place(&new.place)).collect(),
            Self::Put { new, .. } => of_place(&new.place).into_iter().collect(),
            Self::Delete { key, .. } | Self::Key { key, .. } => {
                vec![Thing::Collection(key.collection)]
            }
            Self::Keys { collection, .. } | Self::State { collection } => {
                vec![Thing::Collection(*collection)]
            }
            Self::Make { tenant, .. } | Self::Names { tenant } => {
                tenant.map(Thing::Tenant).into_iter().collect()
            }
            Self::Retain { tenant, .. } => vec![Thing::Tenant(*tenant)],
            Self::End(thing) => vec![*thing],
            Self::Redact(_) => Vec::new(),
            Self::List { filter, .. } | Self::Later { filter, .. } => filter.things().collect(),
        }
    }
}

impl Place {
    /// The key, where it has one.
    pub fn key(&self) -> Option<Key> {
        Some(Key { collection: self.collection?, number: self.key? })
    }
}

impl Seen {
    /// When it was ordered, in microseconds.
    pub fn stamp(&self) -> Option<u64> {
        let (_, rest) = self.text.split_once("\"_ts\":")?;
        rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
    }

    /// Whether it was redacted.
    pub fn is_redacted(&self) -> bool {
        self.text.ends_with(",\"redacted\":true}")
    }
}
