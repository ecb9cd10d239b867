//! One file of a snapshot on its way: written, verified, found again. All of it waits for the disk.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;

use super::manifest::{FileEntry, Kind, Manifest};
use crate::{
    base::planted::planted,
    checkpoint::format,
    io::{BLOCK, Files, Output, map::Mapping, put_file, sync_directory},
    log::{self, Identity, index::Indexed},
    sections::Sections,
};

/// How the name of a file ends that is on its way.
pub(super) const PART: &str = ".part";
/// How the name of one ends that is complete.
pub(super) const STAGED: &str = ".staged";
/// How the name of one ends that is being made of such.
const REWRITTEN: &str = ".part.tmp";
/// Another file that is being written.
pub(super) const TEMPORARY: &str = "snapshot.tmp";

fn name(file: FileEntry, suffix: &str) -> String {
    file.kind.name() + suffix
}

/// Adds a part to a file. The first of a segment says whose it is: it becomes one of this node.
pub(super) fn write<F: Files>(
    files: &F,
    identity: Identity,
    file: FileEntry,
    offset: u64,
    part: &Bytes,
    out: Option<F::Output>,
) -> io::Result<F::Output> {
    let mut out = match out {
        Some(out) => out,
        None if offset == 0 => files.create(&name(file, PART))?,
        None => files.append(&name(file, PART))?,
    };
    if let (Kind::Segment { .. }, 0) = (file.kind, offset) {
        let mut head = part.get(..BLOCK).unwrap_or_default().to_vec();
        let header = log::give_to_node(&mut head, identity.node);
        if header.is_none() {
            return Err(unsound(file, "its header is missing or damaged"));
        }
        out.write_all(&head)?;
        out.write_all(part.get(BLOCK..).unwrap_or_default())?;
    } else {
        out.write_all(part)?;
    }
    out.write_back();
    Ok(out)
}

fn unsound(file: FileEntry, why: &str) -> io::Error {
    let text = format!("{} is not sound as it came: {why}", file.kind.name());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Verifies a file that is complete, and gives it the name of such.
pub(super) fn finish(files: &impl Files, identity: Identity, file: FileEntry) -> io::Result<()> {
    let part = name(file, PART);
    let verified = match planted!(TrustSnapshotFile) {
        true => Ok(()),
        false => verify(files, identity, file, &part),
    };
    if verified.is_err() {
        // It is sent anew.
        let _ = files.remove(&part);
    }
    verified?;
    files.rename(&part, &name(file, STAGED))
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
            let header = log::verify_segment(&map, sequence);
            let header = header.map_err(|error| unsound(file, &error.to_string()))?;
            let of = Identity { cluster: header.cluster, node: header.node };
            if (of, Kind::of(&header)) != (identity, file.kind) {
                return Err(unsound(file, "it is another segment"));
            }
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
/// removed.
pub(super) fn find(
    files: &impl Files,
    identity: Identity,
    manifest: &Manifest,
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
        let is_held = there.contains(&staged) && is_of(files, identity, *file, &staged);
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

/// Whether a file begins with the header of this segment.
fn has_header(identity: Identity, file: FileEntry, map: &Mapping) -> bool {
    log::header(map)
        .is_some_and(|header| header.node == identity.node && Kind::of(&header) == file.kind)
}

/// How many bytes there are of a file that was on its way; what is not of it is removed.
fn resume(files: &impl Files, identity: Identity, file: FileEntry) -> io::Result<u64> {
    let part = name(file, PART);
    let Ok(map) = files.map(&part) else { return Ok(0) };
    let begun = has_header(identity, file, &map);
    let bytes = map.len() as u64;
    // What is complete is verified with its last part, which is asked for once more.
    if begun && bytes < file.bytes {
        return Ok(bytes);
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
