//! The rule by itself, and in a cluster of replicas on simulated disks, which talk over
//! real sockets.

use std::{cell::Cell, net::TcpListener, time::Duration};

use futures_util::future::LocalBoxFuture;
use uuid::Uuid;

use super::*;
use crate::{
    base::{
        batch::{Append, Batch, encode},
        ids::{ClusterId, NodeId, Timestamp},
        outcome::StorageProblem,
    },
    feed::Fanout,
    io::{
        Dialer,
        cores::Executor,
        net::{Callers, Listener},
        simulated::disk::{Faults, SimDisk},
    },
    log::{Identity, Log, Options},
    node::{
        ForwardedWrites,
        members::{Adoptions, Applicant, Introduction, Introductions, MembershipService},
        peers::PeerService,
    },
    raft::{
        Address, Part, Replay, Timing,
        peer::{AdminRefusal, AdminRequest, Answer},
    },
    state::testing::ChangeText,
};

const IDLE: Progress = Progress {
    groups: 1,
    pieces: 0,
    is_writing: false,
    is_waited_for: false,
    lacks_room: false,
    reads: 1,
    is_reading: false,
};
/// Something is being written.
const WRITING: Progress = Progress { is_writing: true, is_waited_for: true, ..IDLE };

fn seen(progress: Progress) -> Seen {
    Seen { progress, has_failed: false, lacks_segment: false }
}

/// What ails a log that looks like this from `start` on, at each look until `end`.
fn course_of(course: &mut Course, seen: Seen, start: Instant, end: Instant) -> Option<Ailment> {
    let mut now = start;
    while now < end {
        assert_eq!(course.ailment(seen, now), None, "after {:?}", now - start);
        now += HEALTH_LOOK;
    }
    course.ailment(seen, end)
}

#[test]
fn a_disk_is_silent_when_what_waits_does_not_become_durable() {
    let mut course = Course::default();
    let start = Instant::now();
    let writing = |groups| seen(Progress { groups, ..WRITING });
    let almost = start + DISK_SILENCE - Duration::from_millis(1);
    assert_eq!(course_of(&mut course, writing(1), start, almost), None);
    // It went on.
    let end = start + 2 * DISK_SILENCE;
    let stalled = course_of(&mut course, writing(2), start + DISK_SILENCE, end);
    assert_eq!(stalled, Some(Ailment::Stalled));
    assert_eq!(course.ailment(seen(IDLE), end), None, "it answered at last");
    assert_eq!(course.ailment(writing(3), end), None);
}

#[test]
fn a_disk_is_silent_when_it_reads_and_does_not_answer() {
    let mut course = Course::default();
    let start = Instant::now();
    let reading = |reads| seen(Progress { reads, is_reading: true, ..IDLE });
    let almost = start + DISK_SILENCE - Duration::from_millis(1);
    assert_eq!(course_of(&mut course, reading(1), start, almost), None);
    // It went on.
    let end = start + 2 * DISK_SILENCE;
    let stalled = course_of(&mut course, reading(2), start + DISK_SILENCE, end);
    assert_eq!(stalled, Some(Ailment::Stalled));
    assert_eq!(course.ailment(seen(IDLE), end), None, "it answered at last");
}

#[test]
fn a_disk_that_answers_reads_but_does_not_write_is_silent() {
    let mut course = Course::default();
    let start = Instant::now();
    let mut now = start;
    let mut reads = 0;
    let mut look = |now| {
        reads += 1;
        course.ailment(seen(Progress { reads, is_reading: true, ..WRITING }), now)
    };
    while now < start + DISK_SILENCE {
        assert_eq!(look(now), None);
        now += HEALTH_LOOK;
    }
    assert_eq!(look(start + DISK_SILENCE), Some(Ailment::Stalled));
}

#[test]
fn a_process_that_was_paused_does_not_blame_its_disk() {
    let mut course = Course::default();
    let start = Instant::now();
    let writing = seen(WRITING);
    assert_eq!(course.ailment(writing, start), None);
    let resumed = start + 10 * DISK_SILENCE;
    let stalled = course_of(&mut course, writing, resumed, resumed + DISK_SILENCE);
    assert_eq!(stalled, Some(Ailment::Stalled), "it went on to be silent");
}

