use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    base::ids::{ClusterId, LogId},
    io::BLOCK,
    log::{Entry, Vote},
};

fn place(offset: u32) -> GroupPlace {
    GroupPlace { offset, nonce: 0x1122_3344_5566_7788, number: 9, previous: 0xAABB_CCDD }
}

fn full_state() -> HardState {
    HardState {
        vote: Some(Vote { term: 5, node: 2, committed: true }),
        committed: Some(LogId { term: 4, index: 11 }),
        purged: Some(LogId { term: 3, index: 1 }),
    }
}

/// A segment of `blocks` with one group at `offset`.
fn segment(offset: usize, blocks: usize, state: &HardState, frames: &[FrameRef<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; blocks * BLOCK];
    let body = frames.iter().map(FrameRef::encoded_bytes).sum();
    let end = offset + group_bytes(body);
    let at = place(u32::try_from(offset).unwrap());
    encode_group(&mut bytes[offset..end], &at, state, frames.iter().copied());
    bytes
}

fn entry(index: u64, payload: Vec<u8>) -> Entry {
    Entry { id: LogId { term: 4, index }, kind: 200, payload: payload.into() }
}

#[test]
fn the_layout_of_a_group_is_stable() {
    let entry = entry(12, b"payload".to_vec());
    let frames = [FrameRef::Entry(&entry), FrameRef::Truncate(Some(11))];
    let bytes = segment(BLOCK, 2, &full_state(), &frames);
    let group = &bytes[BLOCK..];
    assert_eq!(&group[0..4], b"CAg\x01");
    assert_eq!(&group[8..12], 1_u32.to_le_bytes());
    assert_eq!(&group[12..16], 4096_u32.to_le_bytes());
    assert_eq!(&group[16..24], 0x1122_3344_5566_7788_u64.to_le_bytes());
    assert_eq!(&group[24..32], 9_u64.to_le_bytes());
    assert_eq!(&group[32..36], (32_u32 + 7 + 32).to_le_bytes());
    assert_eq!(&group[36..40], 2_u32.to_le_bytes());
    assert_eq!(&group[40..44], 0xAABB_CCDD_u32.to_le_bytes());
    assert_eq!(&group[44..48], 15_u32.to_le_bytes());
    assert_eq!(&group[48..56], 5_u64.to_le_bytes());
    assert_eq!(&group[88..96], 1_u64.to_le_bytes());
    assert_eq!(&group[96..100], crc32c::crc32c(&group[100..135]).to_le_bytes());
    assert_eq!(&group[100..104], 7_u32.to_le_bytes());
    assert_eq!(&group[112..120], 12_u64.to_le_bytes());
    assert_eq!(&group[120..122], [1, 200]);
    assert_eq!(&group[128..135], b"payload");
    let covered = [&group[96..128], &group[135..167], &group[8..96]].concat();
    assert_eq!(&group[4..8], crc32c::crc32c(&covered).to_le_bytes());
}

