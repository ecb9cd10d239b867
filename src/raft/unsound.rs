//! A complete segment in which something rotted, or of which the file is missing: what of it is there
//! still, and what it is once that is made good. All of it waits for the disk.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    base::{ids::LogId, planted::planted},
    io::{BLOCK, Files, is_bad_place, map::Mapping},
    log::{
        self, Entry, Frame, Place, decode_frame, entries_end, frame_range, index::Indexed,
        is_whole, lay_out, put_entry, unsound,
    },
    sections::Sections,
    state::{SealedSegment, ToErase},
};

/// The name of a segment that is only looked at.
pub(super) const LOOKED_AT: &str = "mend.tmp";

/// A segment as it is, and what of it is not sound.
pub(super) struct Unsound {
    sections: Arc<Sections>,
    index: Indexed,
    /// That of the segment before, unless it is purged; why it is not known.
    before: Option<Result<Indexed, String>>,
    bytes: Vec<u8>,
    /// Entries that are to be put into it.
    pub(super) entries: Vec<(LogId, Place)>,
    /// Some were.
    has_others: bool,
}

impl Unsound {
    /// Looks what of the segment `sequence` is sound. Readers are given `given`, of the segment `before`
    /// and of this one; what is in memory of these counts as well.
    pub(super) fn look(
        files: &impl Files,
        sequence: u64,
        before: Option<u64>,
        given: &[Option<Arc<SealedSegment>>; 2],
    ) -> io::Result<Self> {
        let [given_before, given] = given.each_ref().map(Option::as_deref);
        let before = before.map(|before| {
            let read = indexed(files, before, given_before);
            read.map(|(_, index)| index).map_err(|error| error.to_string())
        });
        let (sections, index) = indexed(files, sequence, given)?;
        let held = given.map(|given| &**given.map());
        let mut bytes = match content(files, &log::file_name(sequence)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_bad_place(&error) => {
                held.map_or_else(Vec::new, what_is_left)
            }
            Err(error) => return Err(error),
        };
        fit(&mut bytes, entries_end(&index.run).map_err(io::Error::other)?);
        let bytes = Bytes::from(bytes);
        let mut entries = unsound(&bytes, &index.run).map_err(io::Error::other)?;
        let mut bytes = Vec::from(bytes);
        if let Some(held) = held {
            entries.retain(|(id, place)| {
                let entry = entry_of(held, *id, *place);
                !entry.is_some_and(|entry| put_entry(&mut bytes, *place, &entry))
            });
        }
        Ok(Self { sections, index, before, bytes, entries, has_others: false })
    }

    /// Puts an entry in its place; whether it fits.
    pub(super) fn put(&mut self, place: Place, entry: &Entry) -> bool {
        self.has_others = true;
        put_entry(&mut self.bytes, place, entry)
    }

    /// The whole segment, once each entry is in its place.
    pub(super) fn sound(self, files: &impl Files) -> io::Result<Sound> {
        let (sequence, index_sum) = (self.index.run.segment(), self.sections.sum());
        Ok(Sound { bytes: self.whole(files)?, sequence, index_sum })
    }

    fn whole(self, files: &impl Files) -> io::Result<Bytes> {
        let Self { sections, index, before, bytes, has_others, .. } = self;
        let bytes = Bytes::from(bytes);
        if is_whole(&bytes, &index) {
            return Ok(bytes);
        }
        let before = before.transpose().map_err(|error| {
            io::Error::other(format!(
                "more than entries is damaged, and so is what is before: {error}"
            ))
        })?;
        let cannot = || {
            io::Error::other(
                "more than entries is damaged, and they cannot be laid out as they were",
            )
        };
        let laid_out = lay_out(&bytes, &index, before.as_ref()).ok_or_else(cannot)?;
        if !has_others || planted!(KeepRedactedOfMember) {
            return Ok(laid_out);
        }
        // Another member may not have erased yet what was erased here.
        match erased(files, &sections, &index, &laid_out)? {
            Some(erased) => lay_out(&erased, &index, before.as_ref()).ok_or_else(cannot),
            None => Ok(laid_out),
        }
    }
}

/// A segment that was mended.
pub(super) struct Sound {
    pub(super) bytes: Bytes,
    sequence: u64,
    /// The checksum of the index that says what is erased of it.
    index_sum: u32,
}

