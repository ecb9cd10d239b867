//! Entries that rotted here, asked of other members: as many at once as lie close together. A member
//! that does not answer is not asked any more for what is mended then.

use std::collections::VecDeque;

use bytes::Bytes;

use super::peer::{Answer, CallError, Channel, OUTCOMES_BYTES_MAX, Request};
use crate::{
    base::{
        ids::{LogId, NodeId},
        timing::MEND_ANSWER,
    },
    io::Disk,
    log::{self, Entry, Frame, Log, decode_frame},
};

/// Bytes of a segment whose entries are asked for at once: what the core of Raft reads and sums up
/// there, and here, before anybody else has a turn. A single entry may be longer.
pub(super) const ASKED_BYTES: usize = 1 << 20;
/// Entries of an answer at most.
const ENTRIES_MAX: usize = 16_384;

/// Who may have entries that rotted here.
pub trait Gives {
    /// Entries in order, none of them after index `last`, of the first that has `first`, which is one of
    /// them; nothing when nobody has it.
    fn entries(&mut self, first: LogId, last: u64) -> impl Future<Output = Option<Vec<Entry>>>;
}

/// The other members, as far as they answer.
pub(super) struct Givers(VecDeque<(NodeId, Channel)>);

impl Givers {
    pub(super) fn new(members: Vec<(NodeId, Channel)>) -> Self {
        Self(members.into())
    }
}

impl Gives for Givers {
    async fn entries(&mut self, first: LogId, last: u64) -> Option<Vec<Entry>> {
        for _ in 0..self.0.len() {
            let (node, channel) = self.0.front()?;
            match ask(channel, first, last).await {
                Ok(Some(entries)) => return Some(entries),
                Ok(None) => self.0.rotate_left(1),
                Err(error) => {
                    tracing::info!(node, %error, "a member does not give entries that rotted here");
                    self.0.pop_front();
                }
            }
        }
        None
    }
}

/// What a member answers; nothing when it has not the first entry.
async fn ask(channel: &Channel, first: LogId, last: u64) -> Result<Option<Vec<Entry>>, CallError> {
    let request = Request::Entries { first, last };
    match channel.call(&request, Bytes::new(), MEND_ANSWER).await? {
        (Answer::Done, body) => Ok(entries_of(&body, first, last)),
        _ => Ok(None),
    }
}

/// The entries of an answer; nothing when they are not those that were asked for.
fn entries_of(body: &Bytes, first: LogId, last: u64) -> Option<Vec<Entry>> {
    let (mut entries, mut at): (Vec<Entry>, _) = (Vec::new(), 0);
    while at < body.len() {
        let (Frame::Entry(entry, _), end) = decode_frame(body, at)? else { return None };
        let next = entries.last().map_or(first.index, |before| before.id.index + 1);
        if entry.id.index != next || next > last {
            return None;
        }
        entries.push(entry);
        at = end;
    }
    entries.first().is_some_and(|entry| entry.id == first).then_some(entries)
}

/// The frames of entries from `first` to index `last`, for a member in whose log some of them rotted:
/// of that one at least, and of as many as fit an answer. Nothing where this node has not that entry,
/// or it is longer than an answer may be.
pub(super) async fn frames<D: Disk>(log: &Log<D>, first: LogId, last: u64) -> Option<Bytes> {
    let to = last.min(first.index.saturating_add(ENTRIES_MAX as u64 - 1)).checked_add(1)?;
    let read = log.read(first.index, to, ASKED_BYTES).await.ok()?;
    read.first().filter(|entry| entry.id == first)?;
    let mut frames = Vec::new();
    for entry in read {
        let head = log::entry_head(&entry);
        if frames.len() + head.len() + entry.payload.len() > OUTCOMES_BYTES_MAX {
            break;
        }
        frames.extend_from_slice(&head);
        frames.extend_from_slice(&entry.payload);
    }
    (!frames.is_empty()).then(|| frames.into())
}
