//! A sealed segment as readers see it: the mapped file, and the index file beside it, which tells
//! where each committed batch lies. Immutable, shared by all cores.
//!
//! ```text
//! section 5  `Span`, in postcard
//! section 6  for each entry: u32, what the first change of its batch is above that of the segment
//! section 7  u32 number of entries of which something was refused; of each u32 number, u32 offset;
//!            then the runs of each: u32 count, and u32 accepted, u32 refused before and with it
//! ```

use std::{
    fmt::Display,
    io,
    ops::Range,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    damaged::Damaged,
    index::ListKey,
    index::lists::{self, SealedLists},
    previous::{self, PreviousTable},
    unread::{Stop, Unread},
};
use crate::{
    base::{
        batch::{Batch, NumberedBatch, Previous, Replaced, Skips},
        ids::ChangeId,
        planted::planted,
    },
    io::map::Mapping,
    log::{
        Place, file_name,
        format::{FRAME_HEAD_BYTES, checked_payload, frame_range},
        index::Run,
    },
    sections::{Builder, Fault, Missing, Sections, u32_at},
};

pub(super) const SPAN: u32 = 5;
pub(super) const FIRSTS: u32 = 6;
pub(super) const SKIPS: u32 = 7;

/// Entries between those whose first changes are kept in memory.
const COARSE: usize = 1024;

/// Batches are looked up together as long as they have fewer changes.
const CHANGES_AT_ONCE: u32 = 4096;

/// Which changes a segment holds.
#[derive(Debug, Serialize, Deserialize)]
struct Span {
    first: u64,
    last: u64,
    lists: u32,
}

/// Puts what readers need of a segment into its index. `batches` are those that have changes, by
/// the numbers of their entries among the `entries` of the segment; the last change is `last`.
pub fn put<'b, B: AsRef<[u8]> + 'b>(
    builder: &mut Builder,
    entries: usize,
    batches: impl IntoIterator<Item = (usize, &'b NumberedBatch<B>)>,
    last: ChangeId,
    lists: Vec<(ListKey, Vec<ChangeId>)>,
) {
    let mut firsts: Vec<u8> = Vec::with_capacity(4 * entries);
    let (mut skips, mut runs, mut first) = (Vec::new(), Vec::new(), None);
    let mut replaced = Vec::new();
    for (entry, batch) in batches {
        let base = *first.get_or_insert(batch.first);
        let number = (batch.first.0 - base.0) as u32;
        // Entries without changes stand before the batch that follows.
        while firsts.len() < 4 * (entry + 1) {
            firsts.extend_from_slice(&number.to_le_bytes());
        }
        for Replaced { number: own, version } in batch.previous.all() {
            replaced.push(Replaced { number: number + own, version: *version });
        }
        if batch.skips.refused() > 0 {
            skips.extend_from_slice(&(entry as u32).to_le_bytes());
            skips.extend_from_slice(&(runs.len() as u32).to_le_bytes());
            batch.skips.put(&mut runs);
        }
    }
    let first = first.unwrap_or(last.next());
    let ids = last.next().0 - first.0;
    assert!(ids <= u64::from(u32::MAX), "the ids of a segment are told apart by 32 bits");
    let beyond = (last.next().0 - first.0) as u32;
    while firsts.len() < 4 * entries {
        firsts.extend_from_slice(&beyond.to_le_bytes());
    }
    let count = (skips.len() / 8) as u32;
    let mut all = count.to_le_bytes().to_vec();
    all.append(&mut skips);
    all.append(&mut runs);
    put_lists(builder, lists, (first, last));
    builder.add(FIRSTS, firsts);
    builder.add(SKIPS, all);
    previous::put(builder, &replaced);
}

/// Puts the lists of a segment with these changes into its index.
pub(super) fn put_lists(
    builder: &mut Builder,
    lists: Vec<(ListKey, Vec<ChangeId>)>,
    (first, last): (ChangeId, ChangeId),
) {
    let lists = lists::put(builder, lists, first);
    let span = Span { first: first.0, last: last.0, lists };
    builder.add(SPAN, postcard::to_allocvec(&span).expect("numbers are written to memory"));
}

/// One committed batch within a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// The id of its first change.
    pub first: ChangeId,
    /// The id of its last change.
    pub last: ChangeId,
    /// The index of its entry in the log, which its bytes must name.
    index: u64,
    /// Where its bytes lie.
    place: Place,
    skips: Skips,
    previous: Previous,
}