impl Sound {
    /// Whether its index is still the one by which it was mended; readers are `given` that. Whoever
    /// asks sees to it that nothing is erased until it is in its place.
    pub(super) fn is_current(
        &self,
        files: &impl Files,
        given: Option<&SealedSegment>,
    ) -> io::Result<bool> {
        let (sections, _) = indexed(files, self.sequence, given)?;
        Ok(sections.sum() == self.index_sum || planted!(MendOverErased))
    }
}

/// The segment without what its index says to be erased of it; nothing when that is gone.
fn erased(
    files: &impl Files,
    sections: &Arc<Sections>,
    index: &Indexed,
    segment: &Bytes,
) -> io::Result<Option<Bytes>> {
    if !ToErase::is_any(sections).map_err(io::Error::other)? {
        return Ok(None);
    }
    files.create(LOOKED_AT)?.write_all(segment)?;
    let map = files.map(LOOKED_AT);
    files.remove(LOOKED_AT)?;
    let opened = SealedSegment::open(sections, index.run.clone(), map?);
    let Some(looked_at) = opened.map_err(io::Error::other)? else { return Ok(None) };
    let to_erase = ToErase::again(&looked_at)?;
    if !to_erase.has_bytes {
        return Ok(None);
    }
    let mut bytes = segment.to_vec();
    for (at, erasure) in &to_erase.batches {
        let (id, place) = (index.run.id(*at), index.run.place(*at).map_err(io::Error::other)?);
        let entry = entry_of(looked_at.map(), id, place);
        let erased = entry.and_then(|entry| {
            let payload = erasure.of(&entry.payload)?;
            Some(Entry { payload, ..entry })
        });
        if !erased.is_some_and(|erased| put_entry(&mut bytes, place, &erased)) {
            return Err(io::Error::other(format!("entry {id} cannot be erased as it was")));
        }
    }
    Ok(Some(bytes.into()))
}

/// The index of a segment: its file, or what readers are given of it.
fn indexed(
    files: &impl Files,
    sequence: u64,
    given: Option<&SealedSegment>,
) -> io::Result<(Arc<Sections>, Indexed)> {
    let name = log::index::file_name(sequence);
    let of_file = || -> io::Result<Arc<Sections>> {
        let sections = Sections::open(files.map(&name)?).map_err(io::Error::other)?;
        Ok(Arc::new(sections))
    };
    let whole = |sections: Arc<Sections>| -> io::Result<(Arc<Sections>, Indexed)> {
        let fault = |fault| io::Error::other(format!("{name}: {fault}"));
        sections.map().populate(0..sections.map().len())?;
        sections.verify().map_err(fault)?;
        let index = Indexed::read(&sections).map_err(fault)?;
        match index.run.segment() == sequence {
            true => Ok((sections, index)),
            false => Err(io::Error::other(format!("{name}: it is of another segment"))),
        }
    };
    of_file().and_then(whole).or_else(|error| match given {
        Some(given) => whole(Arc::clone(given.index())),
        None => Err(error),
    })
}

/// Makes a file as long as its header says, and as its entries need, whose last one ends at `end`.
fn fit(bytes: &mut Vec<u8>, end: usize) {
    let header =
        log::header_of(bytes).and_then(|header| usize::try_from(header.segment_bytes).ok());
    let told = header.filter(|told| *told <= log::SEGMENT_BYTES_MAX as usize);
    match told {
        Some(told) if told >= end => bytes.resize(told, 0),
        _ => bytes.resize(bytes.len().max(end), 0),
    }
}

/// An entry as it stands in a file.
fn entry_of(map: &Mapping, id: LogId, place: Place) -> Option<Entry> {
    let range = frame_range(place);
    map.populate(range.clone()).ok()?;
    let frame = Bytes::copy_from_slice(map.get(range)?);
    match decode_frame(&frame, 0)? {
        (Frame::Entry(entry, _), end) if entry.id == id && end == frame.len() => Some(entry),
        _ => None,
    }
}

/// What a file holds, with zeros for what the disk does not give.
fn content(files: &impl Files, name: &str) -> io::Result<Vec<u8>> {
    match files.read(name) {
        Err(error) if is_bad_place(&error) => {}
        read => return read,
    }
    Ok(what_is_left(&files.map(name)?))
}

/// The same of one that is mapped.
fn what_is_left(map: &Mapping) -> Vec<u8> {
    let mut bytes = vec![0; map.len()];
    for (n, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let range = n * BLOCK..n * BLOCK + block.len();
        if map.populate(range.clone()).is_ok()
            && let Some(there) = map.get(range)
        {
            block.copy_from_slice(there);
        }
    }
    bytes
}