#[test]
fn what_waits_for_a_segment_is_no_silence() {
    let mut course = Course::default();
    let start = Instant::now();
    let progress = Progress { is_waited_for: true, ..IDLE };
    let lacking = Seen { lacks_segment: true, ..seen(progress) };
    let end = start + NO_SEGMENT_PATIENCE;
    assert_eq!(course_of(&mut course, lacking, start, end), Some(Ailment::NoSegment));
    assert_eq!(course.ailment(lacking, end + 2 * DISK_SILENCE), Some(Ailment::NoSegment));
    assert_eq!(course.ailment(seen(IDLE), end), None);
    let failed = Seen { has_failed: true, ..lacking };
    assert_eq!(course.ailment(failed, end), Some(Ailment::Failed));
}

#[test]
fn a_segment_that_is_long_in_the_making_is_no_silence() {
    let start = Instant::now();
    let mut making = Course::default();
    let mut blocked = Course::default();
    for n in 0..20 {
        let now = start + n * (DISK_SILENCE / 4);
        let pieces = u64::from(n);
        let waiting = seen(Progress { is_waited_for: true, pieces, ..IDLE });
        assert_eq!(making.ailment(waiting, now), None);
        let writing = seen(Progress { pieces, ..WRITING });
        let ailment = blocked.ailment(writing, now);
        assert_eq!(ailment, (n >= 4).then_some(Ailment::Stalled), "that one is no part of it");
    }
}

#[test]
fn a_segment_that_is_not_made_while_writes_wait_for_room_is_a_silence() {
    let start = Instant::now();
    let (mut making, mut hanging) = (Course::default(), Course::default());
    for n in 0..20 {
        let now = start + n * (DISK_SILENCE / 4);
        let waiting = |pieces| seen(Progress { lacks_room: true, pieces, ..IDLE });
        assert_eq!(making.ailment(waiting(u64::from(n)), now), None);
        let ailment = hanging.ailment(waiting(7), now);
        assert_eq!(ailment, (n >= 4).then_some(Ailment::Stalled));
    }
}

#[test]
fn a_passing_lack_is_no_ailment() {
    let mut course = Course::default();
    let start = Instant::now();
    let lacking = Seen { lacks_segment: true, ..seen(IDLE) };
    for n in 0..10 {
        let now = start + n * NO_SEGMENT_PATIENCE;
        assert_eq!(course.ailment(lacking, now), None);
        assert_eq!(course.ailment(seen(IDLE), now), None);
    }
}

struct Member {
    disk: SimDisk,
    address: Address,
    replica: Rc<Replica<SimDisk>>,
    service: Rc<MembershipService<SimDisk>>,
    status: Arc<Status>,
}

/// No node is there but the members.
struct NobodyElse;

impl Introductions for NobodyElse {
    fn who_is(
        &self,
        _: &str,
        _: Duration,
    ) -> LocalBoxFuture<'static, Result<Introduction, String>> {
        unreachable!("nobody is taken in")
    }

    fn ask_to_be_taken_in(
        &self,
        _: &str,
        _: &Applicant,
        _: Duration,
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        unreachable!("nobody is to join")
    }
}

/// A node of one cluster; the first founds it.
async fn member(id: NodeId) -> Member {
    let disk = SimDisk::new(id);
    let identity = Identity { cluster: ClusterId(Uuid::from_u128(1)), node: id };
    let options = Options { segment_bytes: 1 << 20, ..Options::new(identity) };
    let log = Log::open(disk.clone(), options, |_, _| Ok(())).await.unwrap();
    cores::spawn(log.run());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let cluster_address = listener.local_addr().unwrap().to_string();
    let address = Address { address: String::new(), cluster_address, votes: true };
    let (timing, dialer) = (Timing::default(), Dialer::default());
    let part = Part { address: address.clone(), timing, founds: id == 1, dialer };
    let replica = Replica::start(log, Replay::default(), Fanout::new(1), part);
    let replica = Rc::new(replica.await.unwrap());
    let (adoptions, _) = Adoptions::new(Rc::clone(&replica));
    let introductions = Rc::new(NobodyElse);
    let service = Rc::new(MembershipService::new(Rc::clone(&replica), introductions));
    let forwarded = ForwardedWrites::new(Arc::default(), &Fanout::new(1), Rc::clone(&replica));
    let peers =
        PeerService::new(Rc::clone(&replica), Rc::new(forwarded), Rc::clone(&service), adoptions);
    cores::spawn(peers.run(Listener::new(listener, Callers::Nodes).unwrap()));
    Member { disk, address, replica, service, status: Arc::default() }
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < end, "never happened: {what}");
        cores::sleep(Duration::from_millis(10)).await;
    }
}

