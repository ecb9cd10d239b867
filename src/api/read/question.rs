//! What a read asks for, kept while it waits.

use uuid::Uuid;

use crate::{
    api::{
        error::{ApiError, Code},
        request::tag_filter::TagFilter,
    },
    base::{batch::Conditions, ids::ChangeId},
    state::{Cursor, Index, ListId, index::ListKey},
};

/// Where in a list a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Start {
    /// With the oldest change held.
    Oldest,
    /// After this change; none that follows it may be missing.
    After(ChangeId),
}

impl Start {
    /// The id that it comes after.
    pub(in crate::api) fn id(self) -> ChangeId {
        match self {
            Self::Oldest => ChangeId::ZERO,
            Self::After(id) => id,
        }
    }

    /// Whether changes that follow it are gone, `first` being the oldest held.
    pub(in crate::api) fn is_purged(self, first: ChangeId) -> bool {
        matches!(self, Self::After(id) if id.0 < first.0 - 1)
    }
}

/// A read of a list, as it is asked again after each wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Question {
    pub(in crate::api) list: ListId,
    pub(in crate::api) start: Start,
    pub(in crate::api) limit: usize,
    pub(in crate::api) tags: TagFilter,
    /// Answer from a state that holds this id.
    pub(in crate::api) min_id: ChangeId,
    /// Whether to wait for a change to answer with.
    pub(in crate::api) block: bool,
}

impl Question {
    /// What finds the changes that are asked for; nothing when all are.
    ///
    /// # Errors
    /// [`Code::NotFound`] when the tenant or collection is gone.
    pub(in crate::api) fn cursor(&self, index: &Index) -> Result<Option<Cursor>, ApiError> {
        let tags: Vec<ListKey> = self.tags.spellings().map(ListKey::tag).collect();
        let gone = |what| ApiError::new(Code::NotFound, format!("the {what} does not exist"));
        Ok(match self.list {
            ListId::All if tags.is_empty() => None,
            ListId::All => Some(Cursor::tagged(&tags)),
            ListId::Tenant(id) => {
                let tenant = index.catalog.tenant(id).ok_or_else(|| gone("tenant"))?;
                Some(Cursor::tenant(tenant, &tags))
            }
            ListId::Collection(id) => {
                let collection = index.catalog.collection(id).ok_or_else(|| gone("collection"))?;
                Some(Cursor::collection(collection, &tags))
            }
        })
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
    /// `If-Match`
    pub(in crate::api) wanted: Conditions,
    /// `If-None-Match`: versions that the client has.
    pub(in crate::api) known: Conditions,
}
