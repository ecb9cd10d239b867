//! Batches and sealed segments for tests.

use std::{borrow::Cow, fs::File, sync::Arc};

use uuid::Uuid;

use crate::{
    base::{
        batch::{
            Action, Append, Batch, ChangeSpan, Command, NumberedBatch, Previous, Skips,
            SuffixMembers, encode,
        },
        ids::{ChangeId, ClusterId, LogId, Timestamp},
        json_string::write_json_string,
        ttl::Ttl,
    },
    io::map::Mapping,
    log::{
        self, Entry, Identity, Place, Sealed,
        format::{FrameRef, GROUP_HEAD_BYTES, GroupPlace, HardState, encode_group, group_bytes},
        index::Indexed,
    },
    sections::{Builder, Sections},
    state::{
        SealedSegment,
        index::{Catalog, ListKey, Tenant},
        sealed,
    },
};

/// A batch of `changes` changes, each with `mark` as its suffix.
pub(crate) fn batch(changes: usize, mark: u8) -> Batch {
    let spans = (1..=changes as u32).map(|n| ChangeSpan { end: n, ..ChangeSpan::default() });
    let append = Append {
        spans: spans.collect(),
        suffixes: vec![mark; changes].into(),
        ..Append::default()
    };
    Batch::parse(encode(&[append.into()], Timestamp(1))).unwrap()
}

/// A batch of these commands, stamped `at`.
pub(crate) fn batch_of(commands: &[Command], at: u64) -> Batch {
    Batch::parse(encode(commands, Timestamp(at))).unwrap()
}

pub(crate) fn create_tenant(tenant: Uuid, name: &str) -> Command {
    Action::CreateTenant { tenant, name: name.into() }.into()
}

pub(crate) fn create_collection(tenant: Uuid, collection: Uuid, name: &str) -> Command {
    Action::CreateCollection { tenant, collection, name: name.into() }.into()
}

/// One command that appends all of `texts`.
pub(crate) fn append_all(texts: &[ChangeText<'_>]) -> Append {
    let (mut spans, mut suffixes) = (Vec::new(), Vec::new());
    for text in texts {
        let one = Append::from(*text);
        let start = suffixes.len() as u32;
        spans.extend(one.spans.iter().map(|span| ChangeSpan { end: start + span.end, ..*span }));
        suffixes.extend_from_slice(&one.suffixes);
    }
    Append { spans: spans.into(), suffixes: suffixes.into(), ..Append::default() }
}

/// A batch that was accepted whole, from the change `first` on.
pub(crate) fn numbered(first: u64, batch: Batch) -> NumberedBatch {
    NumberedBatch {
        first: ChangeId(first),
        batch,
        skips: Skips::default(),
        previous: Previous::default(),
    }
}

/// A batch as it lies in a segment, as the entry `index`.
pub(crate) fn frame(batch: &Batch, index: u64) -> Vec<u8> {
    let (id, payload) = (LogId { term: 1, index }, batch.bytes().clone());
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
        let mut id = first;
        let numbered: Vec<NumberedBatch> = batches
            .iter()
            .map(|batch| {
                let numbered = numbered(id, batch.clone());
                id += u64::from(batch.changes());
                numbered
            })
            .collect();
        Self::of(sequence, &numbered, Vec::new())
    }

    /// A segment that holds `batches`, with those lists.
    pub(crate) fn of(
        sequence: u64,
        batches: &[NumberedBatch],
        lists: Vec<(ListKey, Vec<ChangeId>)>,
    ) -> Self {
        let (mut bytes, mut entries) = (vec![0; 100], Vec::new());
        for (index, batch) in (1..).zip(batches) {
            bytes.extend_from_slice(&frame(&batch.batch, index));
            let payload = batch.batch.bytes().len() as u32;
            let offset = bytes.len() as u32 - payload;
            let place = Place { segment: sequence, offset, bytes: payload };
            entries.push((LogId { term: 1, index }, place));
        }
        let (identity, state) =
            (Identity { cluster: ClusterId(Uuid::nil()), node: 1 }, HardState::default());
        let sealed =
            Sealed { sequence, nonce: 1, entries, kept: None, next_group: 1, chain: 0, state };
        let mut builder = Builder::default();
        log::index::put(&mut builder, identity, &sealed, None);
        let last = batches.last().unwrap().last();
        sealed::put(&mut builder, batches.len(), batches.iter().enumerate(), last, lists);
        let [file, index] = [bytes, builder.finish()].map(|bytes| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            file
        });
        let sections = Arc::new(Sections::open(Mapping::open(index.path()).unwrap()).unwrap());
        let run = Indexed::read(&sections).unwrap().run;
        let map = Mapping::open(file.path()).unwrap();
        let segment = SealedSegment::open(&sections, run, map).unwrap().unwrap();
        Self { segment: Arc::new(segment), file }
    }

    /// The file, to be damaged.
    pub(crate) fn open(&self) -> File {
        std::fs::OpenOptions::new().write(true).open(self.file.path()).unwrap()
    }
}

