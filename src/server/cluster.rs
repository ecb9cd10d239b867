//! The node as a member of a cluster: it serves the other nodes, has the
//! cluster changed by whoever leads it, and asks to be taken in where it is to
//! join one.

use std::{net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Mutex, mpsc};

use super::{
    invitation::{self, Probe, ProbedMember},
    join,
    run::{ServerError, Shared},
};
use crate::{
    base::{
        ids::{ClusterId, NodeId},
        names::is_host_and_port,
        timing::{ADMIN_ANSWER, TAKE_OVER},
    },
    io::{cores, glommio::GlommioDisk, net::Listener},
    node::Handed,
    raft::{
        Address, Ailment, Leadership, MembershipError, OnRequest,
        peer::{self, AdminRefusal, AdminRequest, Adoption, Answer, Change, Lane, Request},
    },
};

pub(super) type Replica = crate::raft::Replica<GlommioDisk>;

/// How long a node that is to be taken in may take to say who it is.
pub(super) const PROBE: Duration = Duration::from_secs(3);
/// How long it may take to become a member.
const ADOPTION: Duration = Duration::from_secs(20);
/// How long a change of the cluster waits for a leader, or for one before it.
const WAIT: Duration = Duration::from_secs(5);
/// How long a change waits for those before it.
const TURN: Duration = Duration::from_secs(15);
/// How often to look again for what was waited for.
const RETRY: Duration = Duration::from_millis(50);
/// How often it is looked for what is to be done about members.
const RECONCILE: Duration = Duration::from_millis(200);

/// Whom this node is to become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adopted {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
}

/// Starts everything that is about other nodes; they connect to `listener`.
/// Says when this node is to become a member of another cluster.
pub(super) fn start(
    replica: &Rc<Replica>,
    shared: &Shared,
    listener: Option<TcpListener>,
) -> Result<mpsc::Receiver<Adopted>, ServerError> {
    let (adopt, adoption) = mpsc::channel(1);
    let handed = Handed::new(Arc::clone(&shared.inbox), &shared.fanout, Rc::clone(replica));
    let office = Rc::new(Office {
        replica: Rc::clone(replica),
        handed: Rc::new(handed),
        own: shared.address.clone(),
        one: Mutex::new(()),
        adopt,
    });
    let handed = Rc::clone(&office.handed);
    cores::spawn(async move { handed.run().await });
    if let Some(listener) = listener {
        let listener = Listener::new(listener)
            .map_err(|error| ServerError::System("cannot use the cluster port", error))?;
        let office = Rc::clone(&office);
        let on_request: OnRequest =
            Rc::new(move |_, request, body| Rc::clone(&office).answer(request, body).boxed_local());
        let acceptor = Rc::new(peer::Acceptor::new(replica.inbound(on_request), replica.process()));
        cores::spawn(async move {
            loop {
                let stream = listener.accept().await;
                let acceptor = Rc::clone(&acceptor);
                cores::spawn(async move { acceptor.serve(stream).await });
            }
        });
    }
    let (control, reading) = (Arc::clone(&shared.control), Rc::clone(replica));
    cores::spawn(async move { control.run_reads(reading).await });
    let control = Arc::clone(&shared.control);
    let clerk = Rc::clone(&office);
    cores::spawn(async move {
        loop {
            let (request, answer) = control.take_admin().await;
            let office = Rc::clone(&clerk);
            cores::spawn(async move {
                // Its client may have gone.
                let _ = answer.send(office.admin(request).await);
            });
        }
    });
    cores::spawn(Rc::clone(&office).reconcile());
    join::start(replica, shared);
    Ok(adoption)
}

/// What decides on the cluster, as long as this node leads it.
struct Office {
    replica: Rc<Replica>,
    handed: Rc<Handed<GlommioDisk>>,
    /// Where this node is reached.
    own: Address,
    /// Held while the cluster is changed: one change at a time.
    one: Mutex<()>,
    adopt: mpsc::Sender<Adopted>,
}

