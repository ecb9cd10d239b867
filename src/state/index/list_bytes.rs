//! The bytes of one list of a segment: see [`super::lists`].

use super::postings::{put_varint, take_varint};
use crate::{base::ids::ChangeId, sections::u32_at};

/// Ids of one block.
pub(super) const BLOCK_IDS: usize = 256;
/// Bytes of a block's place.
pub(super) const PLACE_BYTES: usize = 8;

/// Puts the ids of a list, of a segment whose first change is `first`.
pub(super) fn put_ids(out: &mut Vec<u8>, ids: &[ChangeId], first: ChangeId) {
    put_varint(out, ids.len() as u64);
    let mut places = Vec::new();
    let mut blocks = Vec::new();
    for block in ids.chunks(BLOCK_IDS) {
        let rest = (block[0].0 - first.0) as u32;
        if ids.len() <= BLOCK_IDS {
            put_varint(out, u64::from(rest));
        } else {
            places.extend_from_slice(&rest.to_le_bytes());
            places.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
        }
        block.windows(2).for_each(|pair| put_varint(&mut blocks, pair[1].0 - pair[0].0));
    }
    out.extend_from_slice(&places);
    out.extend_from_slice(&blocks);
}

/// The ids of a list.
pub(super) fn ids(mut list: &[u8]) -> Vec<u64> {
    let count = take_varint(&mut list) as usize;
    let mut found = Vec::new();
    let mut block = |first: u64, mut rest: &[u8]| {
        let mut id = first;
        found.push(id);
        while !rest.is_empty() {
            id += take_varint(&mut rest);
            found.push(id);
        }
    };
    if count <= BLOCK_IDS {
        let first = take_varint(&mut list);
        block(first, list);
        return found;
    }
    let (places, data) = list.split_at(list.len().min(PLACE_BYTES * count.div_ceil(BLOCK_IDS)));
    let (places, _) = places.as_chunks::<PLACE_BYTES>();
    for (n, place) in places.iter().enumerate() {
        let end = places.get(n + 1).map_or(data.len(), |next| word(next, 4) as usize);
        block(
            u64::from(word(place, 0)),
            data.get(word(place, 4) as usize..end).unwrap_or_default(),
        );
    }
    found
}

/// The first and the last id of a list.
pub(super) fn span(mut list: &[u8]) -> (u64, u64) {
    let ids = take_varint(&mut list) as usize;
    let sum = |first: u64, mut rest: &[u8]| {
        let mut id = first;
        while !rest.is_empty() {
            id += take_varint(&mut rest);
        }
        id
    };
    if ids <= BLOCK_IDS {
        let first = take_varint(&mut list);
        return (first, sum(first, list));
    }
    let (places, data) = list.split_at(list.len().min(PLACE_BYTES * ids.div_ceil(BLOCK_IDS)));
    let (places, _) = places.as_chunks::<PLACE_BYTES>();
    let Some((first, last)) = places.first().zip(places.last()) else { return (0, 0) };
    let rest = data.get(word(last, 4) as usize..).unwrap_or_default();
    (u64::from(word(first, 0)), sum(u64::from(word(last, 0)), rest))
}

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at).unwrap_or_default()
}
