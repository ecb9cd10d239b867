//! Segments of which more rotted than entries, laid out anew: the log is what it was, whichever bytes
//! they were, and a start, with and without indexes, reads the same of it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;
use proptest::prelude::*;

use super::{
    Entry, Log, Place, Sealed,
    format::frame_range,
    index::{self, Indexed},
    is_whole, lay_out, put_entry, reread,
    segment::file_name,
    testing::{append, entry, id, options, start},
    unsound,
};
use crate::{
    base::planted::{Bug, prove},
    io::{
        Disk, Files,
        simulated::{disk::SimDisk, executor::run},
    },
    sections::{Builder, Sections},
};

/// What is done to a log, entry by entry.
#[derive(Clone, Debug)]
enum Step {
    /// So many entries are written at once, of this length.
    Append(usize, usize),
    /// A vote is given, which is a group without frames.
    Vote,
    /// So many of the last entries are removed.
    Remove(u64),
    /// Entries of these lengths are written, all but the first are removed, and another is written:
    /// all at once, or the other afterwards.
    Replace(Vec<usize>, bool),
    /// All are committed.
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1usize..4, 0usize..5000).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        1 => Just(Step::Vote),
        1 => (1u64..3).prop_map(Step::Remove),
        1 => (prop::collection::vec(0usize..5000, 2..4), any::<bool>())
            .prop_map(|(lengths, at_once)| Step::Replace(lengths, at_once)),
        2 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 20..60)
}

/// A log to which that was done, with complete segments.
async fn written(disk: &SimDisk, steps: &[Step]) -> (Log<SimDisk>, Vec<Sealed>) {
    let log = Log::open(disk.clone(), options(1), |_, _| Ok(())).await.unwrap();
    start(&log);
    let (mut next, mut committed, mut term) = (0, 0, 1);
    for step in steps {
        match *step {
            Step::Append(count, bytes) => {
                let one = |n: usize| entry(term, next + n as u64, vec![b'a' + n as u8; bytes]);
                append(&log, (0..count).map(one).collect()).await.unwrap();
                next += count as u64;
            }
            Step::Vote => {
                term += 1;
                let vote = super::Vote { term, node: 1, committed: false };
                log.save_vote(vote).await.unwrap();
            }
            Step::Remove(count) => {
                let left = next.saturating_sub(count).max(committed);
                if left > 0 && left < next {
                    log.truncate_after(log.id(left - 1)).await.unwrap();
                    (next, term) = (left, term + 1);
                }
            }
            Step::Replace(ref lengths, at_once) => {
                let one = |(n, bytes): (u64, &usize)| entry(term, next + n, vec![b'r'; *bytes]);
                let all: Vec<Entry> = (0..).zip(lengths).map(one).collect();
                let first = all[0].id;
                log.append(all, |_| ()).unwrap();
                let removed = log.truncate_after(Some(first));
                (next, term) = (next + 2, term + 1);
                let other = || append(&log, vec![entry(term, next - 1, vec![b's'; 50])]);
                if at_once {
                    let (removed, written) = join(removed, other()).await;
                    removed.and(written).unwrap();
                } else {
                    removed.await.unwrap();
                    other().await.unwrap();
                }
            }
            Step::Commit if next > 0 => {
                log.set_committed(log.last().expect("it has entries"));
                committed = next;
            }
            Step::Commit => {}
        }
    }
    log.flush_marks().await.unwrap();
    let sealed = log.take_sealed();
    (log, sealed)
}

fn indexed(disk: &SimDisk, log: &Log<SimDisk>, sealed: &Sealed) -> Indexed {
    let mut builder = Builder::default();
    index::put(&mut builder, log.identity(), sealed, None);
    disk.put("test.index", builder.finish());
    let sections = Sections::open(disk.files().map("test.index").unwrap()).unwrap();
    Indexed::read(&Arc::new(sections)).unwrap()
}

/// Only the frames of a segment's entries, each in its place.
fn entries_alone(whole: &Bytes, sealed: &Sealed) -> Bytes {
    let mut bytes = vec![0; whole.len()];
    for (_, place) in &sealed.entries {
        let range = frame_range(*place);
        bytes[range.clone()].copy_from_slice(&whole[range]);
    }
    bytes.into()
}