/// So many members, of which the first leads; the address of each is known to it.
async fn cluster(count: NodeId) -> Vec<Member> {
    let mut members = Vec::new();
    for id in 1..=count {
        members.push(member(id).await);
    }
    let first = &members[0].replica;
    eventually("the first leads", async || first.leader_barrier().await.is_some()).await;
    for member in &members[1..] {
        first.add(member.replica.id(), member.address.clone()).await.unwrap();
    }
    eventually("all vote", async || {
        let _ = first.reconcile().await;
        first.members().values().filter(|(_, votes)| *votes).count() == members.len()
    })
    .await;
    members
}

/// Whether a write is acknowledged by this node.
async fn writes(replica: &Replica<SimDisk>) -> bool {
    let Some(Some(term)) = cores::within(Duration::from_secs(1), replica.leader_barrier()).await
    else {
        return false;
    };
    let append = Append::from(ChangeText::plain("1"));
    let batch = Batch::parse(encode(&[append.into()], Timestamp(1))).unwrap();
    let acknowledged = Rc::new(Cell::new(false));
    let noted = Rc::clone(&acknowledged);
    replica.propose(batch, term, move |outcome| noted.set(outcome.is_ok())).await;
    cores::sleep(Duration::from_millis(200)).await;
    acknowledged.get()
}

/// Whether one of them leads and acknowledges a write.
async fn one_takes_writes(members: &[Member]) -> bool {
    for Member { replica, .. } in members {
        if replica.leadership() == Leadership::Here && writes(replica).await {
            return true;
        }
    }
    false
}

#[test]
fn a_leader_whose_directory_cannot_be_synced_is_replaced() {
    let run = || async {
        let members = cluster(3).await;
        for member in &members {
            let (replica, status) = (Rc::clone(&member.replica), Arc::clone(&member.status));
            cores::spawn(keep(replica, status, Rc::default()));
        }
        let Member { disk, replica: first, status, .. } = &members[0];
        assert!(writes(first).await);
        disk.set_faults(Faults { directory_sync_error: 1.0, ..Faults::default() });
        // Nothing is being written: Raft hears nothing of it.
        first.log().prepare().await.unwrap_err();
        assert_eq!(first.leadership(), Leadership::Here);
        eventually("another takes writes", async || one_takes_writes(&members[1..]).await).await;
        assert_ne!(first.leadership(), Leadership::Here);
        assert!(status.has_failed());
    };
    Executor::new().block_on(run());
}

/// Why an operator's request cannot be done at the moment.
async fn refusal(member: &Member, request: AdminRequest) -> String {
    match member.service.answer(&request).await {
        Answer::Refused(AdminRefusal::Precondition(text)) => text,
        other => panic!("{request:?}: {other:?}"),
    }
}