/// Why a change was not made by this node.
enum Undone {
    Refused(AdminRefusal),
    /// Another leads, or will at once.
    Elsewhere,
}

impl From<AdminRefusal> for Undone {
    fn from(refusal: AdminRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<MembershipError> for Undone {
    fn from(error: MembershipError) -> Self {
        Self::Refused(match error {
            MembershipError::NotLeader => return Self::Elsewhere,
            MembershipError::InProgress => AdminRefusal::Precondition(error.to_string()),
            MembershipError::Invalid(text) => AdminRefusal::Invalid(text),
            MembershipError::Unknown => AdminRefusal::Unknown,
        })
    }
}

/// The cluster address of a node as it says itself; empty when it has none.
fn cluster_address_among(members: Vec<ProbedMember>, id: NodeId) -> String {
    let own = members.into_iter().find(|member| member.id == id);
    own.map(|own| own.cluster_address).filter(|text| is_host_and_port(text)).unwrap_or_default()
}

/// What whoever named the address hears of a node that cannot be had at its
/// cluster address, which is the same whatever is there.
fn not_joining(at: &Address, error: &str) -> Undone {
    let Address { address, cluster_address, .. } = at;
    tracing::warn!(address, cluster_address, error, "the node does not become a member");
    let text = format!(
        "the node at {address} does not become a member: it is not reached as a node at the \
         cluster address that it names"
    );
    AdminRefusal::Precondition(text).into()
}

impl Office {
    /// Answers another node.
    async fn answer(self: Rc<Self>, request: Request, body: Bytes) -> (Answer, Bytes) {
        let answer = match request {
            Request::Write => return self.handed.write(body).await,
            Request::Admin(request) => match self.change(&request).await {
                Ok(id) => Answer::Changed(id),
                Err(Undone::Refused(refusal)) => Answer::Refused(refusal),
                Err(Undone::Elsewhere) => Answer::NotLeader,
            },
            Request::Adopt(adoption) => self.become_member(&adoption),
            Request::Removed => {
                self.replica.note_removed();
                Answer::Done
            }
            other => Answer::Failed(format!("an unexpected request: {other:?}")),
        };
        (answer, Bytes::new())
    }

    /// Becomes a member of another cluster, if this node has nothing to lose.
    fn become_member(&self, adoption: &Adoption) -> Answer {
        let refuse = |text: &str| Answer::Refused(AdminRefusal::Precondition(text.to_owned()));
        let own = self.replica.log().identity();
        if adoption.who != (own.cluster, own.node) {
            return refuse("another node than that is reached there");
        }
        if adoption.cluster == own.cluster && self.replica.is_member() {
            return refuse("the node there is a member of this cluster already");
        }
        if !self.replica.is_empty() {
            return refuse("the node there holds a history of its own");
        }
        if (self.replica.log().payload_bytes_max() as u64) < adoption.entry_bytes_max {
            return refuse(
                "the node there has smaller segments than the cluster: start it with larger ones",
            );
        }
        let Some(node) = adoption.node else { return Answer::Done };
        // One before is being obeyed already.
        match self.adopt.try_send(Adopted { cluster: adoption.cluster, node }) {
            Ok(()) => Answer::Done,
            Err(_) => refuse("the node there becomes a member already"),
        }
    }

    /// Has the cluster changed, by whoever leads it; says which member that
    /// concerned.
    async fn admin(&self, request: AdminRequest) -> Result<NodeId, AdminRefusal> {
        let end = cores::now() + WAIT;
        loop {
            match self.replica.leadership() {
                Leadership::Here => match self.change(&request).await {
                    Ok(id) => return Ok(id),
                    Err(Undone::Refused(refusal)) => return Err(refusal),
                    Err(Undone::Elsewhere) => {}
                },
                Leadership::At(id, address) => {
                    let channel = self.replica.channel(id, Lane::Admin, &address);
                    let message = Request::Admin(request.clone());
                    match channel.call(&message, Bytes::new(), ADMIN_ANSWER).await {
                        Ok((Answer::Changed(id), _)) => return Ok(id),
                        Ok((Answer::Refused(refusal), _)) => return Err(refusal),
                        Ok((Answer::NotLeader, _)) | Err(peer::CallError::NotSent(_)) => {}
                        Ok(_) | Err(peer::CallError::Lost) => return Err(AdminRefusal::Unknown),
                    }
                }
                Leadership::Unknown => {}
            }
            if cores::now() >= end {
                return Err(AdminRefusal::NoLeader);
            }
            cores::sleep(RETRY).await;
        }
    }

    /// Changes the cluster, which this node must lead.
    async fn change(&self, request: &AdminRequest) -> Result<NodeId, Undone> {
        let Some(_one) = cores::within(TURN, self.one.lock()).await else {
            let text = "another change of the cluster is under way".to_owned();
            return Err(AdminRefusal::Precondition(text).into());
        };
        if self.replica.leadership() != Leadership::Here {
            return Err(Undone::Elsewhere);
        }
        match request {
            AdminRequest::Add { address, voter } => self.add(address, *voter).await,
            AdminRequest::Change(id, change) => self.alter(*id, change).await.map(|()| *id),
            AdminRequest::Remove(id) => self.remove(*id).await.map(|()| *id),
            AdminRequest::Lead(id) => self.lead(*id).await.map(|()| *id),
        }
    }

    /// Makes a change as soon as the one before is done.
    async fn step<F>(&self, change: impl Fn() -> F) -> Result<(), Undone>
    where
        F: Future<Output = Result<(), MembershipError>>,
    {
        let end = cores::now() + WAIT;
        loop {
            match change().await {
                Err(MembershipError::InProgress) if cores::now() < end => {
                    cores::sleep(RETRY).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn add(&self, address: &str, voter: bool) -> Result<NodeId, Undone> {
        let Probe { cluster, node, members } = invitation::probe(address, PROBE).await?;
        let cluster_address = cluster_address_among(members, node);
        if cluster_address.is_empty() {
            let text = format!("the node at {address} has no cluster port: start it with one");
            return Err(AdminRefusal::Invalid(text).into());
        }
        let own = self.replica.log().identity();
        let here = Address { address: address.to_owned(), cluster_address, votes: voter };
        let members = self.replica.members();
        if cluster == own.cluster.0
            && let Some((known, _)) = members.get(&node)
        {
            if known.cluster_address != here.cluster_address {
                let text =
                    format!("the node at {address} says to be member {node}, which is elsewhere");
                return Err(AdminRefusal::Precondition(text).into());
            }
            // It was taken in before.
            if voter && !known.votes {
                let votes = Address { votes: true, ..known.clone() };
                self.step(|| self.replica.set(node, votes.clone())).await?;
            }
            return Ok(node);
        }
        let who = (ClusterId(cluster), node);
        self.ask_to_join(who, None, &here).await?;
        // Whoever was there before has lost its data directory.
        let gone = members.iter().find(|(_, (known, _))| {
            known.address == here.address || known.cluster_address == here.cluster_address
        });
        if let Some((&gone, _)) = gone {
            self.may_cease(gone).await?;
            tracing::warn!(gone, address, "a member is replaced by the empty node in its place");
            self.step(|| self.replica.remove(gone)).await?;
        }
        // Numbers that are given must be in the log, and all that are there known.
        if cores::within(WAIT, self.replica.settled()).await.flatten().is_none() {
            return Err(Undone::Elsewhere);
        }
        let id = self.replica.next_id();
        tracing::info!(id, address, voter, "a node is taken in");
        self.step(|| self.replica.add(id, here.clone())).await?;
        if let Err(error) = self.adopt(who, id, &here).await {
            tracing::warn!(id, address, "the node did not become a member and is taken out again");
            self.step(|| self.replica.remove(id)).await?;
            return Err(error);
        }
        Ok(id)
    }

    /// Asks the empty node `who` at that address to become node `id` of this
    /// cluster, or without one, whether it would.
    async fn ask_to_join(
        &self,
        who: (ClusterId, NodeId),
        id: Option<NodeId>,
        at: &Address,
    ) -> Result<(), Undone> {
        let log = self.replica.log();
        let entry_bytes_max = log.payload_bytes_max() as u64;
        let cluster = log.identity().cluster;
        let adoption = Adoption { who, cluster, node: id, entry_bytes_max };
        let channel = self.replica.channel_apart(who.1, Lane::Adoption, &at.cluster_address);
        let answer = channel.call(&Request::Adopt(adoption), Bytes::new(), PROBE).await;
        match answer {
            Ok((Answer::Done, _)) => Ok(()),
            Ok((Answer::Refused(refusal), _)) => Err(refusal.into()),
            Ok((other, _)) => Err(not_joining(at, &format!("{other:?}"))),
            Err(error) => Err(not_joining(at, &error.to_string())),
        }
    }

    /// Has the empty node `who` at that address become node `id` of this cluster.
    async fn adopt(
        &self,
        who: (ClusterId, NodeId),
        id: NodeId,
        at: &Address,
    ) -> Result<(), Undone> {
        self.ask_to_join(who, Some(id), at).await?;
        let end = cores::now() + ADOPTION;
        let channel = self.replica.channel_apart(id, Lane::Control, &at.cluster_address);
        loop {
            match channel.connect().await {
                Ok(()) => return Ok(()),
                Err(error) if cores::now() >= end => {
                    return Err(not_joining(at, &error.to_string()));
                }
                Err(_) => cores::sleep(RETRY).await,
            }
        }
    }

    async fn alter(&self, id: NodeId, change: &Change) -> Result<(), Undone> {
        let members = self.replica.members();
        let Some((known, is_voter)) = members.get(&id) else {
            return Err(AdminRefusal::NotFound(id).into());
        };
        let mut wanted = known.clone();
        if let Some(votes) = change.voter {
            wanted.votes = votes;
            if !votes && *is_voter {
                self.may_cease(id).await?;
            }
        }
        if let Some(address) = &change.address {
            wanted.address.clone_from(address);
            if change.cluster_address.is_none() {
                wanted.cluster_address = self.cluster_address_of(id, address).await?;
            }
        }
        if let Some(address) = &change.cluster_address {
            wanted.cluster_address.clone_from(address);
        }
        if wanted != *known || (wanted.votes != *is_voter && !wanted.votes) {
            self.step(|| self.replica.set(id, wanted.clone())).await?;
            tracing::info!(id, address = wanted.address, votes = wanted.votes, "a member changes");
        }
        Ok(())
    }

    /// Where other nodes reach the member that clients reach at `address`.
    async fn cluster_address_of(&self, id: NodeId, address: &str) -> Result<String, Undone> {
        let Probe { cluster, node, members } = invitation::probe(address, PROBE).await?;
        if cluster != self.replica.log().identity().cluster.0 || node != id {
            let text = format!("the node at {address} is not member {id} of this cluster");
            return Err(AdminRefusal::Invalid(text).into());
        }
        Ok(cluster_address_among(members, id))
    }

    /// Whether a voter may cease to vote; leadership is handed on first.
    async fn may_cease(&self, id: NodeId) -> Result<(), Undone> {
        if self.replica.is_only_voter(id) {
            let text = "it is the only member that votes".to_owned();
            return Err(AdminRefusal::Precondition(text).into());
        }
        if id != self.replica.id() {
            return Ok(());
        }
        let to = self.replica.heir(Ailment::Stalled).await.ok_or_else(|| {
            AdminRefusal::Precondition("no other member can lead in its place".to_owned())
        })?;
        self.hand_over(to).await?;
        Err(Undone::Elsewhere)
    }

    async fn remove(&self, id: NodeId) -> Result<(), Undone> {
        let members = self.replica.members();
        let Some((known, is_voter)) = members.get(&id) else {
            return Err(AdminRefusal::NotFound(id).into());
        };
        if *is_voter {
            self.may_cease(id).await?;
        }
        self.step(|| self.replica.remove(id)).await?;
        tracing::info!(id, address = known.address, "a member was removed");
        // It stops as soon as it knows; if it is down, it learns it later.
        let channel = self.replica.channel_apart(id, Lane::Control, &known.cluster_address);
        cores::spawn(async move {
            let _ = channel.call(&Request::Removed, Bytes::new(), PROBE).await;
        });
        Ok(())
    }

    async fn lead(&self, id: NodeId) -> Result<(), Undone> {
        match self.replica.members().get(&id) {
            None => Err(AdminRefusal::NotFound(id).into()),
            Some((_, false)) => {
                let text = format!("member {id} does not vote");
                Err(AdminRefusal::Precondition(text).into())
            }
            Some(_) if id == self.replica.id() => Ok(()),
            Some(_) => match self.replica.ailment_of(id).await {
                Some(None) if !self.gets_close(id).await => {
                    let text = format!("member {id} lacks too much of the log to lead yet");
                    Err(AdminRefusal::Precondition(text).into())
                }
                Some(None) => self.hand_over(id).await,
                Some(Some(ailment)) => {
                    let text = format!("member {id} cannot lead: {ailment}");
                    Err(AdminRefusal::Precondition(text).into())
                }
                None => {
                    let text = format!("member {id} does not answer");
                    Err(AdminRefusal::Precondition(text).into())
                }
            },
        }
    }

    /// Whether a voter has almost all of the log, or does in a moment, as after an
    /// election.
    async fn gets_close(&self, id: NodeId) -> bool {
        let close = async {
            while !self.replica.is_close(id) {
                cores::sleep(RETRY).await;
            }
        };
        cores::within(TAKE_OVER, close).await.is_some()
    }

    async fn hand_over(&self, to: NodeId) -> Result<(), Undone> {
        self.replica.transfer(to).await?;
        let leads = |leader: &Leadership| matches!(leader, Leadership::At(id, _) if *id == to);
        let taken = self.replica.leadership_is(leads);
        match cores::within(TAKE_OVER, taken).await {
            Some(()) => Ok(()),
            None => {
                let text = format!("member {to} did not take over in time");
                Err(AdminRefusal::Precondition(text).into())
            }
        }
    }

    /// Does what is to be done about members, as long as this node leads; and
    /// has this node's own address known.
    async fn reconcile(self: Rc<Self>) {
        loop {
            cores::sleep(RECONCILE).await;
            self.make_address_known().await;
            if self.replica.leadership() == Leadership::Here
                && let Ok(_one) = self.one.try_lock()
                && let Err(error) = self.replica.reconcile().await
            {
                tracing::debug!(%error, "the members are not all that they are to be yet");
            }
        }
    }

    async fn make_address_known(&self) {
        let (id, members) = (self.replica.id(), self.replica.members());
        let Some((known, _)) = members.get(&id) else { return };
        let Address { address, cluster_address, .. } = self.own.clone();
        if (&known.address, &known.cluster_address) == (&address, &cluster_address) {
            return;
        }
        let change = Change {
            address: Some(address),
            cluster_address: Some(cluster_address),
            ..Change::default()
        };
        let request = AdminRequest::Change(id, change);
        if self.replica.is_led() {
            if let Err(refusal) = self.admin(request).await {
                tracing::debug!(?refusal, "this node's address is not known yet");
            }
            return;
        }
        // A leader that does not know where this node is cannot tell it that it leads.
        for (&other, (known, _)) in members.iter().filter(|(other, _)| **other != id) {
            let channel = self.replica.channel(other, Lane::Admin, &known.cluster_address);
            let message = Request::Admin(request.clone());
            if let Ok((Answer::Changed(_), _)) = channel.call(&message, Bytes::new(), PROBE).await {
                return;
            }
        }
    }
}