/// What a log holds that is opened on these files.
fn opened(files: &std::collections::BTreeMap<String, Vec<u8>>, seed: u64) -> Vec<Entry> {
    let disk = SimDisk::new(seed);
    files.iter().for_each(|(name, bytes)| disk.put(name, bytes.clone()));
    run(seed, async move {
        let log = Log::open(disk.clone(), options(seed), |_, _| Ok(())).await.expect("it opens");
        drop(crate::io::cores::spawn(log.run()));
        let next = log.last().map_or(0, |last| last.index + 1);
        let mut found = Vec::new();
        for at in log.first_index()..next {
            found.extend(log.read(at, at + 1, usize::MAX).await.expect("it can be read"));
        }
        found
    })
}

/// Lays every complete segment out anew, one after the other. How many there were.
fn each_laid_out(steps: &[Step]) -> usize {
    let disk = SimDisk::new(1);
    let (sealed, indexes) = run(1, {
        let disk = disk.clone();
        let steps = steps.to_vec();
        async move {
            let (log, sealed) = written(&disk, &steps).await;
            let indexes: Vec<_> = sealed.iter().map(|one| indexed(&disk, &log, one)).collect();
            log.close().await.unwrap();
            disk.take("test.index");
            (sealed, indexes)
        }
    });
    let mut files = disk.snapshot();
    let before = opened(&files, 2);
    let mut count = 0;
    for (n, (sealed, index)) in sealed.iter().zip(&indexes).enumerate() {
        let name = file_name(sealed.sequence);
        let whole = Bytes::from(files[&name].clone());
        let earlier = n.checked_sub(1).map(|n| &indexes[n]);
        let laid_out = lay_out(&entries_alone(&whole, sealed), index, earlier);
        let laid_out = laid_out.unwrap_or_else(|| panic!("{name} cannot be laid out"));
        assert!(is_whole(&laid_out, index), "it is not what its index says");
        let last = sealed.entries.last().map(|(id, _)| id.index);
        let read = reread(sealed.sequence, &laid_out, last).expect("it can be read by itself");
        assert_eq!(read.sealed.entries, sealed.entries);
        assert_eq!(read.sealed.state, sealed.state);
        files.insert(name, laid_out.into());
        assert_eq!(opened(&files, 3), before, "the log is another one");
        count += 1;
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_it_was_whatever_was_done_to_it(steps in steps()) {
        each_laid_out(&steps);
    }
}

/// Entries of several lengths, one after the other.
fn plain() -> Vec<Step> {
    (0..40).flat_map(|n| [Step::Append(1 + n % 3, 700 + 97 * n), Step::Commit]).collect()
}

#[test]
fn each_segment_of_a_plain_log_can_be_laid_out() {
    assert!(each_laid_out(&plain()) > 3);
}

#[test]
fn what_looks_like_several_groups_may_have_been_one() {
    for at_once in [true, false] {
        for long in [3000, 4064, 5001, 7000] {
            let replace = || Step::Replace(vec![100, long, 33], at_once);
            let steps = (0..30).flat_map(|_| [replace(), Step::Commit]).collect::<Vec<_>>();
            assert!(each_laid_out(&steps) > 1, "{at_once} {long}");
        }
    }
}

#[test]
fn planted_lay_out_as_last() {
    prove(Bug::LayOutAsLast, 0..1, &["it is not what its index says", "it opens"], |_| {
        each_laid_out(&plain());
    });
}

#[test]
fn an_entry_that_is_not_there_is_not_made_up() {
    run(1, async {
        let disk = SimDisk::new(1);
        let (log, sealed) = written(&disk, &plain()).await;
        let index = indexed(&disk, &log, &sealed[0]);
        let whole = Bytes::from(disk.snapshot()[&file_name(1)].clone());
        let alone = entries_alone(&whole, &sealed[0]);
        assert!(lay_out(&alone, &index, None).is_some());
        for (of, place) in &sealed[0].entries {
            let mut rotten = alone.to_vec();
            rotten[place.offset as usize - 1] ^= 1;
            assert_eq!(lay_out(&rotten.clone().into(), &index, None), None, "{of}");
            // Nor is another of the same length.
            let Place { bytes, .. } = *place;
            let other =
                Entry { id: id(of.term + 1, of.index), ..entry(1, 1, vec![1; bytes as usize]) };
            assert!(put_entry(&mut rotten, *place, &other));
            assert_eq!(unsound(&rotten.clone().into(), &index.run).unwrap(), [(*of, *place)]);
            assert_eq!(lay_out(&rotten.into(), &index, None), None, "{of}");
        }
        // Behind another segment than it was behind, it cannot be.
        let last = indexed(&disk, &log, sealed.last().unwrap());
        assert_eq!(lay_out(&alone, &index, Some(&last)), None);
    });
}
