//! How long things may take that stand one in another: what is waited for inside is given
//! up before whoever waits outside gives up. It is proved below, where this is compiled.
//!
//! ```text
//! CLIENT_WRITE ── QUEUE_WAIT ── LEADER_ANSWER ─────────────────────────── APPLY_WAIT
//!    a follower's client        │ PEER_QUEUE_WAIT ── PREPARE_WAIT ── COMMIT_WAIT ── HOP
//! CLIENT_WRITE ── OWN_QUEUE_WAIT ── PREPARE_WAIT ── COMMIT_WAIT
//!    a leader's client
//! STOP_MAX ── HEALTH_ANSWER ── HAND_OVER ── STOP ── (DRAIN)
//! ```

use std::time::{Duration, Instant};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

// A write.

/// How long a write may take before its client is told that nobody knows its outcome, from its
/// arrival on: also where it waits for what its names stand for, and is proposed twice.
pub const CLIENT_WRITE: Duration = ms(10_000);
/// How long a write waits where it came in: for a leader, and to be handed to it. Nothing is
/// tried again later.
pub const QUEUE_WAIT: Duration = ms(2_000);
/// How long a write of a leader's own client waits for its turn.
pub const OWN_QUEUE_WAIT: Duration = ms(5_000);
/// The same for one that another node handed to the leader.
pub const PEER_QUEUE_WAIT: Duration = ms(1_000);
/// How long a leader may need to be ready for a batch: for a segment with room, and until it
/// has applied what was committed before its term.
pub const PREPARE_WAIT: Duration = ms(1_000);
/// How long a batch may take to be committed; then its outcome is unknown.
pub const COMMIT_WAIT: Duration = ms(3_500);
/// How long it may take once another leads: it may be known by then.
pub const DEPOSED_WAIT: Duration = ms(200);
/// How often it is looked whether a batch takes too long.
pub const FLIGHT_WATCH: Duration = ms(100);
/// What could not go out is tried again after this.
pub const WRITE_RETRY: Duration = ms(10);
/// A message's way to another node and back, on a bad day.
pub const HOP: Duration = ms(100);
/// How long the leader may take over writes that were handed to it.
pub const LEADER_ANSWER: Duration = ms(5_750);
/// How long this node may take to apply what the leader has acknowledged.
pub const APPLY_WAIT: Duration = ms(2_000);

// A strong read.

/// How long a read waits for a leader that says where it stands.
pub const READ_LEADER_WAIT: Duration = ms(2_000);
/// How long the leader may take to say so, a quorum included.
pub const READ_INDEX_ANSWER: Duration = ms(1_000);
/// How long this node may take to apply what a read must see.
pub const READ_APPLY_WAIT: Duration = ms(10_000);

// The network.

/// How long a client may take over its handshake of TLS.
pub const HANDSHAKE: Duration = ms(10_000);

/// How long connecting to another node may take, its welcome included.
pub const CONNECT: Duration = ms(1_000);
/// After a connection failed, the next is tried no sooner.
pub const RECONNECT: Duration = ms(50);
/// The longest pause before entries are sent again that a node could not take.
pub const RESEND_MAX: Duration = ms(2_000);
/// How long whoever connects may take to say who it is.
pub const HELLO: Duration = ms(5_000);
/// How long the address of a member may take to say who is there: whoever connects waits
/// for that.
pub const WHO_ANSWER: Duration = ms(300);
/// For so long after a process was refused it is so again without a question.
pub const PROCESS_REFUSED: Duration = ms(2_000);
/// A node that is not reached is told of once that lasts so long: one that is taken in is not reached for a
/// moment under its new number.
pub const UNREACHED_TOLD: Duration = ms(3_000);
/// Who was refused is told of again after so long.
pub const REFUSED_AGAIN: Duration = ms(60_000);
/// Heartbeats that may be unanswered before their connection is given up.
pub const HEARTBEATS_UNANSWERED: u32 = 4;
/// How often whoever asks hears that more of a long request has arrived.
pub const ARRIVING_TOLD: Duration = ms(1_000);
/// A follower may take this long to write what it was sent.
pub const ENTRIES_STALL: Duration = ms(5_000);
/// A node may take this long to verify a checkpoint.
pub const SNAPSHOT_STALL: Duration = ms(60_000);
/// How long a request that has begun to arrive may take up to its body, and bring nothing more of
/// that: no shorter than whoever asks goes on without an answer.
pub const REQUEST_UNDER_WAY: Duration = ms(60_000);
/// The same of an answer.
pub const ANSWER_UNDER_WAY: Duration = ms(10_000);

