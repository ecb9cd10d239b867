//! Batches and sealed segments for tests.

use std::{fs::File, sync::Arc};

use crate::{
    base::{
        batch::{Append, Batch, ChangeSpan, encode},
        ids::{ChangeId, LogId, Timestamp},
    },
    io::map::Mapping,
    log::{
        Entry,
        format::{FrameRef, GROUP_HEAD_BYTES, GroupPlace, HardState, encode_group, group_bytes},
    },
    state::{SealedBatch, SealedSegment},
};

/// A batch of `changes` changes, each with `mark` as its tail.
pub(crate) fn batch(changes: usize, mark: u8) -> Batch {
    let spans = (1..=changes as u32).map(|n| ChangeSpan { end: n, ..ChangeSpan::default() });
    let append = Append { spans: spans.collect(), tails: vec![mark; changes].into() };
    Batch::parse(encode(&[append], Timestamp(1))).unwrap()
}

/// A batch as it lies in a segment.
pub(crate) fn frame(batch: &Batch) -> Vec<u8> {
    let (id, payload) = (LogId { term: 1, index: 1 }, batch.bytes().clone());
    let entry = Entry { id, kind: 2, payload };
    let frame = FrameRef::Entry(&entry);
    let mut group = vec![0; group_bytes(frame.encoded_bytes())];
    let place = GroupPlace { offset: 0, nonce: 1, number: 1, previous: 0 };
    encode_group(&mut group, &place, &HardState::default(), [frame].into_iter());
    group[GROUP_HEAD_BYTES..][..frame.encoded_bytes()].to_vec()
}

/// A sealed segment with its file.
pub(crate) struct SealedFile {
    pub(crate) segment: Arc<SealedSegment>,
    file: tempfile::NamedTempFile,
}

impl SealedFile {
    /// A segment that holds `batches`, the first starting at `first`.
    pub(crate) fn new(sequence: u64, first: u64, batches: &[Batch]) -> Self {
        let (mut bytes, mut index, mut id) = (vec![0; 100], Vec::new(), first);
        for batch in batches {
            bytes.extend_from_slice(&frame(batch));
            let payload = batch.bytes().len() as u32;
            let offset = bytes.len() as u32 - payload;
            index.push(SealedBatch { first: ChangeId(id), offset, bytes: payload });
            id += u64::from(batch.changes());
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let map = Mapping::open(file.path()).unwrap();
        let segment = SealedSegment::new(sequence, index, ChangeId(id - 1), map);
        Self { segment: Arc::new(segment), file }
    }

    /// The file, to be damaged.
    pub(crate) fn open(&self) -> File {
        std::fs::OpenOptions::new().write(true).open(self.file.path()).unwrap()
    }
}