#[test]
fn who_leaves_hands_leadership_to_nobody_who_is_stalled() {
    let run = || async {
        let members = cluster(3).await;
        let [Member { replica: first, .. }, second, third] = &members[..] else { panic!("three") };
        assert!(writes(first).await);
        let stalled = Some(Ailment::Stalled);
        second.replica.set_ailment(stalled, false);
        // A stop asks for no more than that.
        assert_eq!(first.heir(Ailment::Stalled).await, Some(3));
        third.replica.set_ailment(stalled, false);
        assert_eq!(first.heir(Ailment::Stalled).await, None);
        let text = refusal(&members[0], AdminRequest::Remove(1)).await;
        assert_eq!(text, "no other member can lead in its place");
        let text = refusal(&members[0], AdminRequest::Lead(2)).await;
        assert!(text.contains("member 2 cannot lead"), "{text}");
        assert_eq!(first.leadership(), Leadership::Here);
        third.replica.set_ailment(None, false);
        let removed = members[0].service.answer(&AdminRequest::Remove(1)).await;
        eventually("the third leads", async || third.replica.leadership() == Leadership::Here)
            .await;
        assert!(!matches!(removed, Answer::Refused(AdminRefusal::Precondition(_))), "{removed:?}");
    };
    Executor::new().block_on(run());
}

#[test]
fn who_lacks_much_of_the_log_is_not_handed_leadership() {
    let run = || async {
        let members = cluster(3).await;
        let [Member { replica: first, .. }, second, third] = &members[..] else { panic!("three") };
        assert!(writes(first).await);
        // It goes on to answer, and says nothing of its disk.
        third.disk.set_faults(Faults { hangs: true, ..Faults::default() });
        let term = first.leader_barrier().await.expect("a quorum is left");
        let last = first.last_applied() + 1100;
        for _ in 0..1100 {
            let append = Append::from(ChangeText::plain("1"));
            let batch = Batch::parse(encode(&[append.into()], Timestamp(1))).unwrap();
            first.propose(batch, term, |_| ()).await;
        }
        eventually("the second has all", async || second.replica.last_applied() >= last).await;
        assert_eq!(third.replica.ailment(), None);
        assert_eq!(first.heir(Ailment::NoSegment).await, Some(2));
        second.replica.set_ailment(Some(Ailment::NoSegment), false);
        assert_eq!(first.heir(Ailment::NoSegment).await, None, "the third cannot lead for long");
        assert!(first.is_close(2) && !first.is_close(3));
        let text = refusal(&members[0], AdminRequest::Lead(3)).await;
        assert!(text.contains("member 3 lacks too much of the log"), "{text}");
        assert_eq!(first.leadership(), Leadership::Here);
    };
    Executor::new().block_on(run());
}

#[test]
fn who_leads_without_a_vote_hands_leadership_over() {
    let run = || async {
        let members = cluster(3).await;
        let Member { replica: first, address, .. } = &members[0];
        assert!(writes(first).await);
        // As a leader does that ends the change by which another demoted it.
        first.set(1, Address { votes: false, ..address.clone() }).await.unwrap();
        assert_eq!(first.members().get(&1).map(|(_, votes)| *votes), Some(false));
        assert_eq!(first.leadership(), Leadership::Here);
        eventually("a voter takes writes", async || {
            let _ = first.reconcile().await;
            one_takes_writes(&members[1..]).await
        })
        .await;
        assert_ne!(first.leadership(), Leadership::Here);
    };
    Executor::new().block_on(run());
}

#[test]
fn a_disk_is_watched_while_nobody_can_take_over() {
    let run = || async {
        let members = cluster(2).await;
        for member in &members {
            let (replica, status) = (Rc::clone(&member.replica), Arc::clone(&member.status));
            cores::spawn(keep(replica, status, Rc::default()));
        }
        let Member { disk, replica: first, status, .. } = &members[0];
        assert!(writes(first).await);
        disk.set_faults(Faults { hangs: true, ..Faults::default() });
        assert!(!writes(first).await);
        let stalled = || status.storage_problem() == Some(StorageProblem::Stalled);
        eventually("it is noticed", async || stalled()).await;
        // The other says to be well, and cannot lead without the vote of this one.
        let end = Instant::now() + 2 * TAKE_OVER + RELIEF_RETRY;
        while Instant::now() < end {
            assert!(stalled(), "the disk still hangs");
            assert_eq!(first.ailment(), Some(Ailment::Stalled));
            cores::sleep(HEALTH_LOOK).await;
        }
        disk.set_faults(Faults::default());
        eventually("one of them takes writes", async || one_takes_writes(&members).await).await;
        assert!(!stalled());
    };
    Executor::new().block_on(run());
}
