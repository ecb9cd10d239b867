//! Segments that rotted and get the entries back that rotted: they are what they were, byte for byte,
//! or are not taken for it.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Entry, Log, Place, Sealed,
    format::frame_range,
    index::{self, Indexed},
    is_whole, put_entry,
    segment::file_name,
    testing::{append, entry, id, options, start},
    unsound,
};
use crate::{
    base::planted::{Bug, prove},
    io::{
        BLOCK, Disk, Files,
        simulated::{
            disk::{Loss, SimDisk},
            executor::run,
            power::cut_at_each_step,
        },
    },
    sections::{Builder, Sections},
};

/// Of so many bytes of a segment one is flipped.
const STEP: usize = 61;

fn payload(index: u64) -> Vec<u8> {
    vec![b'a' + index as u8; 1500 + 37 * index as usize]
}

/// A log with complete segments, and how the first was left.
async fn filled(disk: &SimDisk) -> (Log<SimDisk>, Sealed) {
    let log = Log::open(disk.clone(), options(1), |_, _| Ok(())).await.unwrap();
    start(&log);
    for index in 0..20 {
        append(&log, vec![entry(1, index, payload(index))]).await.unwrap();
        log.set_committed(id(1, index));
    }
    log.flush_marks().await.unwrap();
    let sealed = log.take_sealed();
    assert!(sealed.len() > 1 && sealed[0].entries.len() > 5, "{sealed:?}");
    (log, sealed[0].clone())
}

/// The index of the first segment, and its bytes.
fn indexed(disk: &SimDisk, log: &Log<SimDisk>, sealed: &Sealed) -> (Indexed, Vec<u8>) {
    let mut builder = Builder::default();
    index::put(&mut builder, log.identity(), sealed, None);
    disk.put("test.index", builder.finish());
    let sections = Sections::open(disk.files().map("test.index").unwrap()).unwrap();
    let index = Indexed::read(&Arc::new(sections)).unwrap();
    (index, disk.snapshot()[&file_name(1)].clone())
}

fn original(sealed: &Sealed, place: Place) -> Entry {
    let (of, _) = sealed.entries.iter().find(|(_, at)| *at == place).unwrap();
    entry(of.term, of.index, payload(of.index))
}

/// The segment with every entry that is not sound put anew.
fn mended(bytes: &[u8], sealed: &Sealed, index: &Indexed) -> (Bytes, usize) {
    let found = unsound(&Bytes::copy_from_slice(bytes), &index.run).unwrap();
    let mut mended = bytes.to_vec();
    for (_, place) in &found {
        assert!(put_entry(&mut mended, *place, &original(sealed, *place)));
    }
    (mended.into(), found.len())
}

#[test]
fn any_byte_of_an_entry_is_put_right_and_no_other_segment_is_taken_for_it() {
    run(1, async {
        let disk = SimDisk::new(1);
        let (log, sealed) = filled(&disk).await;
        let (index, whole) = indexed(&disk, &log, &sealed);
        let of_entry =
            |at: usize| sealed.entries.iter().any(|(_, place)| frame_range(*place).contains(&at));
        let (mut right, mut wrong) = (0, 0);
        for at in (0..whole.len()).step_by(STEP).chain(0..64).chain(BLOCK..BLOCK + 200) {
            let mut rotten = whole.clone();
            rotten[at] ^= 1 << (at % 8);
            assert!(!is_whole(&Bytes::copy_from_slice(&rotten), &index), "byte {at}");
            let (mended, count) = mended(&rotten, &sealed, &index);
            assert_eq!(count, usize::from(of_entry(at)), "byte {at}");
            assert_eq!(mended == whole, of_entry(at), "byte {at}");
            assert_eq!(is_whole(&mended, &index), of_entry(at), "byte {at}");
            *(if of_entry(at) { &mut right } else { &mut wrong }) += 1;
        }
        assert!(right > 100 && wrong > 100, "{right} {wrong}");
    });
}

#[test]
fn many_at_once_are_put_right_and_another_entry_is_not() {
    run(2, async {
        let disk = SimDisk::new(2);
        let (log, sealed) = filled(&disk).await;
        let (index, whole) = indexed(&disk, &log, &sealed);
        let mut rotten = whole.clone();
        for (_, place) in &sealed.entries {
            rotten[frame_range(*place)].fill(0);
        }
        let (mended, count) = mended(&rotten, &sealed, &index);
        assert_eq!(count, sealed.entries.len());
        assert!(mended == whole && is_whole(&mended, &index));
        // Of the same length, with checksums that are right for it.
        let (of, place) = sealed.entries[1];
        let mut other = mended.to_vec();
        let another = vec![b'!'; place.bytes as usize];
        assert!(put_entry(&mut other, place, &entry(of.term, of.index, another)));
        assert_eq!(unsound(&other.clone().into(), &index.run).unwrap(), []);
        assert!(!is_whole(&other.into(), &index));
        assert!(!put_entry(&mut rotten, place, &entry(of.term, of.index, b"shorter".to_vec())));
    });
}

/// The power goes after so many steps of putting a segment anew; whether it went.
async fn cut(steps: u64, seed: u64) -> bool {
    let disk = SimDisk::new(seed);
    let (log, sealed) = filled(&disk).await;
    let (_, place) = sealed.entries[2];
    let whole = disk.snapshot()[&file_name(1)].clone();
    disk.damage(&file_name(1), |bytes| bytes[place.offset as usize] ^= 1);
    let rotten = disk.snapshot()[&file_name(1)].clone();
    disk.cut_power_after(steps);
    let outcome = log.put_anew(1, whole.clone().into()).await;
    let (is_done, was_cut) = (outcome.is_ok(), outcome.is_err());
    let left = disk.crash(Loss::Random).snapshot();
    let found = &left[&file_name(1)];
    assert!(*found == whole || (!is_done && *found == rotten), "it is neither the old nor the new");
    was_cut
}

fn cuts(seed: u64) {
    cut_at_each_step(seed, 3, cut);
}

#[test]
fn the_power_may_go_at_each_step() {
    (0..20).for_each(|n| cuts(n * 1000));
}

#[test]
fn planted_skip_mend_sync() {
    prove(Bug::SkipMendSync, 0..20, &["neither the old nor the new"], |seed| cuts(seed * 1000));
}
