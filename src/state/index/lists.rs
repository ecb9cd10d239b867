//! The lists of the changes of one segment, in its index file.
//!
//! ```text
//! section 3  for each bucket, and once more at the end: u32 number of its first list
//!            for each list: u128 key, u32 where its ids begin in section 4; by bucket, then by key
//! section 4  for each list: its ids, less the first change of the segment
//!              varint count, varint first id, then varint differences          up to 256 ids
//!              varint count, for each block of 256: u32 first id, u32 offset;
//!              then for each block its differences                             more
//! ```
//!
//! The bucket of a list is the highest bits of its key, folded and multiplied. Numbers are
//! little-endian, varints are LEB128.

use std::{ops::Range, sync::Arc};

use super::{
    key::ListKey,
    list_bytes::{BLOCK_IDS, PLACE_BYTES, ids, put_ids, span, word},
    postings::take_varint,
};
use crate::{
    base::{ids::ChangeId, planted::planted},
    log::index,
    sections::{Builder, Fault, Sections},
    state::{
        damaged::Damaged,
        unread::{Stop, Unread},
    },
};

pub(in crate::state) const LISTS: u32 = 3;
pub(in crate::state) const IDS: u32 = 4;
const RECORD_BYTES: usize = 20;
/// Bytes of a list that are looked at first: most are shorter.
const GLANCE_BYTES: usize = 512;

/// Lists that share a bucket, about.
const BUCKET_LISTS: usize = 8;

/// How many bits of a key name its bucket, for so many lists.
fn bits(lists: usize) -> u32 {
    (lists / BUCKET_LISTS).next_power_of_two().trailing_zeros().min(24)
}