/// How long anything that the leader is asked may be unanswered before its connection is
/// given up.
pub const REQUEST_STALL: Duration = ms(10_000);
/// The same for a change of the members.
pub const ADMIN_STALL: Duration = ms(60_000);
/// How long the leader may take over a change of the members that was handed to it.
pub const ADMIN_ANSWER: Duration = ms(45_000);

// A copy elsewhere.

/// How long an origin may wait for an entry before it says that there is none: what a copy knows of
/// how old it is comes no more often.
pub const COPY_BLOCK: Duration = ms(2_000);
/// How long an origin may take to begin to give what it has.
pub const COPY_ANSWER: Duration = ms(10_000);
/// For so long no byte of a request to a node that is asked over HTTP may go, or of its answer come.
pub const UPSTREAM_STALL: Duration = ms(10_000);
/// How long an origin may take to say how far it is when it is looked whether it is there again.
pub const COPY_LOOK: Duration = ms(2_000);
/// How often that is looked while a copy is made anew.
pub const COPY_LOOK_PERIOD: Duration = ms(10_000);
/// For so long no other origin is reached before a copy goes over to another history.
pub const COPY_OTHER_HISTORY: Duration = ms(600_000);
/// For so long none has what comes next before a copy gives up what was purged at an origin.
pub const COPY_PURGED: Duration = ms(60_000);
/// How long it may take to say where a strong read stands.
pub const COPY_STRONG: Duration = ms(5_000);
/// With an origin that has all of its own origin no longer than this ago, a copy stays; else it tries
/// the next one. Each of the copies in a chain adds a few seconds.
pub const COPY_ORIGIN_AGE: Duration = ms(15_000);
/// How often a copy writes down how old it is.
pub const COPY_REMEMBER: Duration = ms(10_000);
/// How soon the origins are asked again once all have failed, and no later than this.
pub const COPY_RETRY_MIN: Duration = ms(50);
/// The latest.
pub const COPY_RETRY_MAX: Duration = ms(3_000);
/// How long an origin may take over a write that is handed on to it, and over a change of the members.
pub const COPY_WRITE: Duration = ms(12_000);
/// The latter.
pub const COPY_ADMIN: Duration = ms(60_000);
/// How long an origin may take over a read that is handed on to it.
pub const COPY_READ: Duration = ms(20_000);
/// The longest `block` that is handed on with it.
pub const COPY_READ_BLOCK: Duration = ms(5_000);
/// For so long an origin may send nothing of a stream that is passed on: one that stands says more often
/// that it does.
pub const COPY_STREAM_SILENCE: Duration = ms(60_000);
/// How long the client of such a write waits until it can be read here.
pub const COPY_WRITTEN: Duration = ms(5_000);

// The members.

/// How long a node may take to say who it is, or that it heard that it was removed.
pub const INTRODUCTION_ANSWER: Duration = ms(3_000);
/// How long an empty node may take to say whether it becomes a member.
pub const ADOPTION_ANSWER: Duration = ms(3_000);
/// How long a node that wants this one to join may say nothing.
pub const ADOPTION_IDLE: Duration = ms(5_000);
/// How long an empty node may take to become a member.
pub const ADOPTION_WAIT: Duration = ms(20_000);
/// How long a change of the members waits for a leader, or for Raft to be done with the one
/// before.
pub const CHANGE_WAIT: Duration = ms(5_000);
/// How long a change waits until it is its turn.
pub const CHANGE_TURN: Duration = ms(15_000);
/// How long Raft may take over one step of a change; then nobody knows whether it comes
/// about.
pub const MEMBERSHIP_STEP: Duration = ms(10_000);
/// How often to look again for what such a change waits for.
pub const MEMBERS_RETRY: Duration = ms(50);
/// How often it is looked for what is to be done about members.
pub const RECONCILE_PERIOD: Duration = ms(200);
/// How long to wait before a cluster is asked again to take a node in.
pub const JOIN_RETRY: Duration = ms(500);

// Leadership.