impl SealedBatch {
    /// The index of its entry in the log.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The byte range of the file that reading it touches: its frame.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        frame_range(self.place)
    }
}

/// A segment that is written no more, with its index.
pub struct SealedSegment {
    /// Its number in the log.
    pub sequence: u64,
    first: ChangeId,
    last: ChangeId,
    pub(super) entries: Run,
    lists: Arc<SealedLists>,
    sections: Arc<Sections>,
    /// The first changes of every [`COARSE`]th entry.
    coarse: OnceLock<Box<[u32]>>,
    /// What its changes replaced.
    pub(super) previous: PreviousTable,
    map: Arc<Mapping>,
}

impl SealedSegment {
    /// The segment of these entries, by its index; nothing when no change is in it.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn open(
        sections: &Arc<Sections>,
        entries: Run,
        map: Mapping,
    ) -> Result<Option<Self>, Fault> {
        let fault = |reason: &str| Fault { offset: 0, reason: reason.into() };
        let span = sections.all(SPAN)?;
        let span: Span = postcard::from_bytes(span).map_err(|_| fault("its span is unreadable"))?;
        let (first, last) = (ChangeId(span.first), ChangeId(span.last));
        if first > last {
            return Ok(None);
        }
        if sections.len(FIRSTS) as u64 != 4 * (entries.next() - entries.first()) {
            return Err(fault("it has not as many batches as entries"));
        }
        let lists = Arc::new(SealedLists::new(
            Arc::clone(sections),
            entries.segment(),
            (first, last),
            span.lists,
        ));
        Ok(Some(Self {
            sequence: entries.segment(),
            first,
            last,
            entries,
            lists,
            sections: Arc::clone(sections),
            coarse: OnceLock::new(),
            previous: PreviousTable::default(),
            map: Arc::new(map),
        }))
    }

    /// The id of its first change.
    #[must_use]
    pub fn first(&self) -> ChangeId {
        self.first
    }

    /// The id of its last change.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.last
    }

    /// The lists of its changes.
    #[must_use]
    pub fn lists(&self) -> &Arc<SealedLists> {
        &self.lists
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> &Arc<Sections> {
        &self.sections
    }

    /// The mapped file, for residency and advice.
    #[must_use]
    pub fn map(&self) -> &Arc<Mapping> {
        &self.map
    }

    pub(super) fn read(&self, kind: u32, range: Range<usize>) -> Result<&[u8], Stop> {
        match self.sections.missing(kind, range.clone()) {
            Some(missing) => Err(Stop::Missing(missing)),
            None => Ok(self.sections.get(kind, range)?),
        }
    }

    fn coarse(&self) -> Result<&[u32], Stop> {
        if let Some(coarse) = self.coarse.get() {
            return Ok(coarse);
        }
        let firsts = self.read(FIRSTS, 0..self.sections.len(FIRSTS))?;
        let coarse = firsts.chunks(4 * COARSE).map(|chunk| word(chunk, 0)).collect();
        Ok(self.coarse.get_or_init(|| coarse))
    }

    /// The batch that holds `id`, one of this segment.
    ///
    /// # Errors
    /// [`Unread`]: some of the index must be loaded first, or is damaged.
    pub fn find(&self, id: ChangeId) -> Result<SealedBatch, Unread> {
        let mut found = self.find_some(id, 1)?;
        Ok(found.pop().expect("at least one is found"))
    }

    /// The batch that holds `id`, one of this segment, and those that follow it: `count` in all, or
    /// fewer.
    ///
    /// # Errors
    /// [`Unread`]: some of the index must be loaded first, or is damaged.
    pub fn find_some(&self, id: ChangeId, count: usize) -> Result<Vec<SealedBatch>, Unread> {
        assert!(self.first <= id && id <= self.last, "change {id} in segment {}", self.sequence);
        let found = self.looked_up((id.0 - self.first.0) as u32, count);
        found.map_err(|stop| self.lists.unread(stop))
    }

    /// The same, brought into memory where it is not: waits for the disk.
    ///
    /// # Errors
    /// What the disk reports, or the index is damaged.
    pub fn find_on_disk(&self, id: ChangeId) -> io::Result<SealedBatch> {
        loop {
            match self.find(id) {
                Ok(batch) => return Ok(batch),
                Err(Unread::Missing(Missing { map, range }, _)) => map.populate(range)?,
                Err(Unread::Damaged(damaged)) => return Err(io::Error::other(damaged)),
            }
        }
    }

    fn looked_up(&self, id: u32, count: usize) -> Result<Vec<SealedBatch>, Stop> {
        let wrong = || Fault { offset: 0, reason: "its batches do not hold every change".into() };
        let coarse = self.coarse()?;
        let chunk = coarse.partition_point(|first| *first <= id);
        let start = chunk.checked_sub(1).ok_or_else(wrong)? * COARSE;
        let end = (self.sections.len(FIRSTS) / 4).min(start + COARSE);
        let (firsts, _) = self.read(FIRSTS, 4 * start..4 * end)?.as_chunks::<4>();
        let after = firsts.partition_point(|first| u32::from_le_bytes(*first) <= id);
        let n = after.checked_sub(1).ok_or_else(wrong)?;
        // What is beyond belongs to the batch that follows, in this piece or in the next.
        let some = firsts[n..].iter().take(count + 1).map(|first| u32::from_le_bytes(*first));
        let next = coarse.get(chunk).copied().unwrap_or(u32::MAX);
        let index = self.entries.first() + (start + n) as u64;
        self.batches(index, some.chain([next]).collect(), count)
    }

    /// Batches of entries from `index` on, by the numbers of their first changes and of one more.
    fn batches(
        &self,
        index: u64,
        firsts: SmallVec<[u32; 64]>,
        count: usize,
    ) -> Result<Vec<SealedBatch>, Stop> {
        let entries = firsts.len().saturating_sub(1).min(count) as u64;
        let range = index..self.entries.next().min(index + entries);
        if let Some(missing) = self.entries.missing(range.clone()) {
            return Err(Stop::Missing(missing));
        }
        let refused: &[u8] = match self.sections.len(SKIPS) {
            // Nothing but their number.
            ..=4 => &[0; 4],
            bytes => self.read(SKIPS, 0..bytes)?,
        };
        let mut found = Vec::with_capacity(firsts.len());
        let mut changes = 0;
        for ((index, place), firsts) in
            range.clone().zip(self.entries.places(range)?).zip(firsts.windows(2))
        {
            let id = |number: u32| ChangeId(self.first.0 + u64::from(number));
            let (first, last) = (id(firsts[0]), ChangeId(id(firsts[1]).0 - 1).min(self.last));
            // Others hold no change.
            if first <= last {
                let skips = skips(refused, (index - self.entries.first()) as u32)?;
                let previous = self.previous.of(&self.sections, firsts[0]..firsts[1])?;
                found.push(SealedBatch { first, last, index, place, skips, previous });
                changes += firsts[1] - firsts[0];
            }
            if changes > CHANGES_AT_ONCE {
                break;
            }
        }
        if found.is_empty() {
            return Err(Fault { offset: 0, reason: "a change is in no batch".into() }.into());
        }
        Ok(found)
    }

    /// A batch of this segment with its ids. Touches the pages of [`SealedBatch::range`]: see that
    /// they are resident.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not those that were written.
    pub fn batch(&self, batch: &SealedBatch) -> Result<NumberedBatch<&[u8]>, Damaged> {
        // A disk may rot after the start.
        let frame = self.map.get(batch.range());
        let bytes = frame
            .and_then(|frame| match planted!(ServeUnverified) {
                true => frame.get(FRAME_HEAD_BYTES..),
                false => checked_payload(frame, batch.index),
            })
            .ok_or_else(|| self.damaged(batch, &"it does not match its checksum and its entry"))?;
        let parsed = Batch::parse(bytes).map_err(|error| self.damaged(batch, &error))?;
        let numbered = numbered(batch, parsed);
        match numbered.last() == batch.last {
            true => Ok(numbered),
            false => Err(self.damaged(batch, &"another batch stands there")),
        }
    }

    /// What to say of a batch that cannot be read for that reason.
    #[must_use]
    pub fn damaged(&self, batch: &SealedBatch, reason: &dyn Display) -> Damaged {
        let SealedBatch { first, last, place, .. } = batch;
        let (file, reason) = (file_name(self.sequence), reason.to_string());
        Damaged { file, offset: place.offset.into(), first: *first, last: *last, reason }
    }

    /// The same of a batch that was given before, without looking at the checksum again: for one whose header, the
    /// first bytes of its frame, is known to be what it was. What else is looked at must be, too.
    pub(super) fn verified_before(&self, batch: &SealedBatch) -> Option<NumberedBatch<&[u8]>> {
        let Place { offset, bytes, .. } = batch.place;
        let payload = self.map.get(offset as usize..offset as usize + bytes as usize)?;
        Some(numbered(batch, Batch::parsed_before(payload)?))
    }
}

