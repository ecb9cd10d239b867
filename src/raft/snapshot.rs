//! Snapshots on their way to nodes that lie far behind: the files of a history, sent in parts in the
//! order in which the other node wants them, which verifies all before they take the place of what
//! it had. The node then starts anew from them.

use std::{collections::VecDeque, io, rc::Rc, sync::Arc, time::Duration, time::Instant};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use openraft::storage::SnapshotMeta;
use serde_json::value::RawValue;

use super::{
    feeding::Feeding,
    peer::{Answer, CallError, Channel, Request},
    sealing::Sealing,
    standing::Standing,
    types::{
        RaftLogId, RaftVote, StoredMembership, from_raft_id, from_raft_vote, membership_from_json,
        membership_to_json, to_raft_id,
    },
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        timing::{FEEDING_AFTER, PART_TIME, SPARING_WRITES},
    },
    io::{Files, cores, map::Mapping},
    log::{self, OpenError, Vote},
    snapshot::{
        Held, Manifest, PART_BYTES_MAX, Transmission, Wanted,
        manifest::{FileEntry, Kind},
    },
    state::{CheckpointedChanges, Position},
};

/// Bytes of the first part that is sent: where connections break again and again, some arrive. Each
/// answer that comes soon doubles it, up to [`PART_BYTES_MAX`], and each other one halves it.
const PART_BYTES_FIRST: usize = 64 << 10;
/// Bytes of a part at most while the log is written to: with longer ones, writes would wait behind
/// what is summed and sent of them on this core, and behind their writes where disks are shared.
const PART_BYTES_WRITTEN: usize = 256 << 10;
/// Parts that are sent before the first of them is answered; while the log is written to a single one,
/// since how long it takes until it is answered says what others wait behind: with several, the
/// next one is answered before it is looked at.
const PARTS_UNDER_WAY: usize = 3;
/// Files that the other node may not have verified yet when a later one is on its way.
const FILES_UNVERIFIED: usize = 6;
/// While the log is written to, files are sent in one of so many parts of the time. Small ones are
/// no burden, and get there sooner.
const SHARE: u32 = 4;

/// A position of the log, and the files of what is up to there.
#[derive(Clone)]
pub struct SnapshotData {
    pub(super) position: Position,
    /// What can be sent of it.
    pub(super) held: Option<Arc<Held>>,
    /// It was taken in from another node, and is to be installed.
    pub(super) received: Option<Transmission>,
}

impl std::fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotData").field("position", &self.position).finish_non_exhaustive()
    }
}

pub(super) type Snapshot = openraft::alias::SnapshotOf<super::types::TypeConfig, SnapshotData>;
pub(super) type Meta = openraft::alias::SnapshotMetaOf<super::types::TypeConfig>;

/// A checkpoint that stands for purged entries.
pub(super) struct Purged {
    pub(super) last: RaftLogId,
    pub(super) membership: StoredMembership,
    pub(super) position: Position,
    pub(super) file: Option<Arc<CheckpointedChanges>>,
}

/// The newest snapshot that other nodes can be sent: of the segments that have an index, and of the
/// checkpoint. `highest` is the highest number of a member, `oldest` the first segment that is held.
pub(super) fn newest(
    sealing: &Sealing,
    checkpoint: Option<&Purged>,
    highest: NodeId,
    oldest: u64,
) -> io::Result<Option<Snapshot>> {
    let purged = checkpoint.map(|purged| from_raft_id(&purged.last));
    let newest = sealing
        .newest()
        .filter(|(_, standing)| standing.applied.as_ref().map(from_raft_id) > purged);
    let (standing, position, segments) = match (newest, checkpoint) {
        (Some((end, standing)), _) => {
            let first = match purged {
                Some(_) => sealing.ended().next().map_or(end.sequence, |end| end.sequence),
                None => oldest,
            };
            (standing.clone(), end.position, Some(first..=end.sequence))
        }
        (None, Some(Purged { last, membership, position, .. })) => {
            let (applied, membership) = (Some(*last), membership.clone());
            (Standing { applied, membership, highest, is_written: true }, *position, None)
        }
        (None, None) => return Ok(None),
    };
    let Some(last) = standing.applied else { return Ok(None) };
    let raft = membership_to_json(&standing.membership, standing.highest)?.get().to_owned();
    let held = Arc::new(Held { last: from_raft_id(&last), purged, segments, raft });
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership: standing.membership };
    let snapshot = SnapshotData { position, held: Some(held), received: None };
    Ok(Some(Snapshot { meta, snapshot }))
}

/// The snapshot that the files from another node are.
pub(super) fn received(manifest: &Manifest, of: Transmission) -> io::Result<Snapshot> {
    let raft = RawValue::from_string(manifest.raft.clone())?;
    let (last_membership, _) = membership_from_json(&raft)?;
    let meta = SnapshotMeta { last_log_id: Some(to_raft_id(manifest.last)), last_membership };
    let (position, received) = (Position::default(), Some(of));
    Ok(Snapshot { meta, snapshot: SnapshotData { position, held: None, received } })
}