/// How often a leader says that it leads, unless it is set.
pub const HEARTBEAT: Duration = ms(150);
/// How long a leader may be silent before others may be voted for, unless it is set.
pub const ELECTION: Duration = ms(600);
/// How often it is looked whether this node can lead.
pub const HEALTH_LOOK: Duration = ms(200);
/// A disk on which nothing became durable for so long, while something waited to, is
/// taken for one that does not answer.
pub const DISK_SILENCE: Duration = ms(3_000);
/// How long another voter may take to say whether it can lead.
pub const HEALTH_ANSWER: Duration = ms(500);
/// How long a leader may lack a further segment before it looks for another leader: a
/// moment without descriptors is no reason.
pub const NO_SEGMENT_PATIENCE: Duration = ms(1_000);
/// How long a node without room leaves it to others to lead, when nobody does.
pub const NO_SEGMENT_DEFERENCE: Duration = ms(4_000);
/// How often a leader that ails looks for another.
pub const RELIEF_RETRY: Duration = ms(1_000);
/// How long another node may take to take over leadership when it is told to.
pub const TAKE_OVER: Duration = ms(2_000);

// The log.

/// A log without writes for this long has its marks written, so that damage to the last
/// writes is told from a torn tail.
pub const MARKS_IDLE: Duration = ms(100);
/// How long a log that lacks a spare segment may be about to have one.
pub const ROOM_PATIENCE: Duration = ms(500);
/// How often it is looked whether it has one.
pub const OTHERS_LOOK: Duration = ms(20);
/// How soon a spare segment is tried again after it could not be made.
pub const SPARE_RETRY: Duration = ms(500);
/// How often it is looked whether the log waits for room.
pub const ROOM_LOOK: Duration = ms(500);

/// How long after a start complete segments are verified for the first time, at most.
pub const SCRUB_BEGIN: Duration = ms(60_000);
/// How often they are verified, unless it is set.
pub const SCRUB_PERIOD: Duration = Duration::from_secs(86_400);
/// How long a member may take to give an entry.
pub const MEND_ANSWER: Duration = ms(10_000);
/// How long a member may take to make a checkpoint for another.
pub const CHECKPOINT_MADE: Duration = ms(300_000);
/// How long the other members are asked by a start for the checkpoint that it lacks, the time in which
/// none of them is reached included.
pub const CHECKPOINT_AT_START: Duration = ms(60_000);
/// How often it is asked whether that is done.
pub const CHECKPOINT_ASKED: Duration = ms(200);
/// How long such a checkpoint is kept after it was asked for last.
pub const CHECKPOINT_KEPT: Duration = ms(30_000);
/// How often it is looked for what is redacted and not erased: what comes within that is erased
/// together.
pub const ERASURE_PERIOD: Duration = ms(1_000);
/// How long to wait after that failed.
pub const ERASURE_RETRY: Duration = ms(10_000);
/// How often, at most, a segment is completed early so that something can be erased of it.
pub const ERASURE_COMPLETES: Duration = ms(30_000);
/// How often it is looked for what is damaged and can be made anew.
pub const HEAL_LOOK: Duration = ms(500);
/// How long after that was done, or failed, the same file is tried again.
pub const HEAL_AGAIN: Duration = ms(10_000);
/// How often it is looked for history that may be purged.
pub const RETENTION_PERIOD: Duration = ms(1_000);
/// How often a leader looks for changes that tenants need not keep.
pub const TENANT_RETENTION_PERIOD: Duration = ms(1_000);
/// How long to wait after that failed.
pub const RETENTION_RETRY: Duration = ms(30_000);

/// How often a leader looks for keys whose time to live is over.
pub const EXPIRY_LOOK: Duration = ms(200);
/// How long it waits after some of them were deleted: so at most 10,240 expire in a second.
pub const EXPIRY_PAUSE: Duration = ms(25);
/// How long it waits after that failed.
pub const EXPIRY_RETRY: Duration = ms(1_000);

/// How long to wait before entries that are damaged on the disk are read once more for a follower
/// that needs them.
pub const DAMAGED_RETRY: Duration = ms(1_000);

// What a node knows of its cluster.

