use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::{
    base::{
        batch::{Append, Batch, ChangeSpan, encode},
        ids::Timestamp,
    },
    state::testing::{SealedFile, batch},
};

fn batch_at(segment: &SealedSegment, id: u64) -> SealedBatch {
    segment.find_on_disk(ChangeId(id)).unwrap()
}

/// What is read of one change.
fn read<'f>(
    verified: &mut Verified,
    file: &'f SealedFile,
    id: u64,
    now: Instant,
) -> Result<Read<'f>, Damaged> {
    let wanted = Wanted { first: ChangeId(id), last: ChangeId(id), bytes_max: 0 };
    verified.batch(&file.segment, &batch_at(&file.segment, id), wanted, now)
}

fn checked(verified: &mut Verified, file: &SealedFile, id: u64, now: Instant) -> usize {
    read(verified, file, id, now).unwrap().checked_bytes
}

#[test]
fn a_large_batch_is_verified_whole_once_and_then_what_is_read_of_it() {
    let file = SealedFile::new(1, 1, &[batch(9000, b'a')]);
    let (mut verified, now) = (Verified::default(), Instant::now());
    let whole = read(&mut verified, &file, 1, now).unwrap();
    assert_eq!(whole.checked_bytes, whole.batch.batch.bytes().len());
    assert_eq!(whole.upto, ChangeId(9000));
    assert_eq!(checked(&mut verified, &file, 5000, now), 0);
    let later = now + VERIFIED_FOR;
    let part = read(&mut verified, &file, 5000, later).unwrap();
    // Its header, its place in the table, and itself.
    assert_eq!((part.upto, part.checked_bytes), (ChangeId(5000), 3 * VERIFIED_PIECE_BYTES));
    assert_eq!(part.batch.change(ChangeId(5000)).suffix, b"a");
    assert_eq!(checked(&mut verified, &file, 5000, later), 0);
    assert_eq!(checked(&mut verified, &file, 1, later), VERIFIED_PIECE_BYTES);
}

#[test]
fn what_rots_is_noticed_where_it_is_read() {
    let file = SealedFile::new(1, 1, &[batch(9000, b'a'), batch(1, b'b')]);
    let (mut verified, now) = (Verified::default(), Instant::now());
    checked(&mut verified, &file, 1, now);
    let last = batch_at(&file.segment, 1).range().end as u64 - 1;
    file.open().write_all_at(b"x", last).unwrap();
    // What rots now is not noticed while it is trusted.
    assert_eq!(
        read(&mut verified, &file, 9000, now).unwrap().batch.change(ChangeId(9000)).suffix,
        b"x"
    );
    // Nor for longer than a moment.
    let later = now + VERIFIED_FOR;
    assert!(read(&mut verified, &file, 9000, later).is_err());
    assert!(
        read(&mut verified, &file, 9000, later).is_err(),
        "damage is never remembered as sound"
    );
    assert_eq!(
        read(&mut verified, &file, 1, later).unwrap().batch.change(ChangeId(1)).suffix,
        b"a"
    );
    // Another core brings something of the segment into memory.
    let mut verified = Verified::default();
    file.open().write_all_at(b"a", last).unwrap();
    checked(&mut verified, &file, 9000, now);
    file.open().write_all_at(b"x", last).unwrap();
    assert!(read(&mut verified, &file, 9000, now).is_ok());
    file.segment.map().populate(batch_at(&file.segment, 9001).range()).unwrap();
    assert!(read(&mut verified, &file, 9000, now).is_err());
}

#[test]
fn a_segment_that_was_written_anew_is_verified_anew() {
    let (one, other) = (batch(9000, b'a'), batch(9000, b'b'));
    let files = [one, other].map(|batch| SealedFile::new(1, 1, &[batch]));
    let (mut verified, now) = (Verified::default(), Instant::now());
    for (file, mark) in files.iter().zip([b"a", b"b"]) {
        let whole = read(&mut verified, file, 7, now).unwrap();
        assert_eq!(whole.checked_bytes, whole.batch.batch.bytes().len());
        assert_eq!(whole.batch.change(ChangeId(7)).suffix, mark);
    }
}

#[test]
fn of_too_many_segments_the_one_that_was_used_least_recently_is_forgotten() {
    let files: Vec<_> = (1..=3).map(|n| SealedFile::new(n, 1, &[batch(9000, b'a')])).collect();
    let pieces = batch_at(&files[0].segment, 1).range().len().div_ceil(VERIFIED_PIECE_BYTES);
    let (mut verified, begin) = (Verified::new(2 * pieces), Instant::now());
    let mut is_whole = |file: &SealedFile, second: u32| {
        let now = begin + VERIFIED_FOR * second;
        checked(&mut verified, file, 1, now) > 4 * VERIFIED_PIECE_BYTES
    };
    assert!(is_whole(&files[0], 0) && is_whole(&files[1], 1));
    assert!(!is_whole(&files[0], 2));
    assert!(is_whole(&files[2], 3), "there is room for two");
    assert!(!is_whole(&files[0], 4));
    assert!(is_whole(&files[1], 5), "it had made room");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_given_is_what_was_written_wherever_a_byte_rots(
        lengths in proptest::collection::vec(100u32..3000, 40..80),
        (first, last) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        bytes_max in 0..50_000_usize,
        at in any::<prop::sample::Index>(),
    ) {
        let mut end = 0;
        let spans = lengths.iter().map(|bytes| {
            end += bytes;
            ChangeSpan { end, ..ChangeSpan::default() }
        });
        let spans = spans.collect();
        let suffixes: Vec<u8> = (0..end).map(|n| (n % 251) as u8 | 1).collect();
        let append = Append { spans, suffixes: suffixes.into(), ..Append::default() };
        let written = Batch::parse(encode(&[append.into()], Timestamp(1))).unwrap();
        let file = SealedFile::new(1, 1, std::slice::from_ref(&written));
        let sealed = batch_at(&file.segment, 1);
        let (mut verified, now) = (Verified::default(), Instant::now());
        checked(&mut verified, &file, 1, now);
        let rotten = sealed.range().start + at.index(sealed.range().len());
        let byte = file.segment.map().get(rotten..rotten + 1).unwrap()[0];
        file.open().write_all_at(&[!byte], rotten as u64).unwrap();
        let [first, last] = [first, last].map(|it| 1 + it.index(lengths.len()) as u64);
        let (first, last) = (ChangeId(first.min(last)), ChangeId(first.max(last)));
        let wanted = Wanted { first, last, bytes_max };
        if let Ok(read) = verified.batch(&file.segment, &sealed, wanted, now + VERIFIED_FOR) {
            prop_assert!(first <= read.upto && read.upto <= last);
            let ids = (first.0..=read.upto.0).map(ChangeId);
            let bytes: usize = ids.clone().map(|id| read.batch.change(id).suffix.len()).sum();
            prop_assert!(bytes <= bytes_max || read.upto == first);
            for id in ids {
                prop_assert_eq!(read.batch.change(id).suffix, written.change(id.0 as u32 - 1).suffix);
            }
        }
    }
}