#[test]
fn a_header_reads_back_and_any_flipped_bit_is_found() {
    let header = SegmentHeader {
        cluster: ClusterId(Uuid::from_u128(77)),
        node: 3,
        sequence: 12,
        nonce: 99,
        segment_bytes: 65536,
        first_group: 40,
        first_index: 39,
        chain: 7,
        rewritten: None,
    };
    let mut block = vec![0; BLOCK];
    assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Unused);
    header.encode(&mut block);
    assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Used(header));
    for bit in 0..BLOCK * 8 {
        block[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Invalid, "bit {bit}");
        block[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn another_version_is_told_from_damage() {
    let mut block = vec![0; BLOCK];
    let header = SegmentHeader {
        cluster: ClusterId(Uuid::nil()),
        node: 0,
        sequence: 1,
        nonce: 1,
        segment_bytes: 65536,
        first_group: 1,
        first_index: 0,
        chain: 0,
        rewritten: None,
    };
    header.encode(&mut block);
    block[8..12].copy_from_slice(&3_u32.to_le_bytes());
    assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Invalid);
    let preamble = crc32c::crc32c(&block[..12]);
    block[12..16].copy_from_slice(&preamble.to_le_bytes());
    assert_eq!(SegmentHeader::decode(&block), HeaderBlock::OtherVersion(3));
}

#[test]
fn a_group_elsewhere_or_of_another_segment_is_none() {
    let entry = entry(1, vec![1; 100]);
    let mut bytes = segment(BLOCK, 4, &full_state(), &[FrameRef::Entry(&entry)]);
    bytes.copy_within(BLOCK..2 * BLOCK, 2 * BLOCK);
    let nonce = place(0).nonce;
    assert_eq!(claimed_group(&bytes, BLOCK, nonce), Some(9));
    assert_eq!(claimed_group(&bytes, 2 * BLOCK, nonce), None);
    assert_eq!(claimed_group(&bytes, BLOCK, nonce + 1), None);
    let bytes = Bytes::from(bytes);
    assert!(decode_group(&bytes, BLOCK, nonce).is_ok());
    assert_eq!(decode_group(&bytes, 2 * BLOCK, nonce).unwrap_err(), GroupFault::Checksum);
}

#[test]
fn bytes_in_the_padding_are_not_a_torn_write() {
    let mut bytes = segment(0, 1, &HardState::default(), &[]);
    bytes[BLOCK - 1] = 1;
    let read = decode_group(&Bytes::from(bytes), 0, place(0).nonce);
    assert_eq!(read.unwrap_err(), GroupFault::Padding);
}

proptest! {
    #[test]
    fn groups_read_back_and_a_flipped_bit_is_found(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6),
        truncate in proptest::option::of(0..u64::MAX),
        with_state: bool,
        bit: prop::sample::Index,
    ) {
        let entries: Vec<_> = (5..).zip(payloads).map(|(n, bytes)| entry(n, bytes)).collect();
        let mut frames: Vec<_> = entries.iter().map(FrameRef::Entry).collect();
        frames.push(FrameRef::Truncate(truncate));
        let state = if with_state { full_state() } else { HardState::default() };
        let mut bytes = segment(BLOCK, 8, &state, &frames);
        let group = decode_group(&Bytes::from(bytes.clone()), BLOCK, place(0).nonce).unwrap();
        prop_assert_eq!(group.state, state);
        prop_assert_eq!(group.place, place(BLOCK as u32));
        for (frame, entry) in group.frames.iter().zip(&entries) {
            let Frame::Entry(read, offset) = frame else { panic!("an entry") };
            prop_assert_eq!(read, entry);
            let at = *offset as usize;
            prop_assert_eq!(&bytes[at..at + entry.payload.len()], &entry.payload[..]);
        }
        let truncated = matches!(group.frames.last(), Some(Frame::Truncate(t)) if *t == truncate);
        prop_assert!(truncated);
        let bit = BLOCK * 8 + bit.index((group.end - BLOCK) * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode_group(&Bytes::from(bytes), BLOCK, place(0).nonce).is_err());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut group = segment(0, 1, &full_state(), &[FrameRef::Truncate(None)]);
        let at = 24.min(bytes.len());
        group[24..24 + bytes.len() - at].copy_from_slice(&bytes[at..]);
        let _ = decode_group(&Bytes::from(group), 0, place(0).nonce);
        let _ = decode_frame(&Bytes::from(bytes), 0);
    }
}

#[test]
fn a_number_that_nothing_can_follow_is_not_sound() {
    let last = LogId { term: 4, index: u64::MAX };
    let entry = entry(u64::MAX, Vec::new());
    for frame in [FrameRef::Entry(&entry), FrameRef::Truncate(Some(u64::MAX))] {
        let bytes = Bytes::from(segment(0, 1, &full_state(), &[frame]));
        assert!(decode_frame(&bytes, GROUP_HEAD_BYTES).is_none(), "{frame:?}");
        assert!(decode_group(&bytes, 0, place(0).nonce).is_err(), "{frame:?}");
    }
    for state in [
        HardState { committed: Some(last), ..full_state() },
        HardState { committed: Some(last), purged: Some(last), ..full_state() },
    ] {
        let bytes = Bytes::from(segment(0, 1, &state, &[]));
        assert!(decode_group(&bytes, 0, place(0).nonce).is_err(), "{state:?}");
    }
    let mut bytes = vec![0; BLOCK];
    let at = GroupPlace { number: u64::MAX, ..place(0) };
    encode_group(&mut bytes, &at, &full_state(), std::iter::empty());
    assert!(decode_group(&bytes.into(), 0, at.nonce).is_err());
}