/// What was refused of an entry, by what the section says of all.
pub(super) fn skips(all: &[u8], entry: u32) -> Result<Skips, Fault> {
    let wrong = || Fault { offset: 0, reason: "refusals are unreadable".into() };
    let table = all.get(4..).and_then(|rest| rest.split_at_checked(8 * word(all, 0) as usize));
    let (table, runs) = table.ok_or_else(wrong)?;
    let (table, _) = table.as_chunks::<8>();
    match table.binary_search_by_key(&entry, |item| word(item, 0)) {
        Ok(at) => {
            let runs = runs.get(word(&table[at], 4) as usize..).ok_or_else(wrong)?;
            Skips::read(runs).ok_or_else(wrong)
        }
        Err(_) => Ok(Skips::default()),
    }
}

fn numbered<'s>(sealed: &SealedBatch, batch: Batch<&'s [u8]>) -> NumberedBatch<&'s [u8]> {
    let (skips, previous) = (sealed.skips.clone(), sealed.previous.clone());
    NumberedBatch { first: sealed.first, batch, skips, previous }
}

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{SealedFile, batch, frame};
    use std::os::unix::fs::FileExt;

    fn at(file: &SealedFile, id: u64) -> SealedBatch {
        file.segment.find_on_disk(ChangeId(id)).unwrap()
    }

    #[test]
    fn the_frame_of_another_entry_is_damage_although_it_is_sound() {
        let file = SealedFile::new(1, 1, &[batch(1, b'a'), batch(1, b'b')]);
        let (one, two) = (at(&file, 1), at(&file, 2));
        let mut moved = frame(&batch(1, b'c'), 2);
        assert_eq!(moved.len(), two.range().len());
        file.open().write_all_at(&moved, two.range().start as u64).unwrap();
        assert_eq!(file.segment.batch(&two).unwrap().change(ChangeId(2)).suffix, b"c");
        moved[16] += 1;
        let checksum = crc32c::crc32c(&moved[4..]);
        moved[..4].copy_from_slice(&checksum.to_le_bytes());
        file.open().write_all_at(&moved, two.range().start as u64).unwrap();
        let damaged = file.segment.batch(&two).map(drop).unwrap_err();
        assert_eq!((damaged.first, damaged.last), (ChangeId(2), ChangeId(2)));
        assert!(file.segment.batch(&one).is_ok());
    }

    #[test]
    fn a_batch_with_another_number_of_changes_is_damage() {
        let file = SealedFile::new(1, 1, &[batch(3, b'a'), batch(1, b'b')]);
        let (one, two) = (at(&file, 2), at(&file, 4));
        let mut other = frame(&batch(2, b'c'), 1);
        other.resize(one.range().len(), 0);
        file.open().write_all_at(&other, one.range().start as u64).unwrap();
        assert!(file.segment.batch(&one).is_err());
        assert_eq!((one.first, one.last), (ChangeId(1), ChangeId(3)));
        assert_eq!((two.first, two.last), (ChangeId(4), ChangeId(4)));
    }
}
