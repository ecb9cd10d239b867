//! Segments that rotted under a node that runs, mended with what other members give: of a member that
//! does not answer nothing is asked again, many entries come at once, and what the log has given up is
//! asked of nobody.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};

use super::{
    StateMachine,
    erasure_tests::{NODE, Node, entries, holds_secret},
    fold_tests::{CLUSTER, entry},
    givers::{ASKED_BYTES, Givers, Gives, frames},
    healing::Healed,
    mending::{put_in_place, put_together, segment},
    peer::{
        Acceptor, Answer, Channel, Directory, Handler, Instance, Lane, Request, Settings, Standing,
    },
    segment_index::opened,
    snapshot_tests::{apply, filled, found},
    types::to_log,
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        planted::{Bug, prove},
        protocol::VERSIONS,
    },
    io::{
        Dialer, Disk, cores,
        net::Listener,
        simulated::{
            disk::SimDisk,
            executor::{run, spawn_in},
        },
    },
    log::{self, Entry, Identity, Log, Options, frame_range},
};

const SECOND: Duration = Duration::from_secs(1);

type Answered = LocalBoxFuture<'static, (Answer, Bytes)>;

/// Another member.
struct Member<A> {
    node: NodeId,
    answer: A,
    /// What it was asked.
    asked: Rc<Cell<usize>>,
}

impl<A> Directory for Member<A> {
    fn me(&self) -> Identity {
        Identity { cluster: CLUSTER, node: self.node }
    }

    fn standing(&self, _: NodeId) -> Standing {
        Standing::Member
    }

    fn address_of(&self, _: NodeId) -> Option<String> {
        None
    }

    fn note_called_as(&self, _: Identity) {}

    fn body_bytes_max(&self) -> usize {
        1 << 20
    }
}

impl<A: Fn(Request) -> Answered + 'static> Handler for Member<A> {
    fn directory(&self) -> &dyn Directory {
        self
    }

    fn answer(&self, _: Lane, _: NodeId, request: Request, _: Bytes) -> Answered {
        self.asked.set(self.asked.get() + 1);
        (self.answer)(request)
    }
}

/// What gives entries of that log; without it nothing is answered.
fn entries_of(log: Option<&Log<SimDisk>>) -> impl Fn(Request) -> Answered + use<> {
    let log = log.cloned();
    move |request| {
        let Request::Entries { first, last } = request else { panic!("{request:?}") };
        let Some(log) = log.clone() else { return std::future::pending().boxed_local() };
        async move {
            match frames(&log, first, last).await {
                Some(frames) => (Answer::Done, frames),
                None => (Answer::Failed("it is not held".into()), Bytes::new()),
            }
        }
        .boxed_local()
    }
}

/// A channel to member `node`, which answers that, and what it was asked.
pub(super) fn member(
    node: NodeId,
    answer: impl Fn(Request) -> Answered + 'static,
) -> ((NodeId, Channel), Rc<Cell<usize>>) {
    let asked = Rc::<Cell<usize>>::default();
    let handler = Member { node, answer, asked: Rc::clone(&asked) };
    let address = format!("node-{node}:7001");
    let listener = Listener::simulated(&address).unwrap();
    let of = |node| Instance::start(Identity { cluster: CLUSTER, node });
    let acceptor = Acceptor::new(Rc::new(handler), of(node).process, VERSIONS, Dialer::default());
    let acceptor = Rc::new(acceptor);
    drop(spawn_in(node, async move {
        loop {
            let stream = listener.accept().await;
            let acceptor = Rc::clone(&acceptor);
            drop(cores::spawn(async move { acceptor.serve(stream).await }));
        }
    }));
    let (own, settings) = (of(NODE), Settings { connect: SECOND, stall: 2 * SECOND });
    let on_refusal = Rc::new(|_, refusal| panic!("{refusal:?}"));
    let own = (own, Dialer::default());
    let channel = Channel::new(own, node, Lane::Requests, address, settings, on_refusal);
    ((node, channel), asked)
}

/// A member of the same history, with segments of its own.
async fn other(seed: u64) -> StateMachine<SimDisk> {
    filled(&SimDisk::new(seed + 1000), 3, &entries(true)).await
}

#[test]
fn a_member_that_does_not_answer_is_asked_once_and_entries_come_together() {
    run(1, async {
        let disk = SimDisk::new(1);
        let machine = filled(&disk, NODE, &entries(true)).await;
        let name = log::file_name(2);
        let whole = disk.snapshot()[&name].clone();
        let run = machine.log().entries_in(2).unwrap();
        assert!(run.1 > run.0 + 4, "{run:?}");
        let giver = other(1).await;
        // Each entry; each second one.
        for step in [1, 2] {
            let (silent, asked_silent) = member(2 * step as u64 + 2, entries_of(None));
            let (living, asked) = member(2 * step as u64 + 3, entries_of(Some(giver.log())));
            disk.damage(&name, |bytes| {
                for index in (run.0..=run.1).step_by(step) {
                    let at = machine.log().place(index).unwrap();
                    bytes[frame_range(at)].fill(0xA5);
                }
            });
            let givers = Givers::new(vec![silent, living]);
            assert_eq!(segment(&machine, 2, givers).await.unwrap(), Healed::Anew);
            assert!(disk.snapshot()[&name] == whole, "it is what it was");
            assert_eq!((asked_silent.get(), asked.get()), (1, 1));
        }
    });
}