fn not_sent(text: impl std::fmt::Display) -> CallError {
    CallError::NotSent(text.to_string())
}

/// Who is told of damage: file, offset, and what is wrong.
type Told = dyn Fn(&str, u64, &str);

/// What snapshots are read from, and whom it must not hold up.
#[derive(Clone)]
pub struct Source<F> {
    /// The directory.
    pub(super) files: F,
    /// A number that grows with what is written to the log.
    pub(super) written: Rc<dyn Fn() -> u64>,
    /// Told of what is sent.
    pub(super) feeding: Rc<Feeding>,
    /// Told of a segment that is damaged.
    pub(super) damaged: Rc<Told>,
}

/// Sends the files of a snapshot; gives back the vote that stands there.
pub(super) async fn send<F: Files>(
    channel: &Channel,
    vote: &RaftVote,
    snapshot: &Snapshot,
    source: &Source<F>,
) -> Result<Vote, CallError> {
    let held = snapshot.snapshot.held.as_ref();
    let held = Arc::clone(held.ok_or_else(|| not_sent("no files are held"))?);
    let (from, last) = (source.files.clone(), held.last);
    let opened = cores::in_background("snapshot", move || Manifest::of(&from, &held)).await;
    let (manifest, maps) = opened.flatten().map_err(not_sent)?;
    let (part_bytes, written) = (PART_BYTES_FIRST, (source.written)());
    let (writing, next) = (Writing { written, at: None }, FIRST);
    let mut sending = Sending { channel, source, manifest, maps, next, part_bytes, writing };
    let sent = sending.run(vote, last).await;
    let is_news = channel.is_news(sent.as_ref().err().map(ToString::to_string));
    if let Err(error) = &sent {
        if is_news {
            let (node, address) = (channel.to(), channel.address());
            tracing::warn!(node, address, %error, "a snapshot could not be sent to a node");
        }
        sending.look_again().await;
    }
    sent
}

const FIRST: Wanted = Wanted { file: 0, offset: 0 };

/// A snapshot on its way.
struct Sending<'s, F> {
    channel: &'s Channel,
    source: &'s Source<F>,
    manifest: Manifest,
    /// Its files, as they were when it was begun, whatever becomes of them.
    maps: Vec<Arc<Mapping>>,
    /// What is sent next.
    next: Wanted,
    /// How much of it, unless the log is written to.
    part_bytes: usize,
    writing: Writing,
}

/// When the log was written to.
struct Writing {
    /// What was written when it was looked at last.
    written: u64,
    /// When something had come since the look before.
    at: Option<Instant>,
}

impl Writing {
    /// Looks at what is `written` by now.
    fn look(&mut self, written: u64) {
        if std::mem::replace(&mut self.written, written) != written {
            self.at = Some(cores::now());
        }
    }

    /// Whether writes are to be spared. Where few come through, that may be because of what is sent.
    fn is_on(&self) -> bool {
        self.at.is_some_and(|at| cores::elapsed(at) < SPARING_WRITES)
    }
}

/// An answer to a part, with what is wanted then if all goes as it should.
type Asked<'c> = (Wanted, LocalBoxFuture<'c, Result<Answer, CallError>>);