fn spread(key: ListKey) -> u64 {
    (key.0 as u64 ^ (key.0 >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn bucket(key: ListKey, bits: u32) -> usize {
    if bits == 0 { 0 } else { (spread(key) >> (64 - bits)) as usize }
}

/// Puts lists into the index of the segment whose first change is `first`; gives their number.
pub(in crate::state) fn put(
    builder: &mut Builder,
    mut lists: Vec<(ListKey, Vec<ChangeId>)>,
    first: ChangeId,
) -> u32 {
    let bits = bits(lists.len());
    lists.sort_unstable_by_key(|(key, _)| (bucket(*key, bits), *key));
    let mut records = Vec::with_capacity(RECORD_BYTES * lists.len());
    let mut starts = vec![0_u32; (1 << bits) + 1];
    let mut ids = Vec::new();
    for (key, list) in &lists {
        starts[bucket(*key, bits) + 1] += 1;
        records.extend_from_slice(&key.0.to_le_bytes());
        records.extend_from_slice(&(ids.len() as u32).to_le_bytes());
        let list = if planted!(ForgetLastInIndex) && list.len() > 1 {
            &list[..list.len() - 1]
        } else {
            list
        };
        put_ids(&mut ids, list, first);
    }
    for n in 1..starts.len() {
        starts[n] += starts[n - 1];
    }
    let mut directory: Vec<u8> = starts.into_iter().flat_map(u32::to_le_bytes).collect();
    directory.extend_from_slice(&records);
    builder.add(LISTS, directory);
    builder.add(IDS, ids);
    lists.len() as u32
}

/// The lists of a segment that has an index file.
pub struct SealedLists {
    sections: Arc<Sections>,
    /// The number of the segment.
    segment: u64,
    /// The first change of the segment.
    first: ChangeId,
    last: ChangeId,
    count: u32,
}

impl SealedLists {
    /// The `count` lists of a segment, whose changes are from the one to the other.
    pub(in crate::state) fn new(
        sections: Arc<Sections>,
        segment: u64,
        (first, last): (ChangeId, ChangeId),
        count: u32,
    ) -> Self {
        Self { sections, segment, first, last, count }
    }

    /// What to say when the index that they are in was not read.
    #[must_use]
    pub fn unread(&self, stop: Stop) -> Unread {
        let damaged = |Fault { offset, reason }| Damaged {
            file: index::file_name(self.segment),
            offset: offset as u64,
            first: self.first,
            last: self.last,
            reason,
        };
        match stop {
            Stop::Fault(fault) => Unread::Damaged(damaged(fault)),
            Stop::Missing(missing) => {
                let (offset, reason) = (missing.range.start, "it cannot be read".into());
                Unread::Missing(missing, damaged(Fault { offset, reason }))
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::from(self.count)
    }

    fn starts(&self) -> usize {
        (1 << bits(self.count as usize)) + 1
    }

    fn read(&self, kind: u32, range: Range<usize>) -> Result<&[u8], Stop> {
        if let Some(missing) = self.sections.missing(kind, range.clone()) {
            return Err(Stop::Missing(missing));
        }
        Ok(self.sections.get(kind, range)?)
    }

    /// Where the ids of a list lie.
    fn find(&self, key: ListKey) -> Result<Option<Range<usize>>, Stop> {
        if self.count == 0 {
            return Ok(None);
        }
        let bucket = bucket(key, bits(self.count as usize));
        let starts = self.read(LISTS, 4 * bucket..4 * bucket + 8)?;
        let (from, to) = (word(starts, 0) as usize, word(starts, 4) as usize);
        let at = |n: usize| 4 * self.starts() + RECORD_BYTES * n;
        // The record after the last one tells where that ends.
        let end = (to + 1).min(self.count as usize);
        let records = self.read(LISTS, at(from)..at(end.max(from)))?;
        let (records, _) = records.as_chunks::<RECORD_BYTES>();
        let own = records.get(..to.saturating_sub(from)).unwrap_or(records);
        let Ok(n) = own.binary_search_by_key(&key, record_key) else { return Ok(None) };
        let end = records.get(n + 1).map_or(self.sections.len(IDS), |next| word(next, 16) as usize);
        Ok(Some(word(&own[n], 16) as usize..end))
    }

    /// Appends up to `count` ids of a list to `out`, the lowest that are at least `from`.
    ///
    /// # Errors
    /// [`Stop`]: something must be loaded first, or is damaged; what is in `out` by then is void.
    pub(super) fn copy_from(
        &self,
        key: ListKey,
        from: ChangeId,
        count: usize,
        out: &mut Vec<ChangeId>,
    ) -> Result<(), Stop> {
        let Some(range) = self.find(key)? else { return Ok(()) };
        let wanted = out.len() + count;
        let mut take = |id: u64| {
            let id = ChangeId(self.first.0 + id);
            if id >= from && out.len() < wanted {
                out.push(id);
            }
            out.len() < wanted
        };
        let glance = self.read(IDS, range.start..range.end.min(range.start + GLANCE_BYTES))?;
        let mut rest = glance;
        let ids = take_varint(&mut rest) as usize;
        if ids <= BLOCK_IDS {
            let head = glance.len() - rest.len();
            let mut rest = &self.read(IDS, range)?[head..];
            let mut id = take_varint(&mut rest);
            while take(id) && !rest.is_empty() {
                id += take_varint(&mut rest);
            }
            return Ok(());
        }
        let head = range.start + glance.len() - rest.len();
        let blocks = ids.div_ceil(BLOCK_IDS);
        let data = head + PLACE_BYTES * blocks;
        let places = self.read(IDS, head..data)?;
        let (places, _) = places.as_chunks::<PLACE_BYTES>();
        let from = from.0.saturating_sub(self.first.0);
        let start = places.partition_point(|place| u64::from(word(place, 0)) <= from);
        for n in start.saturating_sub(1)..blocks {
            let end = places.get(n + 1).map_or(range.end, |next| data + word(next, 4) as usize);
            let mut rest = self.read(IDS, data + word(&places[n], 4) as usize..end)?;
            let mut id = u64::from(word(&places[n], 0));
            let mut goes_on = take(id);
            while goes_on && !rest.is_empty() {
                id += take_varint(&mut rest);
                goes_on = take(id);
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Every list with its first and last id.
    ///
    /// # Errors
    /// The index is damaged.
    pub(in crate::state) fn spans(
        &self,
        mut each: impl FnMut(ListKey, ChangeId, ChangeId),
    ) -> Result<(), Fault> {
        self.each(|key, list| {
            let (first, last) = span(list);
            each(key, ChangeId(self.first.0 + first), ChangeId(self.first.0 + last));
        })
    }

    /// Every list with its ids.
    ///
    /// # Errors
    /// The index is damaged.
    pub(crate) fn all(&self) -> Result<Vec<(ListKey, Vec<ChangeId>)>, Fault> {
        let mut all = Vec::with_capacity(self.count as usize);
        let id = |id| ChangeId(self.first.0 + id);
        self.each(|key, list| all.push((key, ids(list).into_iter().map(id).collect())))?;
        Ok(all)
    }

    fn each(&self, mut each: impl FnMut(ListKey, &[u8])) -> Result<(), Fault> {
        let records = self.sections.all(LISTS)?.get(4 * self.starts()..).unwrap_or_default();
        let ids = self.sections.all(IDS)?;
        let (records, _) = records.as_chunks::<RECORD_BYTES>();
        for (n, record) in records.iter().enumerate() {
            let end = records.get(n + 1).map_or(ids.len(), |next| word(next, 16) as usize);
            let list = ids.get(word(record, 16) as usize..end);
            let list =
                list.ok_or_else(|| Fault { offset: 0, reason: "a list ends early".into() })?;
            each(record_key(record), list);
        }
        Ok(())
    }
}

fn record_key(record: &[u8; RECORD_BYTES]) -> ListKey {
    ListKey(record.first_chunk().map_or(0, |key| u128::from_le_bytes(*key)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{io::map::Mapping, state::index::Tail};
    use proptest::prelude::*;

    /// The lists of a segment as its index file has them.
    pub(in crate::state::index) fn sealed(tail: &Tail) -> Arc<SealedLists> {
        written(tail.all(), tail.first)
    }

    fn written(lists: Vec<(ListKey, Vec<ChangeId>)>, first: ChangeId) -> Arc<SealedLists> {
        let mut builder = Builder::default();
        let count = put(&mut builder, lists, first);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), builder.finish()).unwrap();
        let sections = Arc::new(Sections::open(Mapping::open(file.path()).unwrap()).unwrap());
        Arc::new(SealedLists::new(sections, 1, (first, ChangeId(u64::MAX)), count))
    }

    fn found(lists: &SealedLists, key: ListKey, from: u64, count: usize) -> Vec<u64> {
        loop {
            let mut out = Vec::new();
            match lists.copy_from(key, ChangeId(from), count, &mut out) {
                Ok(()) => return out.into_iter().map(|id| id.0).collect(),
                Err(Stop::Missing(missing)) => missing.map.populate(missing.range).unwrap(),
                Err(Stop::Fault(fault)) => panic!("{fault}"),
            }
        }
    }

    proptest! {
        #[test]
        fn ids_are_found_as_in_sorted_lists(
            first in 1u64..1 << 40,
            steps in proptest::collection::vec(
                proptest::collection::vec(
                    prop_oneof![4 => 1u64..4, 1 => 1u64..1 << 20], 1..900), 0..40),
            queries in proptest::collection::vec(
                (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u64..3, 0usize..700), 1..20),
        ) {
            let lists: Vec<(ListKey, Vec<ChangeId>)> = (0u32..).zip(steps).map(|(n, steps)| {
                let mut id = first - 1;
                let ids = steps.into_iter().map(|step| {
                    id += step;
                    ChangeId(id)
                });
                (ListKey::tag(&n.to_le_bytes()), ids.collect())
            }).collect();
            let sealed = written(lists.clone(), ChangeId(first));
            let absent = found(&sealed, ListKey::tag(b"absent"), 0, 10);
            prop_assert!(absent.is_empty());
            for (of, near, off, count) in queries.into_iter().filter(|_| !lists.is_empty()) {
                let (key, list) = of.get(&lists);
                let from = (near.get(list).0 + off).saturating_sub(1);
                let ids = list.iter().map(|id| id.0).filter(|id| *id >= from);
                prop_assert_eq!(found(&sealed, *key, from, count), ids.take(count).collect::<Vec<_>>());
            }
            let mut spans = Vec::new();
            sealed.spans(|key, first, last| spans.push((key, first, last))).unwrap();
            spans.sort_unstable();
            let mut want: Vec<_> =
                lists.iter().map(|(key, ids)| (*key, ids[0], ids[ids.len() - 1])).collect();
            want.sort_unstable();
            prop_assert_eq!(spans, want);
            let (mut all, mut want) = (sealed.all().unwrap(), lists);
            all.sort_unstable();
            want.sort_unstable();
            prop_assert_eq!(all, want);
        }
    }
}