/// A change as a test writes it down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChangeText<'t> {
    pub(crate) tenant: Option<Uuid>,
    pub(crate) collection: Option<Uuid>,
    pub(crate) key: Option<&'t str>,
    pub(crate) tags: &'t [&'t str],
    /// How many seconds the version of its key is to live; 0 for ever.
    pub(crate) ttl: u32,
    /// Its data; `None` in a deletion.
    pub(crate) data: Option<&'t str>,
    /// It is the deletion of a key that expired.
    pub(crate) expired: bool,
}

impl<'t> ChangeText<'t> {
    pub(crate) fn plain(data: &'t str) -> Self {
        Self { data: Some(data), ..Self::default() }
    }

    pub(crate) fn of(tenant: Uuid, collection: Option<Uuid>, key: Option<&'t str>) -> Self {
        Self { tenant: Some(tenant), collection, key, ..Self::plain("1") }
    }

    pub(crate) fn deletion(tenant: Uuid, collection: Option<Uuid>) -> Self {
        Self { data: None, ..Self::of(tenant, collection, None) }
    }

    pub(crate) fn key_deletion(tenant: Uuid, collection: Uuid, key: &'t str) -> Self {
        Self { data: None, ..Self::of(tenant, Some(collection), Some(key)) }
    }

    pub(crate) fn tagged(self, tags: &'t [&'t str]) -> Self {
        Self { tags, ..self }
    }
}

impl From<ChangeText<'_>> for Append {
    fn from(text: ChangeText<'_>) -> Self {
        let key = text.key.map(Cow::Borrowed);
        let mut tags = Vec::new();
        for (n, tag) in text.tags.iter().enumerate() {
            if n > 0 {
                tags.push(b',');
            }
            write_json_string(&mut tags, tag);
        }
        let members = SuffixMembers {
            tenant: text.tenant,
            collection: text.collection,
            key: key.as_deref(),
            ttl: Ttl::new(text.ttl.into()),
            tags: &tags,
        };
        let mut suffixes = Vec::new();
        let span = match text.data {
            Some(data) => {
                members.write(&mut suffixes, |out| out.extend_from_slice(data.as_bytes()))
            }
            None if text.expired => members.write_expiry(&mut suffixes),
            None => members.write_deletion(&mut suffixes),
        };
        Append {
            spans: [span].into_iter().collect(),
            suffixes: suffixes.into(),
            ..Append::default()
        }
    }
}

/// A tenant with these collections, each named by its UUID.
pub(crate) fn tenant_of_collections(
    tenant: Uuid,
    collections: impl Iterator<Item = Uuid>,
) -> Arc<Tenant> {
    let catalog = Catalog::default();
    catalog.add_tenant(tenant, "t");
    let tenant = catalog.tenant(tenant).expect("it was added");
    collections.for_each(|id| catalog.add_collection(id, &tenant, &id.to_string()));
    tenant
}