#[test]
fn no_more_is_given_at_once_than_may_be() {
    run(1, async {
        let identity = Identity { cluster: CLUSTER, node: 3 };
        let options = Options { segment_bytes: 4 << 20, ..Options::new(identity) };
        let log = Log::open(SimDisk::new(1), options, |_, _| Ok(())).await.unwrap();
        drop(cores::spawn(log.run()));
        let id = |index| LogId { term: 1, index };
        let long = Bytes::from(vec![7; ASKED_BYTES / 2 + 1]);
        let one = |index| Entry { id: id(index), kind: 0, payload: long.clone() };
        log.append((0..4).map(one).collect::<Vec<_>>(), |_| ()).unwrap();
        log.durable(3).await.unwrap();
        let (living, asked) = member(3, entries_of(Some(&log)));
        let mut givers = Givers::new(vec![living]);
        let indexes = |entries: Option<Vec<Entry>>| {
            entries.map(|it| it.iter().map(|entry| entry.id.index).collect::<Vec<_>>())
        };
        assert_eq!(indexes(givers.entries(id(1), 3).await), Some(vec![1]));
        // What it has not, nobody gives; it is asked again for what it has.
        assert_eq!(givers.entries(LogId { term: 2, index: 1 }, 3).await, None);
        assert_eq!(givers.entries(id(4), u64::MAX).await, None);
        assert_eq!(indexes(givers.entries(id(3), u64::MAX).await), Some(vec![3]));
        assert_eq!(asked.get(), 4);
    });
}

/// Entries that were never committed, with which a segment ends.
const REMOVED: std::ops::Range<u64> = 40..43;

/// A node with such entries in a complete segment; which that is.
async fn with_removed(disk: &SimDisk) -> (StateMachine<SimDisk>, u64) {
    let (all, start) = (entries(false), REMOVED.start as usize);
    let mut machine = filled(disk, NODE, &all[..start]).await;
    let log = machine.log().clone();
    let earlier = |index| {
        let Entry { id: LogId { term, .. }, kind, payload } =
            to_log(entry(index, &all[index as usize])).unwrap();
        Entry { id: LogId { term: term - 1, index }, kind, payload }
    };
    let segment = log.active_segment();
    log.append(REMOVED.map(earlier).collect::<Vec<_>>(), |_| ()).unwrap();
    log.durable(REMOVED.end - 1).await.unwrap();
    assert_eq!(log.active_segment(), segment);
    log.complete_active();
    log.truncate_after(log.id(REMOVED.start - 1)).await.unwrap();
    apply(&mut machine, REMOVED.start, &all[start..]).await;
    (machine, segment)
}

#[test]
fn what_was_removed_from_the_log_is_asked_of_nobody() {
    run(1, async {
        let disk = SimDisk::new(1);
        let (machine, segment_of) = with_removed(&disk).await;
        let outcome = found(&disk.copy(2), NODE).await.1;
        let run = opened(&disk.files(), segment_of).unwrap().log.run;
        assert_eq!(run.next(), REMOVED.end, "they are in its index");
        let name = log::file_name(segment_of);
        disk.damage(&name, |bytes| {
            for index in REMOVED {
                bytes[frame_range(run.place(index).unwrap())].fill(0xA5);
            }
        });
        let (living, asked) = member(3, entries_of(Some(other(1).await.log())));
        let healed = segment(&machine, segment_of, Givers::new(vec![living])).await;
        assert_eq!(healed.unwrap(), Healed::Anew);
        assert_eq!(asked.get(), 0);
        assert_eq!(found(&disk.copy(2), NODE).await.1, outcome);
        disk.take(&log::index::file_name(segment_of));
        assert_eq!(found(&disk.copy(2), NODE).await.1, outcome, "it is read anew");
    });
}

/// What is in a segment is erased while that is put together again.
fn overtaken(seed: u64) {
    run(seed, async move {
        let disk = SimDisk::new(seed);
        drop(filled(&disk, NODE, &entries(true)).await);
        let disk = disk.kill();
        let is_segment = |name: &str| log::number(name, log::SUFFIX).filter(|n| *n > 1);
        let secret = disk.snapshot().into_iter().find_map(|(name, bytes)| {
            is_segment(&name).filter(|_| holds_secret(&bytes)).map(|n| (n, name))
        });
        let (sequence, name) = secret.expect("a later segment has a secret");
        let mut node = Node::start(&disk).await;
        // Of the header a byte cannot be read for a while.
        disk.damage(&name, |bytes| bytes[20] ^= 1);
        let sound = put_together(&node.machine, sequence, Givers::new(Vec::new())).await.unwrap();
        assert!(holds_secret(&sound.bytes), "it is not erased yet");
        disk.damage(&name, |bytes| bytes[20] ^= 1);
        assert!(node.erases(&disk).await);
        assert!(!holds_secret(&disk.snapshot()[&name]));
        let put = put_in_place(&node.machine, sequence, sound).await.unwrap();
        assert!(!holds_secret(&disk.snapshot()[&name]), "what was erased is back");
        assert_eq!(put, Healed::Later);
    });
}

#[test]
fn what_is_erased_while_a_segment_is_put_together_is_not_brought_back() {
    overtaken(1);
}

#[test]
fn planted_mend_over_erased() {
    prove(Bug::MendOverErased, 1..2, &["what was erased is back"], overtaken);
}