/// How long the only member may take to lead its cluster when it starts.
pub const LEAD_ALONE_WAIT: Duration = ms(60_000);
/// How long the view of the cluster is at least kept before it is made anew.
pub const CLUSTER_VIEW_PAUSE: Duration = ms(100);
/// How old it is at most when nothing changes that is told.
pub const CLUSTER_VIEW_AGE: Duration = ms(500);
/// How often a node asks its leader what that knows of the members.
pub const SEEN_PERIOD: Duration = ms(1_000);
/// How long the leader may take to say so.
pub const SEEN_ANSWER: Duration = ms(1_000);
/// How long a leader is not asked again that did not understand, as one of an earlier build.
pub const SEEN_AGAIN: Duration = ms(30_000);
/// How often it is looked whether others still take this node for theirs.
pub const CLAIM_LOOK: Duration = ms(500);
/// Whoever still does calls again within this time.
pub const CLAIM_AGAIN: Duration = ms(10_000);
/// How long they do before it is said.
pub const CLAIM_PATIENCE: Duration = ms(1_000);

// A stop.

/// How long a signal may wait to be taken, and a stop may take after that: a little longer
/// than the Raft core gives itself, which can say more.
pub const STOP_MAX: Duration = ms(9_900);
/// How long another node may take to take over from one that stops.
pub const HAND_OVER: Duration = ms(500);
/// How long connections get to finish what is under way.
pub const DRAIN: Duration = ms(8_000);
/// The same at a node that goes on from a snapshot of another.
pub const DRAIN_SUPERSEDED: Duration = ms(200);
/// A part of a snapshot that takes longer on its way is followed by a shorter one.
pub const PART_TIME: Duration = ms(1_000);
/// For so long after the last write snapshots are sent slowly and in short parts.
pub const SPARING_WRITES: Duration = ms(1_000);
/// A node that was sent a snapshot is spared for so long after: what it needs then is not given up.
pub const FEEDING_AFTER: Duration = ms(10_000);
/// But nothing is kept for it for longer than this.
pub const FEEDING_MAX: Duration = ms(600_000);
/// How long everything may take once leadership is handed over.
pub const STOP: Duration = ms(8_800);

/// What is left at `now` of the time of a write that came at `since`.
#[must_use]
pub fn write_time_left(since: Instant, now: Instant) -> Duration {
    CLIENT_WRITE.saturating_sub(now.saturating_duration_since(since))
}

/// Whether `parts`, one after the other, end before `whole`.
const fn nest(parts: &[Duration], whole: Duration) -> bool {
    let (mut sum, mut n) = (0, 0);
    while n < parts.len() {
        sum += parts[n].as_millis();
        n += 1;
    }
    sum < whole.as_millis()
}

