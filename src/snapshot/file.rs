//! One file of a snapshot on its way: written, verified, found again. All of it waits for the disk.

use std::{collections::BTreeSet, io, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::manifest::{FileEntry, Kind, Manifest};
use crate::{
    base::{ids::NodeId, planted::planted},
    checkpoint::format,
    io::{BLOCK, Files, Output, map::Mapping, put_file, sync_directory},
    log::{self, Arriving, Identity, OpenError, format::SegmentHeader, index::Indexed},
    sections::Sections,
};

/// How the name of a file ends that is on its way.
pub(super) const PART: &str = ".part";
/// How the names of files end that are complete, and wait for the next start.
pub const STAGED: &str = ".staged";
/// How the name of one ends that is being made of such.
const REWRITTEN: &str = ".part.tmp";
/// Bytes of what is there already that are verified at once.
const PIECE_BYTES: usize = 1 << 20;
/// Another file that is being written.
pub(super) const TEMPORARY: &str = "snapshot.tmp";

pub(super) fn name(file: FileEntry, suffix: &str) -> String {
    file.kind.name() + suffix
}

/// A file that is written as it comes.
pub(super) struct Begun<O> {
    file: FileEntry,
    out: O,
    /// What is there of a segment, which is verified before it is written, so that it need not be
    /// read from the disk for that.
    segment: Option<Arriving>,
}

impl<O: Output> Begun<O> {
    /// Begins with a file, or goes on with it behind the bytes `at`, a multiple of [`BLOCK`].
    pub(super) fn at(files: &impl Files<Output = O>, file: FileEntry, at: u64) -> io::Result<Self> {
        let mut segment = match file.kind {
            Kind::Segment { sequence, .. } => Some(Arriving::new(sequence, file.bytes)),
            _ => None,
        };
        let name = name(file, PART);
        if let Some(segment) = segment.as_mut().filter(|_| at > 0) {
            let map = files.map(&name)?;
            let end = usize::try_from(at).map_err(io::Error::other)?;
            for start in (0..end).step_by(PIECE_BYTES) {
                let range = start..end.min(start + PIECE_BYTES);
                map.populate(range.clone())?;
                let piece = Bytes::copy_from_slice(map.get(range).unwrap_or_default());
                segment.add(piece).map_err(|error| unsound(file, &error.to_string()))?;
            }
        }
        Ok(Self { file, out: files.write_from(&name, at)?, segment })
    }

    /// Adds the part at `offset`. The first of a segment says whose it is: it becomes one of this
    /// node.
    pub(super) fn add(mut self, identity: Identity, offset: u64, part: Bytes) -> io::Result<Self> {
        let part = match (&self.segment, offset) {
            (Some(_), 0) => given_to(identity.node, self.file, &part)?,
            _ => part,
        };
        if let Some(segment) = &mut self.segment {
            let added = segment.add(part.clone());
            trusted(added).map_err(|error| unsound(self.file, &error.to_string()))?;
        }
        self.out.write_all(&part)?;
        // In writes as long as its parts, which are short where nobody is to wait behind them.
        self.out.flush().map(|()| self)
    }

    /// Has what came be there for whoever goes on with it later.
    pub(super) fn leave(mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Makes it durable, verifies it, and gives it the name of one that is complete.
    pub(super) fn finish(
        mut self,
        files: &impl Files<Output = O>,
        identity: Identity,
    ) -> io::Result<()> {
        let Self { file, .. } = self;
        if !planted!(SkipSnapshotSync) {
            self.out.sync()?;
        }
        let part = name(file, PART);
        let verified = match self.segment.map(Arriving::end) {
            Some(ended) => is_segment(identity, file, ended),
            None => verify(files, identity, file, &part),
        };
        trusted(verified)?;
        files.rename(&part, &name(file, STAGED))
    }
}

/// The outcome of verifying a file of another node.
fn trusted<E>(verified: Result<(), E>) -> Result<(), E> {
    if planted!(TrustSnapshotFile) { Ok(()) } else { verified }
}

fn unsound(file: FileEntry, why: &str) -> io::Error {
    let text = format!("{} is not sound as it came: {why}", file.kind.name());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Removes what is there of a file that is not sound: it is sent anew.
pub(super) fn remove_unsound(files: &impl Files, file: FileEntry, error: &io::Error) {
    if error.kind() == io::ErrorKind::InvalidData {
        // The error says more than that of this.
        let _ = files.remove(&name(file, PART));
    }
}

/// The first part of a segment, as one of node `node`.
fn given_to(node: NodeId, file: FileEntry, part: &Bytes) -> io::Result<Bytes> {
    let mut part = BytesMut::from(part.as_ref());
    match log::give_to_node(&mut part, node) {
        Some(_) => Ok(part.freeze()),
        None => Err(unsound(file, "its header is missing or damaged")),
    }
}

/// Whether the segment that is sound is the one that was to come.
fn is_segment(
    identity: Identity,
    file: FileEntry,
    ended: Result<SegmentHeader, OpenError>,
) -> io::Result<()> {
    let header = ended.map_err(|error| unsound(file, &error.to_string()))?;
    let of = Identity { cluster: header.cluster, node: header.node };
    match (of, Kind::of(&header)) == (identity, file.kind) {
        true => Ok(()),
        false => Err(unsound(file, "it is another segment")),
    }
}

fn verify(files: &impl Files, identity: Identity, file: FileEntry, part: &str) -> io::Result<()> {
    let map = files.map(part)?;
    if map.len() as u64 != file.bytes {
        return Err(unsound(file, "it has another length"));
    }
    let sound =
        |sections: &Sections| sections.verify().map_err(|fault| unsound(file, &fault.to_string()));
    match file.kind {
        Kind::Segment { sequence, .. } => {
            is_segment(identity, file, log::verify_segment(&map, sequence))?;
        }
        Kind::Index { sequence, nonce, sum } => {
            let sections =
                Sections::open(map).map_err(|fault| unsound(file, &fault.to_string()))?;
            let sections = Arc::new(sections);
            sound(&sections)?;
            if sections.sum() != sum {
                return Err(unsound(file, "it is another index"));
            }
            let index = Indexed::read(&sections).ok().filter(|index| {
                let of = (index.identity.cluster, index.run.segment(), index.nonce());
                of == (identity.cluster, sequence, nonce)
            });
            let index = index.ok_or_else(|| unsound(file, "it is of another segment"))?;
            if index.identity.node != identity.node {
                let bytes = Indexed::given_to(&sections, identity.node);
                let bytes = bytes.map_err(|fault| unsound(file, &fault.to_string()))?;
                put_file(files, &name(file, REWRITTEN), part, &bytes)?;
            }
        }
        Kind::State(_) => {
            sound(&Sections::open(map).map_err(|fault| unsound(file, &fault.to_string()))?)?;
        }
        Kind::Checkpoint(index) => {
            let bytes = map.get(0..map.len()).unwrap_or_default();
            let read = format::read(bytes).map_err(|error| unsound(file, &error))?;
            if (read.head.cluster, read.head.log_id().index) != (identity.cluster.0, index) {
                return Err(unsound(file, "it is another checkpoint"));
            }
        }
    }
    Ok(())
}

/// What is there of a snapshot: which files, and how much of the first one that is not. The rest is
/// removed. What is not `verified` by this process may have rotted since it was, and is verified again.
pub(super) fn find(
    files: &impl Files,
    identity: Identity,
    manifest: &Manifest,
    verified: &BTreeSet<String>,
) -> io::Result<(Vec<bool>, u64)> {
    let wanted: BTreeSet<String> = manifest.files.iter().map(|file| file.kind.name()).collect();
    remove_staged(files, |name| {
        let of = name.strip_suffix(PART).or_else(|| name.strip_suffix(STAGED));
        !of.is_some_and(|of| wanted.contains(of))
    })?;
    let there: BTreeSet<String> = files.list()?.into_iter().map(|file| file.name).collect();
    let mut held = Vec::with_capacity(manifest.files.len());
    let mut started = None;
    for file in &manifest.files {
        let staged = name(*file, STAGED);
        let is_held = there.contains(&staged)
            && is_of(files, identity, *file, &staged)
            && (verified.contains(&staged) || is_sound(files, *file, &staged));
        held.push(is_held);
        if !is_held && started.is_none() {
            started = Some(resume(files, identity, *file)?);
        }
    }
    sync_directory(files)?;
    Ok((held, started.unwrap_or(0)))
}

/// Whether a file that is complete is this one.
fn is_of(files: &impl Files, identity: Identity, file: FileEntry, name: &str) -> bool {
    let Ok(map) = files.map(name) else { return false };
    match file.kind {
        Kind::Segment { .. } => map.len() as u64 == file.bytes && has_header(identity, file, &map),
        Kind::Index { sequence, nonce, .. } => {
            let index =
                Sections::open(map).ok().and_then(|found| Indexed::read(&Arc::new(found)).ok());
            index.is_some_and(|index| {
                (index.identity, index.run.segment(), index.nonce()) == (identity, sequence, nonce)
            })
        }
        // Another node may have made another of the same name.
        Kind::State(_) | Kind::Checkpoint(_) => false,
    }
}

/// Whether a file that is complete is still what it was when it was verified.
fn is_sound(files: &impl Files, file: FileEntry, name: &str) -> bool {
    let Ok(map) = files.map(name) else { return false };
    match file.kind {
        Kind::Segment { sequence, .. } => log::verify_segment(&map, sequence).is_ok(),
        _ => Sections::open(map).is_ok_and(|sections| sections.verify().is_ok()),
    }
}

/// Whether a file begins with the header of this segment.
fn has_header(identity: Identity, file: FileEntry, map: &Mapping) -> bool {
    log::header(map)
        .is_some_and(|header| header.node == identity.node && Kind::of(&header) == file.kind)
}

/// How many bytes there are of a file that was on its way; what is not of it is removed.
fn resume(files: &impl Files, identity: Identity, file: FileEntry) -> io::Result<u64> {
    let part = name(file, PART);
    let Ok(map) = files.map(&part) else { return Ok(0) };
    if has_header(identity, file, &map) {
        // What is complete is verified with its last part, which is asked for once more.
        let bytes = (map.len() as u64).min(file.bytes.saturating_sub(1));
        return Ok(bytes / BLOCK as u64 * BLOCK as u64);
    }
    files.remove(&part)?;
    Ok(0)
}

/// Removes what is staged, or was on its way, and of such a name.
pub(super) fn remove_staged(files: &impl Files, is_to_go: impl Fn(&str) -> bool) -> io::Result<()> {
    for file in files.list()? {
        let name = &file.name;
        let is_staged = name.ends_with(PART) || name.ends_with(STAGED) || name.ends_with(REWRITTEN);
        if (is_staged && is_to_go(name)) || name == TEMPORARY {
            files.remove(name)?;
        }
    }
    Ok(())
}
