//! Which versions of keys the changes of a batch replaced.

use std::sync::Arc;

use crate::base::ids::ChangeId;

/// A change that took the place of a version of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The number of the change among the accepted ones of its batch.
    pub number: u32,
    /// The version that was current before.
    pub version: ChangeId,
}

/// The versions that the changes of a batch replaced. Mostly there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Previous(Option<Arc<[Replaced]>>);

impl Previous {
    /// Of a batch whose changes replaced these, in the order of their numbers.
    ///
    /// # Panics
    /// If they are in no order.
    #[must_use]
    pub fn of(replaced: Vec<Replaced>) -> Self {
        assert!(replaced.is_sorted_by(|a, b| a.number < b.number), "a change replaces one version");
        Self((!replaced.is_empty()).then(|| replaced.into()))
    }

    /// What the accepted change of that number replaced; [`ChangeId::ZERO`] when that is nothing.
    #[must_use]
    pub fn get(&self, number: u32) -> ChangeId {
        let Some(all) = &self.0 else { return ChangeId::ZERO };
        let found = all.binary_search_by_key(&number, |replaced| replaced.number);
        found.ok().and_then(|at| all.get(at)).map_or(ChangeId::ZERO, |replaced| replaced.version)
    }

    /// All of them, in the order of their numbers.
    #[must_use]
    pub fn all(&self) -> &[Replaced] {
        self.0.as_deref().unwrap_or_default()
    }
}