// The last attempt of a write begins when its wait in the queue is almost over.
const _: () = assert!(nest(&[QUEUE_WAIT, WRITE_RETRY, LEADER_ANSWER, APPLY_WAIT], CLIENT_WRITE));
const _: () = assert!(nest(
    &[PEER_QUEUE_WAIT, PREPARE_WAIT, COMMIT_WAIT, FLIGHT_WATCH],
    LEADER_ANSWER.saturating_sub(HOP)
));
const _: () = assert!(nest(
    &[OWN_QUEUE_WAIT, WRITE_RETRY, PREPARE_WAIT, COMMIT_WAIT, FLIGHT_WATCH],
    CLIENT_WRITE
));
const _: () = assert!(nest(&[DEPOSED_WAIT, FLIGHT_WATCH], COMMIT_WAIT));
const _: () = assert!(nest(&[ROOM_PATIENCE], PREPARE_WAIT));
const _: () = assert!(nest(&[LEADER_ANSWER], REQUEST_STALL));
const _: () = assert!(nest(&[READ_INDEX_ANSWER], READ_LEADER_WAIT));
const _: () = assert!(nest(&[ADMIN_ANSWER], ADMIN_STALL));
const _: () = assert!(nest(&[READ_INDEX_ANSWER], REQUEST_STALL));
const _: () = assert!(nest(&[CLIENT_WRITE], COPY_WRITE));
const _: () = assert!(nest(&[ADMIN_ANSWER], COPY_ADMIN));
const _: () = assert!(nest(&[CONNECT, COPY_READ_BLOCK, READ_LEADER_WAIT], COPY_READ));
const _: () = assert!(nest(&[CONNECT, READ_LEADER_WAIT], COPY_STRONG));
// What is asked is answered before its connection is given up, or what is under way on it.
const _: () = assert!(nest(&[RECONNECT], CONNECT));
const _: () = assert!(nest(&[RECONNECT], RESEND_MAX));
const _: () = assert!(nest(&[CONNECT, HOP], LEADER_ANSWER));
const _: () = assert!(nest(&[CONNECT], READ_LEADER_WAIT));
const _: () = assert!(nest(&[WHO_ANSWER, HOP], CONNECT));
const _: () = assert!(nest(&[WHO_ANSWER, HOP], HEARTBEAT.saturating_mul(HEARTBEATS_UNANSWERED)));
const _: () = assert!(nest(&[CONNECT], HELLO));
const _: () = assert!(nest(&[DISK_SILENCE, HEALTH_LOOK], ENTRIES_STALL));
const _: () = assert!(nest(&[ENTRIES_STALL], REQUEST_UNDER_WAY));
const _: () = assert!(nest(&[ARRIVING_TOLD, ARRIVING_TOLD], ENTRIES_STALL));
const _: () = assert!(nest(&[REQUEST_STALL], REQUEST_UNDER_WAY));
const _: () = assert!(!nest(&[REQUEST_UNDER_WAY], SNAPSHOT_STALL));
const _: () = assert!(!nest(&[REQUEST_UNDER_WAY], ADMIN_STALL));
// A node that is sent something on a slow way is spared meanwhile.
const _: () = assert!(nest(&[PART_TIME, PART_TIME, PART_TIME], FEEDING_AFTER));
// A node is taken in before whoever asked for that is told that nobody knows, but for the
// steps of Raft, which are made at once where there is a quorum.
const _: () = assert!(nest(
    &[CHANGE_TURN, INTRODUCTION_ANSWER, ADOPTION_ANSWER, ADOPTION_ANSWER, ADOPTION_WAIT],
    ADMIN_ANSWER
));
// So is leadership handed over, and a member that led taken out.
const _: () = assert!(nest(
    &[CHANGE_TURN, HEALTH_ANSWER, TAKE_OVER, TAKE_OVER, CHANGE_WAIT, MEMBERSHIP_STEP],
    ADMIN_ANSWER
));
const _: () = assert!(nest(&[ADOPTION_ANSWER], ADOPTION_IDLE));
const _: () = assert!(nest(&[TAKE_OVER], CHANGE_WAIT));
const _: () = assert!(nest(&[ELECTION, ELECTION], CHANGE_WAIT));
const _: () = assert!(nest(&[RECONCILE_PERIOD], CHANGE_WAIT));
const _: () = assert!(nest(&[MEMBERS_RETRY], RECONCILE_PERIOD));
// Whoever calls this node for its own is not forgotten between two looks.
const _: () = assert!(nest(&[CLAIM_LOOK, CLAIM_PATIENCE], CLAIM_AGAIN));
const _: () = assert!(nest(&[CLUSTER_VIEW_PAUSE], CLUSTER_VIEW_AGE));
// A write outlives the replacement of a leader: twice the election time-out at most.
const _: () = assert!(nest(&[ELECTION, ELECTION], QUEUE_WAIT));
const _: () = assert!(nest(&[HEARTBEAT, HEARTBEAT], ELECTION));
// A hanging disk is noticed before what hangs is given up, and leadership is looked after
// in time.
const _: () = assert!(nest(&[DISK_SILENCE, HEALTH_LOOK], COMMIT_WAIT));
const _: () = assert!(nest(&[HEALTH_ANSWER], RELIEF_RETRY));
const _: () = assert!(nest(&[NO_SEGMENT_PATIENCE, ELECTION, ELECTION], NO_SEGMENT_DEFERENCE));
const _: () = assert!(nest(&[DRAIN], STOP));
const _: () = assert!(nest(&[HEALTH_ANSWER, HAND_OVER, STOP], STOP_MAX));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_has_one_deadline_however_often_it_is_proposed() {
        let since = Instant::now();
        assert_eq!(write_time_left(since, since), CLIENT_WRITE);
        assert_eq!(write_time_left(since, since + ms(9_000)), ms(1_000));
        assert_eq!(write_time_left(since, since + CLIENT_WRITE + ms(1)), Duration::ZERO);
        assert_eq!(write_time_left(since + ms(1), since), CLIENT_WRITE, "no clock runs back");
    }
}
