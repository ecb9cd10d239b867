//! What other nodes ask of this one: the only place that tells their requests apart.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};

use super::{
    ForwardedWrites,
    members::{Adoptions, MembershipService},
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        protocol::VERSIONS,
    },
    io::{Disk, cores, net::Listener},
    raft::{
        AppendRequest, Inbound, Replica, at_once,
        peer::{Acceptor, Answer, Directory, Handler, Lane, Request},
    },
    snapshot::Wanted,
};

/// Answers other nodes.
pub struct PeerService<D: Disk> {
    inbound: Inbound<D>,
    replica: Rc<Replica<D>>,
    forwarded: Rc<ForwardedWrites<D>>,
    members: Rc<MembershipService<D>>,
    adoptions: Adoptions<D>,
}

impl<D: Disk> PeerService<D> {
    /// What is not about Raft goes to `forwarded`, `members` and `adoptions`.
    #[must_use]
    pub fn new(
        replica: Rc<Replica<D>>,
        forwarded: Rc<ForwardedWrites<D>>,
        members: Rc<MembershipService<D>>,
        adoptions: Adoptions<D>,
    ) -> Self {
        Self { inbound: replica.inbound(), replica, forwarded, members, adoptions }
    }

    /// Lets other nodes in at `listener`, for as long as it is polled.
    pub async fn run(self, listener: Listener) {
        let (process, dialer) = (self.replica.process(), self.replica.dialer());
        let acceptor = Rc::new(Acceptor::new(Rc::new(self), process, VERSIONS, dialer));
        loop {
            let stream = listener.accept().await;
            let acceptor = Rc::clone(&acceptor);
            cores::spawn(async move { acceptor.serve(stream).await });
        }
    }

    /// Gives entries to a member in whose log they rotted.
    fn entries(&self, first: LogId, last: u64) -> LocalBoxFuture<'static, (Answer, Bytes)> {
        let replica = Rc::clone(&self.replica);
        async move {
            match replica.frames_of(first, last).await {
                Some(frames) => (Answer::Done, frames),
                None => (Answer::Failed("it is not held".to_owned()), Bytes::new()),
            }
        }
        .boxed_local()
    }
}

fn failed(text: &str) -> LocalBoxFuture<'static, (Answer, Bytes)> {
    std::future::ready((Answer::Failed(text.to_owned()), Bytes::new())).boxed_local()
}

impl<D: Disk> Handler for PeerService<D> {
    fn directory(&self) -> &dyn Directory {
        &self.inbound
    }

    fn answer(
        &self,
        lane: Lane,
        from: NodeId,
        request: Request,
        body: Bytes,
    ) -> LocalBoxFuture<'static, (Answer, Bytes)> {
        let is_adoption = matches!(request, Request::Adopt(_));
        // Nothing but that is said before a node belongs to the cluster.
        if lane == Lane::Adoption && !is_adoption {
            return failed("it does not belong to the cluster");
        }
        // Append looks itself, and a node hears that it was removed whatever ails it.
        let is_excepted =
            lane == Lane::Adoption || matches!(request, Request::Append { .. } | Request::Removed);
        if let Some(refusal) = self.inbound.refusal(from).filter(|_| !is_excepted) {
            return failed(&refusal);
        }
        let inbound = &self.inbound;
        let answer = match request {
            Request::Append { vote, previous, committed, entries } => {
                let request = AppendRequest { lane, from, vote, previous, committed, entries };
                inbound.append(request, &body)
            }
            Request::Vote { vote, last, transfer, pre_vote } => {
                inbound.vote(vote, last, transfer, pre_vote)
            }
            Request::TransferLeader { vote, to, last } => inbound.transfer_leader(vote, to, last),
            Request::BeginSnapshot { vote } => inbound.begin_snapshot(vote, &body),
            Request::SnapshotPart { file, offset } => {
                inbound.snapshot_part(Wanted { file, offset }, body)
            }
            Request::EndSnapshot => inbound.end_snapshot(),
            Request::ReadIndex => inbound.read_index(),
            Request::Health => at_once(Answer::Health(inbound.ailment())),
            Request::Members => {
                at_once(self.replica.seen().map_or(Answer::NotLeader, Answer::Members))
            }
            Request::Removed => {
                self.replica.note_removed();
                at_once(Answer::Done)
            }
            Request::Adopt(adoption) => at_once(self.adoptions.consider(&adoption)),
            Request::Admin(request) => {
                let members = Rc::clone(&self.members);
                async move { members.answer(&request).await }.boxed_local()
            }
            Request::Entry(id) => return self.entries(id, id.index),
            Request::Entries { first, last } => return self.entries(first, last),
            Request::Checkpoint { at, offset } => {
                let replica = Rc::clone(&self.replica);
                return async move { replica.checkpoint_part(at, offset).await }.boxed_local();
            }
            Request::Write => {
                let forwarded = Rc::clone(&self.forwarded);
                return async move { forwarded.write(body).await }.boxed_local();
            }
        };
        answer.map(|answer| (answer, Bytes::new())).boxed_local()
    }
}
