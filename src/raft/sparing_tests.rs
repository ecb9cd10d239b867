//! What a snapshot is sent by while the log is written to: one part at a time, so that how long each takes
//! where it goes is what is waited for before the next.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use openraft::storage::RaftSnapshotBuilder;

use super::{
    erasure_tests::{NODE, entries},
    feeding::Feeding,
    fold_tests::CLUSTER,
    peer::{
        Acceptor, Answer, Channel, Directory, Handler, Instance, Lane, Request, Settings, Standing,
    },
    snapshot::{Source, send},
    snapshot_tests::filled,
    types::to_raft_vote,
};
use crate::{
    base::{ids::NodeId, protocol::VERSIONS},
    io::{
        Dialer, Disk, cores,
        net::Listener,
        simulated::{
            disk::SimDisk,
            executor::{run, spawn_in},
        },
    },
    log::{Identity, Vote},
    snapshot::Manifest,
};

const TAKER: NodeId = 2;
const VOTE: Vote = Vote { term: 9, node: NODE, committed: true };
/// How long a part takes where it goes.
const TAKES: Duration = Duration::from_millis(40);
const SECOND: Duration = Duration::from_secs(1);

/// Takes the parts of a snapshot in.
#[derive(Clone, Default)]
struct Taker {
    manifest: Rc<RefCell<Option<Manifest>>>,
    under_way: Rc<Cell<usize>>,
    /// How many were under way when each came.
    came: Rc<RefCell<Vec<usize>>>,
}

impl Directory for Taker {
    fn me(&self) -> Identity {
        Identity { cluster: CLUSTER, node: TAKER }
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

impl Handler for Taker {
    fn directory(&self) -> &dyn Directory {
        self
    }

    fn answer(
        &self,
        _: Lane,
        _: NodeId,
        request: Request,
        body: Bytes,
    ) -> LocalBoxFuture<'static, (Answer, Bytes)> {
        let taker = self.clone();
        async move { (taker.take(request, body).await, Bytes::new()) }.boxed_local()
    }
}

impl Taker {
    async fn take(&self, request: Request, body: Bytes) -> Answer {
        match request {
            Request::BeginSnapshot { .. } => {
                self.manifest.replace(Some(Manifest::decode(&body).unwrap()));
                Answer::Wanted { file: 0, offset: 0 }
            }
            Request::SnapshotPart { file, offset } => {
                self.under_way.set(self.under_way.get() + 1);
                self.came.borrow_mut().push(self.under_way.get());
                cores::sleep(TAKES).await;
                self.under_way.set(self.under_way.get() - 1);
                let bytes = self.manifest.borrow().as_ref().unwrap().files[file as usize].bytes;
                let offset = offset + body.len() as u64;
                match offset < bytes {
                    true => Answer::Wanted { file, offset },
                    false => Answer::Wanted { file: file + 1, offset: 0 },
                }
            }
            Request::EndSnapshot => Answer::Snapshot(VOTE),
            other => panic!("{other:?}"),
        }
    }
}

/// Sends a snapshot; how many parts were under way when each came.
fn sent(is_written: bool) -> Vec<usize> {
    run(1, async move {
        let disk = SimDisk::new(1);
        let mut machine = filled(&disk, NODE, &entries(false)).await;
        let snapshot = RaftSnapshotBuilder::build_snapshot(&mut machine).await.unwrap();
        let (taker, written) = (Taker::default(), Cell::new(0));
        let listener = Listener::simulated("taker:7001").unwrap();
        let of = |node| Instance::start(Identity { cluster: CLUSTER, node });
        let handler = Rc::new(taker.clone());
        let acceptor =
            Rc::new(Acceptor::new(handler, of(TAKER).process, VERSIONS, Dialer::default()));
        drop(spawn_in(TAKER, async move {
            acceptor.serve(listener.accept().await).await;
        }));
        let (own, settings) = (of(NODE), Settings { connect: SECOND, stall: 9 * SECOND });
        let on_refusal = Rc::new(|_, refusal| panic!("{refusal:?}"));
        let (own, address) = ((own, Dialer::default()), "taker:7001".to_owned());
        let channel = Channel::new(own, TAKER, Lane::Snapshot, address, settings, on_refusal);
        let source = Source {
            files: disk.files(),
            written: Rc::new(move || {
                written.set(written.get() + u64::from(is_written));
                written.get()
            }),
            feeding: Rc::new(Feeding::default()),
            damaged: Rc::new(|file, at, why| panic!("{file}, {at}: {why}")),
        };
        let vote = send(&channel, &to_raft_vote(VOTE), &snapshot, &source).await.unwrap();
        assert_eq!(vote, VOTE);
        taker.came.take()
    })
}

#[test]
fn while_the_log_is_written_to_one_part_is_under_way() {
    let (idle, written) = (sent(false), sent(true));
    assert!(idle.len() > 8 && idle.len() == written.len(), "{idle:?} {written:?}");
    assert_eq!(idle[3..].iter().max(), Some(&3), "{idle:?}");
    // Before anything was answered it was not looked.
    assert!(written[3..].iter().all(|count| *count == 1), "{written:?}");
}
