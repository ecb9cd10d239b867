//! The ids of the changes of one list: ascending, appended to, searched by id,
//! a byte or two for each.
//!
//! Differences are written as LEB128. Blocks of [`BLOCK_IDS`] of them stand
//! behind a table of their first ids, so that finding a place decodes one block
//! at most. A list of one id needs no memory of its own.

use crate::base::ids::ChangeId;

/// Ids of one block; decoding one takes well under a microsecond.
const BLOCK_IDS: u32 = 256;

/// The ids of the changes of one list.
#[derive(Debug, Default)]
pub enum Postings {
    /// No id.
    #[default]
    None,
    /// One id, as most tags have.
    One(ChangeId),
    /// More.
    Many(Box<Blocks>),
}

/// Ids in blocks.
#[derive(Debug)]
pub struct Blocks {
    /// Full blocks. Invariant: `first` ascends, all below `open`.
    full: Vec<Block>,
    open: OpenBlock,
    last: ChangeId,
}

#[derive(Debug)]
struct Block {
    first: ChangeId,
    /// Differences between each id and the one before it.
    differences: Box<[u8]>,
}

#[derive(Debug)]
struct OpenBlock {
    first: ChangeId,
    differences: Vec<u8>,
    ids: u32,
}

impl Postings {
    /// Adds an id; one that is the newest already is not added again.
    ///
    /// # Panics
    /// If it is below the newest one.
    pub fn push(&mut self, id: ChangeId) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(first) if *first == id => {}
            Self::One(first) => {
                let open = OpenBlock { first: *first, differences: Vec::new(), ids: 1 };
                let mut blocks = Blocks { full: Vec::new(), last: *first, open };
                blocks.push(id);
                *self = Self::Many(Box::new(blocks));
            }
            Self::Many(blocks) => blocks.push(id),
        }
    }

    /// Appends up to `count` ids to `out`, the lowest that are at least `from`.
    pub fn copy_from(&self, from: ChangeId, count: usize, out: &mut Vec<ChangeId>) {
        match self {
            Self::None => {}
            Self::One(id) => out.extend(Some(*id).filter(|id| *id >= from && count > 0)),
            Self::Many(blocks) => blocks.copy_from(from, count, out),
        }
    }
}

impl Blocks {
    fn push(&mut self, id: ChangeId) {
        if id == self.last {
            return;
        }
        assert!(id > self.last, "change {id} follows {} in a list", self.last);
        if self.open.ids == BLOCK_IDS {
            let ascends = self.full.last().is_none_or(|before| before.first < self.open.first);
            assert!(ascends, "blocks ascend");
            let full = std::mem::take(&mut self.open.differences);
            self.full.push(Block { first: self.open.first, differences: full.into() });
            self.open = OpenBlock { first: id, differences: Vec::new(), ids: 1 };
        } else {
            put_varint(&mut self.open.differences, id.0 - self.last.0);
            self.open.ids += 1;
        }
        self.last = id;
    }

    fn copy_from(&self, from: ChangeId, count: usize, out: &mut Vec<ChangeId>) {
        if from > self.last {
            return;
        }
        // The block that may hold `from`, and those after it.
        let start = self.full.partition_point(|block| block.first <= from).saturating_sub(1);
        let full = self.full.iter().skip(start).map(|block| (block.first, &block.differences[..]));
        let open = (self.open.first, &self.open.differences[..]);
        let mut left = count;
        for (first, differences) in full.chain([open]) {
            for id in ids(first, differences) {
                if left == 0 {
                    return;
                }
                if id >= from {
                    out.push(id);
                    left -= 1;
                }
            }
        }
    }
}

fn ids(first: ChangeId, mut differences: &[u8]) -> impl Iterator<Item = ChangeId> {
    let mut next = Some(first.0);
    std::iter::from_fn(move || {
        let id = next?;
        next = (!differences.is_empty()).then(|| id + take_varint(&mut differences));
        Some(ChangeId(id))
    })
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copied(postings: &Postings, from: u64, count: usize) -> Vec<u64> {
        let mut out = Vec::new();
        postings.copy_from(ChangeId(from), count, &mut out);
        out.into_iter().map(|id| id.0).collect()
    }

    proptest! {
        #[test]
        fn ids_are_found_as_in_a_sorted_list(
            steps in proptest::collection::vec(
                prop_oneof![4 => 1u64..4, 1 => 0u64..1, 1 => 1u64..u64::from(u32::MAX)], 0..1500),
            queries in proptest::collection::vec((any::<prop::sample::Index>(), 0u64..3, 0usize..700), 1..20),
        ) {
            let (mut postings, mut list, mut id) = (Postings::default(), Vec::new(), 0);
            for step in steps {
                id += step;
                if id > 0 {
                    postings.push(ChangeId(id));
                    list.push(id);
                }
            }
            list.dedup();
            for (near, off, count) in queries {
                let from = if list.is_empty() { off } else { (near.get(&list) + off).saturating_sub(1) };
                let want: Vec<u64> =
                    list.iter().copied().filter(|id| *id >= from).take(count).collect();
                prop_assert_eq!(copied(&postings, from, count), want);
            }
        }
    }
}