impl<F> Sending<'_, F> {
    async fn run(&mut self, vote: &RaftVote, last: LogId) -> Result<Vote, CallError> {
        let names = Bytes::from(self.manifest.encode().map_err(not_sent)?);
        let begin = Request::BeginSnapshot { vote: from_raft_vote(vote) };
        self.next = wanted(self.channel.ask(&begin, names).await?)?;
        let (bytes, files) = (self.manifest.bytes(), self.manifest.files.len());
        let (file, offset) = (self.next.file, self.next.offset);
        tracing::info!(
            node = self.channel.to(),
            address = self.channel.address(),
            last = last.index,
            files,
            bytes,
            file,
            offset,
            "a snapshot is sent to a node"
        );
        let mut asked: VecDeque<Asked<'_>> = VecDeque::new();
        loop {
            let (begun, mut sent) = (cores::now(), 0);
            let under_way = if self.writing.is_on() { 1 } else { PARTS_UNDER_WAY };
            while asked.len() < under_way
                && let Some(file) = self.manifest.files.get(self.next.file as usize).copied()
            {
                let part = self.read(file).await?;
                self.source.feeding.note();
                sent += part.len();
                asked.push_back(self.ask(file, part));
            }
            let Some((expected, answer)) = asked.pop_front() else { break };
            let mut found = wanted(answer.await?)?;
            self.part_bytes = match cores::elapsed(begun) < PART_TIME {
                true => (self.part_bytes * 2).min(PART_BYTES_MAX),
                false => (self.part_bytes / 2).max(PART_BYTES_FIRST),
            };
            if found != expected {
                // It has more than was thought, or less: what is under way is not what it wants.
                for (_, answer) in asked.drain(..) {
                    found = wanted(answer.await?)?;
                }
                self.next = found;
            }
            self.writing.look((self.source.written)());
            if self.writing.is_on() {
                cores::sleep(pause(cores::elapsed(begun), sent)).await;
            }
        }
        match self.channel.ask(&Request::EndSnapshot, Bytes::new()).await.and_then(failed)? {
            Answer::Snapshot(vote) => Ok(vote),
            other => Err(not_sent(format_args!("the snapshot was not taken in: {other:?}"))),
        }
    }

    /// Sends a part of a file, and goes on to the next.
    fn ask<'c>(&mut self, file: FileEntry, part: Bytes) -> Asked<'c>
    where
        Self: 'c,
    {
        let Wanted { file: number, offset } = self.next;
        let end = offset + part.len() as u64;
        self.next = match end < file.bytes {
            true => Wanted { file: number, offset: end },
            false => Wanted { file: number + 1, offset: 0 },
        };
        let channel = self.channel.clone();
        let ask =
            async move { channel.ask(&Request::SnapshotPart { file: number, offset }, part).await };
        (
            self.next,
            cores::spawn(ask).map(|answer| answer.unwrap_or(Err(CallError::Lost))).boxed_local(),
        )
    }

    /// Verifies the segments that were sent last: the other node may have found that one is damaged
    /// here.
    async fn look_again(&self) {
        let last = self.next.file as usize;
        let recent = self.manifest.files.iter().zip(&self.maps).take(last + 1);
        for (file, map) in recent.skip(last.saturating_sub(FILES_UNVERIFIED)) {
            let Kind::Segment { sequence, .. } = file.kind else { continue };
            let map = Arc::clone(map);
            let verify = move || log::verify_segment(&map, sequence);
            let verified = cores::in_background("snapshot", verify).await;
            if let Ok(Err(OpenError::Corrupt { file, offset, reason })) = verified {
                (self.source.damaged)(&file, offset, &reason);
            }
        }
    }

    /// The next part of a file. It may have to come from the disk.
    async fn read(&self, file: FileEntry) -> Result<Bytes, CallError> {
        let Wanted { file: number, offset } = self.next;
        let map = self.maps.get(number as usize).filter(|_| offset < file.bytes);
        let map = map.ok_or_else(|| not_sent("a part of a file that it has not"))?;
        let most = if self.writing.is_on() { PART_BYTES_WRITTEN } else { PART_BYTES_MAX };
        read_part(Arc::clone(map), offset, self.part_bytes.min(most)).await.map_err(not_sent)
    }
}

/// How long writes are spared after `sent` bytes that took so long: never so long that the node
/// seems to be fed no more.
fn pause(took: Duration, sent: usize) -> Duration {
    let share = sent.min(PART_BYTES_WRITTEN) as f64 / PART_BYTES_WRITTEN as f64;
    (took * (SHARE - 1)).mul_f64(share).min(FEEDING_AFTER / 2)
}

impl<F> Drop for Sending<'_, F> {
    /// Memory maps of gigabytes take milliseconds to go.
    fn drop(&mut self) {
        let maps = std::mem::take(&mut self.maps);
        cores::off_core_detached(move || drop(maps));
    }
}

fn failed(answer: Answer) -> Result<Answer, CallError> {
    match answer {
        Answer::Failed(text) => Err(CallError::NotSent(text)),
        answer => Ok(answer),
    }
}

fn wanted(answer: Answer) -> Result<Wanted, CallError> {
    match failed(answer)? {
        Answer::Wanted { file, offset } => Ok(Wanted { file, offset }),
        other => Err(not_sent(format_args!("the snapshot was not taken in: {other:?}"))),
    }
}

/// A part of a file.
pub(super) async fn read_part(map: Arc<Mapping>, offset: u64, bytes: usize) -> io::Result<Bytes> {
    cores::off_core(move || {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(map.len());
        let range = start..map.len().min(start.saturating_add(bytes));
        map.populate(range.clone())?;
        Ok(Bytes::copy_from_slice(map.get(range).unwrap_or_default()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_spared_for_as_long_as_what_is_sent_burdens_them() {
        let (took, whole) = (Duration::from_millis(8), PART_BYTES_WRITTEN);
        assert_eq!(pause(took, whole), took * 3);
        assert_eq!(pause(took, 4 * whole), took * 3, "no more than that for several parts");
        assert_eq!(pause(took, whole / 8), took * 3 / 8);
        assert_eq!(pause(FEEDING_AFTER * 9, whole), FEEDING_AFTER / 2);
    }
}
