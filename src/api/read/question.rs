//! What a read asks for, kept while it waits.

use std::sync::Arc;

use uuid::Uuid;

use super::caching::Caching;
use crate::{
    api::{
        error::{ApiError, Code},
        request::tag_filter::TagFilter,
    },
    base::{
        batch::Conditions,
        ids::{ChangeId, Timestamp},
    },
    feed::Wait,
    node::Handle,
    state::{
        Cursor, Index, ListId,
        index::{ListKey, ListOf},
    },
};

/// The list that a read is of, or those of which it has the changes of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum Lists {
    One(ListId),
    /// Tenants and collections, each once.
    Any(Arc<[ListId]>),
}

impl Lists {
    /// Each of them.
    pub(in crate::api) fn each(&self) -> &[ListId] {
        match self {
            Self::One(list) => std::slice::from_ref(list),
            Self::Any(lists) => lists,
        }
    }

    /// Waits for a change of any of them after `since`.
    pub(in crate::api) fn wait_after(&self, node: &Handle, since: ChangeId) -> Wait {
        match self {
            Self::One(list) => node.wait_after(*list, since),
            Self::Any(lists) => node.wait_after_any(lists, since),
        }
    }

    /// What finds their changes that bear one of `tags`; nothing when all changes are wanted.
    ///
    /// # Errors
    /// [`Code::NotFound`] when a tenant or collection is gone.
    fn cursor(&self, index: &Index, tags: &[ListKey]) -> Result<Option<Cursor>, ApiError> {
        Ok(match self {
            Self::One(ListId::All) if tags.is_empty() => None,
            Self::One(ListId::All) => Some(Cursor::tagged(tags)),
            Self::One(list) => Some(match list_of(index, *list)? {
                (ListOf::Tenant(tenant), _) => Cursor::tenant(tenant, tags),
                (ListOf::Collection(collection), _) => Cursor::collection(collection, tags),
            }),
            Self::Any(lists) => {
                let lists: Result<Vec<_>, _> =
                    lists.iter().map(|list| list_of(index, *list)).collect();
                Some(Cursor::any(lists?, tags))
            }
        })
    }
}

/// A tenant or collection, and the lowest change that its list may have.
fn list_of(index: &Index, list: ListId) -> Result<(ListOf, ChangeId), ApiError> {
    let gone = |what: &str, id: &Uuid| {
        ApiError::new(Code::NotFound, format!("the {what} {id} does not exist"))
    };
    let begins = |tenant| index.catalog.tenant(tenant).map_or(ChangeId::ZERO, |of| of.begins());
    match list {
        ListId::All => unreachable!("the whole list is of no tenant"),
        ListId::Tenant(id) => {
            let tenant = index.catalog.tenant(id).ok_or_else(|| gone("tenant", &id))?;
            let begins = tenant.begins();
            Ok((ListOf::Tenant(tenant), begins))
        }
        ListId::Collection(id) => {
            let collection = index.catalog.collection(id).ok_or_else(|| gone("collection", &id))?;
            let begins = begins(collection.tenant);
            Ok((ListOf::Collection(collection), begins))
        }
    }
}

/// Where in a list a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Start {
    /// With the oldest change held.
    Oldest,
    /// After this change; none that follows it may be missing.
    After(ChangeId),
    /// Below this change, the newest ones; without one, of all.
    Before(Option<ChangeId>),
}

impl Start {
    /// The id that it comes after.
    pub(in crate::api) fn id(self) -> ChangeId {
        match self {
            Self::Oldest => ChangeId::ZERO,
            Self::After(id) => id,
            Self::Before(_) => unreachable!("what goes backwards comes after nothing"),
        }
    }

    /// Whether changes that follow it are gone, `first` being the oldest held.
    pub(in crate::api) fn is_purged(self, first: ChangeId) -> bool {
        match self {
            Self::Oldest | Self::Before(None) => false,
            Self::After(id) => id.0 < first.0 - 1,
            Self::Before(Some(id)) => ChangeId(1) < id && id <= first && first > ChangeId(1),
        }
    }
}

/// A read of a list, as it is asked again after each wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Question {
    pub(in crate::api) lists: Lists,
    pub(in crate::api) start: Start,
    /// Only changes that are stamped later. There was none when the read began.
    pub(in crate::api) later_than: Option<Timestamp>,
    pub(in crate::api) limit: usize,
    pub(in crate::api) tags: TagFilter,
    /// Answer from a state that holds this id.
    pub(in crate::api) min_id: ChangeId,
    /// Whether to wait for a change to answer with.
    pub(in crate::api) block: bool,
    /// How the answer may be kept; nothing when it may not.
    pub(in crate::api) caching: Option<Box<Caching>>,
}

impl Question {
    /// What finds the changes that are asked for; nothing when all are.
    ///
    /// # Errors
    /// [`Code::NotFound`] when the tenant or collection is gone.
    pub(in crate::api) fn cursor(&self, index: &Index) -> Result<Option<Cursor>, ApiError> {
        let tags: Vec<ListKey> = self.tags.spellings().map(ListKey::tag).collect();
        self.lists.cursor(index, &tags)
    }
}

/// A read of a key, as it is asked again after each wait.
pub(in crate::api) struct KeyQuestion {
    pub(in crate::api) collection: Uuid,
    pub(in crate::api) key: Box<str>,
    /// Only a version after this one is of interest.
    pub(in crate::api) since: Option<ChangeId>,
    /// Whether to wait for one.
    pub(in crate::api) block: bool,
    /// Whether to wait for a key that is not there, too.
    pub(in crate::api) waits_if_absent: bool,
    /// `If-Match`
    pub(in crate::api) wanted: Conditions,
    /// `If-None-Match`: versions that the client has.
    pub(in crate::api) known: Conditions,
}

/// A read of the keys that moved, as it is asked again after each wait.
pub(in crate::api) struct MovedQuestion {
    pub(in crate::api) collection: Uuid,
    pub(in crate::api) prefix: Box<str>,
    /// Only what changed after this.
    pub(in crate::api) since: ChangeId,
    pub(in crate::api) limit: usize,
    /// Whether to wait for a key that moves.
    pub(in crate::api) block: bool,
}
