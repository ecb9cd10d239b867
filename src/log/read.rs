//! Reading entries: from memory, else from the segments with every checksum
//! verified.

use super::{
    Entry, Log, Place,
    format::{FRAME_HEAD_BYTES, Frame, decode_frame},
    index::file_name as index_name,
    segment::file_name,
    state::LogState,
    table::Whereabouts,
};
use crate::base::ids::LogId;
use crate::io::{BLOCK, Disk, DiskFile, OpenMode, cores, is_bad_place};
use crate::sections::{Fault, Missing};
use bytes::Bytes;
use std::io;

/// Entries that lie close together in one segment are read at once, up to this
/// many bytes.
const SPAN_BYTES_MAX: u64 = 1024 * 1024;

/// Places that are looked up in an index before it is asked anew whether it is in memory.
const PLACES_AT_ONCE: u64 = 512;

/// Entries to read from one segment in one go.
struct Span {
    segment: u64,
    entries: Vec<(LogId, Place)>,
}

impl Span {
    fn start(&self) -> u64 {
        self.entries.first().map_or(0, |(_, place)| frame_start(place))
    }

    fn takes(&self, place: &Place) -> bool {
        place.segment == self.segment && frame_end(place) - self.start() <= SPAN_BYTES_MAX
    }
}

/// A read that is under way, for whoever watches whether the disk answers; one that is
/// given up was not answered.
struct Reading<'a, D: Disk>(&'a LogState<D>);

impl<'a, D: Disk> Reading<'a, D> {
    fn begin(log: &'a LogState<D>) -> Self {
        log.get_mut().reading += 1;
        Self(log)
    }
}

impl<D: Disk> Drop for Reading<'_, D> {
    fn drop(&mut self) {
        self.0.get_mut().reading -= 1;
    }
}

/// What a read goes on with.
enum Next {
    /// Nothing: there is no more, or no room.
    Done,
    /// These entries are to be read.
    Read(Span),
    /// This must be brought into memory first, of the index of that segment.
    Load(Missing, u64),
}

/// Why the place of an entry is not known.
enum Unseen {
    /// It must be brought into memory first, of the index of that segment.
    Missing(Missing, u64),
    /// The index of that segment is damaged.
    Damaged(Fault, u64),
}

/// Looks up places, and asks once for some of an index whether they are in memory.
#[derive(Default)]
struct Looked {
    /// Up to which entry of a segment's index that was asked.
    known: Option<(u64, u64)>,
}

impl Looked {
    fn at(&mut self, found: Whereabouts, index: u64) -> Result<Place, Unseen> {
        let run = match found {
            Whereabouts::Known(place) => return Ok(place),
            Whereabouts::Indexed(run) => run,
        };
        if self.known.is_none_or(|(segment, next)| segment != run.segment() || next <= index) {
            let next = run.next().min(index + PLACES_AT_ONCE);
            if let Some(missing) = run.missing(index..next) {
                return Err(Unseen::Missing(missing, run.segment()));
            }
            self.known = Some((run.segment(), next));
        }
        run.place(index).map_err(|fault| Unseen::Damaged(fault, run.segment()))
    }
}

fn frame_start(place: &Place) -> u64 {
    u64::from(place.offset) - FRAME_HEAD_BYTES as u64
}

fn frame_end(place: &Place) -> u64 {
    u64::from(place.offset) + u64::from(place.bytes)
}

