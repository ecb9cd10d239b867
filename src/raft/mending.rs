//! What is damaged is healed: what is derived of the log is made anew of it, and a complete segment in
//! which entries rotted gets the same entries from other members. What that amounts to is held
//! against the checksums of the segment and of its index, so it is byte for byte what it was, or is
//! left as it is.
//!
//! ```text
//! entries that are not sound · asked of the members · the whole verified ·
//! written under another name · synced · renamed · directory synced · readers told
//! ```

use std::io;

use bytes::Bytes;

use super::{
    Replica,
    healing::{self, Healed, give},
    peer::{Answer, Lane, Request},
    segment_index::{SegmentIndex, WHOLE_SUFFIX, opened},
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        timing::MEND_ANSWER,
    },
    io::{BLOCK, Disk, Files, cores, is_bad_place},
    log::{self, Entry, Frame, Place, decode_frame, is_whole, put_entry, unsound},
};

/// A segment as it is, and what of it is not sound.
struct Unsound {
    index: SegmentIndex,
    bytes: Vec<u8>,
    entries: Vec<(LogId, Place)>,
}

/// Whether a file of that name can be made anew of others.
#[must_use]
pub fn is_derived(name: &str) -> bool {
    [log::index::SUFFIX, WHOLE_SUFFIX].iter().any(|end| log::number(name, end).is_some())
}

/// Makes the file `name` sound: one that [is derived](is_derived) of what is before it, a segment with
/// the help of other members.
///
/// # Errors
/// What the disk reports, or what it would be made of is damaged or missing, too: it is as it was.
pub async fn heal<D: Disk>(replica: &Replica<D>, name: &str) -> io::Result<Healed> {
    let machine = &replica.machine;
    let of = |suffix| log::number(name, suffix);
    let outcome = match (of(log::index::SUFFIX), of(WHOLE_SUFFIX), of(log::SUFFIX)) {
        (Some(sequence), ..) => healing::index(machine, sequence).await,
        (None, Some(segment), _) => healing::state(machine, segment, name).await,
        (None, None, Some(sequence)) => segment(replica, sequence).await,
        (None, None, None) => return Err(io::Error::other("it cannot be made of anything")),
    };
    if let Err(error) = &outcome {
        machine.log().mind_directory(error);
    }
    outcome
}

/// Mends the complete segment `sequence`.
async fn segment<D: Disk>(replica: &Replica<D>, sequence: u64) -> io::Result<Healed> {
    let (machine, log) = (&replica.machine, &replica.log);
    // What is erased meanwhile would be in it.
    let _alone = machine.indexing().replacing().lock().await;
    if sequence < log.oldest_segment() || machine.is_superseded() {
        return Ok(Healed::Gone);
    }
    if sequence >= log.active_segment()
        || !machine.ended().0.iter().any(|it| it.sequence == sequence)
    {
        return Ok(Healed::Later);
    }
    let files = log.files();
    let look = move || look(&files, sequence);
    let Unsound { index, mut bytes, entries } =
        cores::on_own_thread("mend", look).await.flatten()?;
    for (id, place) in entries {
        let entry = fetch(replica, id).await;
        let missing = || io::Error::other(format!("no member that is reached has entry {id}"));
        let entry = entry.ok_or_else(missing)?;
        if !put_entry(&mut bytes, place, &entry) {
            return Err(io::Error::other(format!("entry {id} of another member is another one")));
        }
    }
    let bytes = Bytes::from(bytes);
    let (mended, indexed) = (bytes.clone(), index.log.clone());
    if !cores::off_core(move || is_whole(&mended, &indexed)).await {
        return Err(io::Error::other("something else than entries is damaged"));
    }
    if !log.put_anew(sequence, bytes).await.map_err(io::Error::other)? {
        return Ok(Healed::Later);
    }
    let files = log.files();
    let open = move || opened(&files, sequence);
    let index = cores::on_own_thread("mend", open).await.flatten()?;
    Ok(give(machine, &index))
}

/// What of a segment is not sound.
fn look(files: &impl Files, sequence: u64) -> io::Result<Unsound> {
    let index = opened(files, sequence)?;
    index.sections.verify().map_err(|fault| {
        io::Error::other(format!("{}: {fault}", log::index::file_name(sequence)))
    })?;
    let bytes = Bytes::from(content(files, &log::file_name(sequence))?);
    let entries = unsound(&bytes, &index.log.run).map_err(io::Error::other)?;
    Ok(Unsound { index, bytes: bytes.into(), entries })
}

/// What a file holds, with zeros for what the disk does not give.
fn content(files: &impl Files, name: &str) -> io::Result<Vec<u8>> {
    match files.read(name) {
        Err(error) if is_bad_place(&error) => {}
        read => return read,
    }
    let map = files.map(name)?;
    let mut bytes = vec![0; map.len()];
    for (n, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let range = n * BLOCK..n * BLOCK + block.len();
        if map.populate(range.clone()).is_ok()
            && let Some(there) = map.get(range)
        {
            block.copy_from_slice(there);
        }
    }
    Ok(bytes)
}

/// That entry, of the first other member that has it.
async fn fetch<D: Disk>(replica: &Replica<D>, id: LogId) -> Option<Entry> {
    for (node, (member, _)) in replica.members() {
        if node != replica.id()
            && let Some(entry) = fetch_from(replica, node, &member.cluster_address, id).await
        {
            return Some(entry);
        }
    }
    None
}

async fn fetch_from<D: Disk>(
    replica: &Replica<D>,
    node: NodeId,
    address: &str,
    id: LogId,
) -> Option<Entry> {
    let channel = replica.channel(node, Lane::Requests, address);
    let called = channel.call(&Request::Entry(id), Bytes::new(), MEND_ANSWER).await;
    let Ok((Answer::Done, body)) = called else { return None };
    match decode_frame(&body, 0)? {
        (Frame::Entry(entry, _), end) if entry.id == id && end == body.len() => Some(entry),
        _ => None,
    }
}

impl<D: Disk> Replica<D> {
    /// The frame of an entry, for a member in whose log it rotted; nothing where this node has not
    /// that entry, or it is longer than an answer may be.
    pub async fn frame_of(&self, id: LogId, bytes_max: usize) -> Option<Bytes> {
        let read = self.log.read(id.index, id.index + 1, bytes_max).await.ok()?;
        let entry = read.into_iter().next().filter(|entry| entry.id == id)?;
        let frame = [&log::entry_head(&entry)[..], &entry.payload].concat();
        (frame.len() <= bytes_max).then(|| frame.into())
    }
}
