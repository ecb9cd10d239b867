//! What is erased of a segment, and its index without that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    delta,
    index::{ListKey, lists},
    sealed::{self, SealedSegment},
};
use crate::{
    base::{batch::Erasure, ids::ChangeId, planted::planted},
    sections::{Builder, Fault, Sections},
};

/// Changes of one segment that are to be erased.
#[derive(Debug, Default)]
pub struct ToErase {
    /// By the indexes of their entries, what of the batch goes.
    pub batches: HashMap<u64, Erasure>,
    /// The changes, with the lists that they stay in.
    changes: BTreeMap<ChangeId, Vec<ListKey>>,
    /// Some of their bytes are there still.
    pub has_bytes: bool,
}

impl ToErase {
    /// Those of `ids`, which are in `segment`, that its index does not say to be erased. Waits for
    /// the disk.
    ///
    /// # Errors
    /// What the disk reports, or something is damaged.
    pub fn of(segment: &SealedSegment, ids: &[ChangeId]) -> std::io::Result<Self> {
        let erased = delta::ids(segment.index(), delta::ERASED).map_err(std::io::Error::other)?;
        let erased: BTreeSet<ChangeId> = erased.into_iter().collect();
        let left: Vec<ChangeId> = ids.iter().copied().filter(|id| !erased.contains(id)).collect();
        Self::all(segment, &left)
    }

    /// All of `ids`, which are in `segment`, also where they are erased. Waits for the disk.
    ///
    /// # Errors
    /// What the disk reports, or something is damaged.
    pub fn all(segment: &SealedSegment, ids: &[ChangeId]) -> std::io::Result<Self> {
        let mut found = Self::default();
        for id in ids.iter().copied() {
            if id < segment.first() || segment.last() < id {
                let text = format!("change {id} is not in segment {}", segment.sequence);
                return Err(std::io::Error::other(text));
            }
            let sealed = segment.find_on_disk(id)?;
            segment.map().populate(sealed.range())?;
            let batch = segment.batch(&sealed).map_err(std::io::Error::other)?;
            // Of another tenant, in a copy that has nothing of it.
            let Some(number) = batch.place(id) else { continue };
            let change = batch.change(id);
            let stays = [change.tenant(), change.collection()];
            let stays = stays.into_iter().flatten().map(ListKey::from).collect();
            found.has_bytes |= !change.is_redacted();
            found.batches.entry(sealed.index()).or_default().0.push(number);
            found.changes.insert(id, stays);
        }
        Ok(found)
    }

    /// What its index says to be erased of `segment`. Waits for the disk.
    ///
    /// # Errors
    /// What the disk reports, or something is damaged.
    pub fn again(segment: &SealedSegment) -> std::io::Result<Self> {
        let erased = delta::ids(segment.index(), delta::ERASED).map_err(std::io::Error::other)?;
        Self::all(segment, &erased)
    }

    /// Whether an index says that anything is erased of its segment.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn is_any(index: &Sections) -> Result<bool, Fault> {
        Ok(!delta::ids(index, delta::ERASED)?.is_empty())
    }

    /// Whether all are erased.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The bytes of the index of `segment` as it is once they are erased: it names none of their
    /// tags.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn index(&self, segment: &SealedSegment) -> Result<Vec<u8>, Fault> {
        let sections = segment.index();
        let mut builder = Builder::default();
        for kind in sections.kinds() {
            if ![lists::LISTS, lists::IDS, sealed::SPAN, delta::ERASED].contains(&kind) {
                builder.add(kind, sections.all(kind)?.to_vec());
            }
        }
        let mut lists = segment.lists().all()?;
        for (key, ids) in lists.iter_mut().filter(|_| !planted!(KeepErasedTags)) {
            ids.retain(|id| self.changes.get(id).is_none_or(|stays| stays.contains(key)));
        }
        lists.retain(|(_, ids)| !ids.is_empty());
        sealed::put_lists(&mut builder, lists, (segment.first(), segment.last()));
        let mut erased: BTreeSet<ChangeId> =
            delta::ids(sections, delta::ERASED)?.into_iter().collect();
        erased.extend(self.changes.keys());
        delta::put_ids(&mut builder, delta::ERASED, &erased);
        Ok(builder.finish())
    }
}