impl<D: Disk> Log<D> {
    /// The entries from `from` up to but not including `to`, as far as the log
    /// has them: at least one if there is one, then as many as fit `bytes_max`
    /// of payload.
    ///
    /// # Errors
    /// When the disk fails, `InvalidData` with file and offset when the first entry is
    /// damaged, and `NotFound` when it is purged meanwhile. Of damage the hook of
    /// [`on_damage`](Self::on_damage) is told.
    pub async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (mut found, mut bytes, mut at) = (Vec::new(), 0, from);
        while at < to {
            let next = match self.next_span(&mut at, to, &mut bytes, bytes_max, &mut found) {
                Err(_) if !found.is_empty() => break,
                next => next?,
            };
            match next {
                Next::Load(Missing { map, range }, segment) => {
                    let at = range.start as u64;
                    let loaded = cores::off_core(move || map.populate(range)).await;
                    loaded.map_err(|error| self.unread(&index_name(segment), at, error))?;
                }
                Next::Read(span) => match self.read_span(&span, &mut found).await {
                    // What comes before it is worth having.
                    Err(_) if !found.is_empty() => break,
                    read => read?,
                },
                Next::Done => break,
            }
        }
        Ok(found)
    }

    /// Goes on from `at`: to entries in memory, which are added to `found`, or to some that are to
    /// be read.
    fn next_span(
        &self,
        at: &mut u64,
        to: u64,
        bytes: &mut usize,
        bytes_max: usize,
        found: &mut Vec<Entry>,
    ) -> io::Result<Next> {
        let inner = self.shared.get();
        // What was purged is not there; what was removed may be still
        // in the table but is not read, since `recent` begins before.
        if inner.state.purged.is_some_and(|purged| *at <= purged.index) {
            return Ok(Next::Done);
        }
        if *at >= inner.recent_first() {
            while let Some(entry) = inner.recent_entry(*at).filter(|_| *at < to) {
                *bytes += entry.payload.len();
                if *bytes > bytes_max && !found.is_empty() {
                    break;
                }
                found.push(entry.clone());
                *at += 1;
            }
            return Ok(Next::Done);
        }
        let mut span: Option<Span> = None;
        let mut looked = Looked::default();
        while *at < to.min(inner.recent_first()) {
            let Some(id) = inner.table.id(*at) else { break };
            let place = match inner.table.whereabouts(*at).map(|found| looked.at(found, *at)) {
                None => break,
                Some(Ok(place)) => place,
                // What was found so far comes first.
                Some(Err(_)) if span.is_some() => break,
                Some(Err(Unseen::Missing(missing, of))) => return Ok(Next::Load(missing, of)),
                Some(Err(Unseen::Damaged(Fault { offset, reason }, of))) => {
                    return Err(self.damaged(&index_name(of), offset as u64, &reason));
                }
            };
            let next = *bytes + place.bytes as usize;
            let first = found.is_empty() && span.is_none();
            if (next > bytes_max && !first) || span.as_ref().is_some_and(|s| !s.takes(&place)) {
                break;
            }
            span.get_or_insert_with(|| Span { segment: place.segment, entries: Vec::new() })
                .entries
                .push((id, place));
            *bytes = next;
            *at += 1;
        }
        Ok(span.map_or(Next::Done, Next::Read))
    }

    async fn read_span(&self, span: &Span, found: &mut Vec<Entry>) -> io::Result<()> {
        let reading = Reading::begin(&self.shared);
        let start = span.start();
        let end = span.entries.last().map_or(start, |(_, place)| frame_end(place));
        let name = file_name(span.segment);
        let aligned = start - start % BLOCK as u64;
        let wanted = usize::try_from((end - aligned).next_multiple_of(BLOCK as u64))
            .map_err(io::Error::other)?;
        let opened = self.shared.disk.open(&name, OpenMode::Read).await;
        let file = match opened {
            Err(error) if self.is_missing(span, &error) => {
                return Err(self.damaged(&name, 0, "it is missing"));
            }
            opened => opened.map_err(|error| self.unread(&name, 0, error))?,
        };
        let read = file.read_at(aligned, wanted).await;
        file.close().await?;
        drop(reading);
        self.shared.get_mut().reads_answered += 1;
        let read = read.map_err(|error| self.unread(&name, start, error))?;
        let offset = |at: u64| usize::try_from(at - aligned).unwrap_or(usize::MAX);
        let bytes = read.as_ref().get(offset(start)..offset(end)).map(Bytes::copy_from_slice);
        for (id, place) in &span.entries {
            let at = usize::try_from(frame_start(place) - start).unwrap_or(usize::MAX);
            match bytes.as_ref().and_then(|bytes| decode_frame(bytes, at)) {
                Some((Frame::Entry(entry, _), _))
                    if entry.id == *id && entry.payload.len() == place.bytes as usize =>
                {
                    found.push(entry);
                }
                _ => {
                    let reason = format!("it does not match the checksum of entry {id}");
                    return Err(self.damaged(&name, frame_start(place), &reason));
                }
            }
        }
        Ok(())
    }

    /// Whether a segment is not there although nothing of `span` is purged.
    fn is_missing(&self, span: &Span, error: &io::Error) -> bool {
        let purged = self.shared.get().state.purged.map(|id| id.index);
        let first = span.entries.first().map(|(id, _)| id.index);
        error.kind() == io::ErrorKind::NotFound && first > purged
    }

    fn unread(&self, name: &str, at: u64, error: io::Error) -> io::Error {
        match is_bad_place(&error) {
            true => self.damaged(name, at, &format!("it cannot be read: {error}")),
            false => error,
        }
    }

    /// Tells the hook of [`on_damage`](Self::on_damage) that byte `at` of the file `name` is
    /// damaged.
    pub fn tell_damaged(&self, name: &str, at: u64, reason: &str) {
        let hook = self.shared.get().on_damage.clone();
        if let Some(hook) = hook {
            hook(name, at, reason);
        }
    }

    /// The same, as an error.
    fn damaged(&self, name: &str, at: u64, reason: &str) -> io::Error {
        self.tell_damaged(name, at, reason);
        let message = format!("the log is damaged: {name}, byte {at}: {reason}");
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}
