//! The policy of membership: who is taken in and under which number, who may cease to
//! vote, and who is asked first. Whoever leads the cluster decides; every other node hands
//! on to it what it is asked.

mod add;
mod adoption;
mod alter;
mod introductions;
mod join;
mod reconcile;

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use tokio::sync::Mutex;

pub use adoption::{Adopted, Adoptions};
pub use introductions::{Applicant, Introduction, Introductions};
pub use join::join;

use super::Control;
use crate::{
    base::{
        ids::NodeId,
        timing::{
            ADMIN_ANSWER, CHANGE_TURN, CHANGE_WAIT, INTRODUCTION_ANSWER, MEMBERS_RETRY, TAKE_OVER,
        },
    },
    io::{Disk, cores},
    raft::{
        Address, Ailment, Leadership, MembershipError, Replica,
        peer::{AdminRefusal, AdminRequest, Answer, CallError, Lane, Request},
    },
};

/// Changes the members, as long as this node leads, and hands changes to the leader
/// otherwise.
pub struct MembershipService<D: Disk> {
    replica: Rc<Replica<D>>,
    introductions: Rc<dyn Introductions>,
    /// Where this node is reached.
    own: Address,
    /// Held while the members are changed: one change at a time.
    one_change: Mutex<()>,
}

/// Why a change was not made by this node.
enum Rejected {
    Refused(AdminRefusal),
    /// Another leads, or will at once.
    LedElsewhere,
}

impl From<AdminRefusal> for Rejected {
    fn from(refusal: AdminRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<MembershipError> for Rejected {
    fn from(error: MembershipError) -> Self {
        Self::Refused(match error {
            MembershipError::NotLeader => return Self::LedElsewhere,
            MembershipError::InProgress => AdminRefusal::Precondition(error.to_string()),
            MembershipError::Invalid(text) => AdminRefusal::Invalid(text),
            MembershipError::Unknown => AdminRefusal::Unknown,
        })
    }
}

impl<D: Disk> MembershipService<D> {
    /// For the node that is reached at `own`.
    #[must_use]
    pub fn new(
        replica: Rc<Replica<D>>,
        introductions: Rc<dyn Introductions>,
        own: Address,
    ) -> Self {
        Self { replica, introductions, own, one_change: Mutex::new(()) }
    }

    /// Makes the changes that serving cores ask for, for as long as it is polled.
    pub async fn serve(self: Rc<Self>, control: Arc<Control>) {
        loop {
            let (request, answer) = control.take_admin().await;
            let service = Rc::clone(&self);
            cores::spawn(async move {
                // Its client may have gone.
                let _ = answer.send(service.admin(request).await);
            });
        }
    }

    /// Does what is to be done about members without being asked, for as long as it is
    /// polled.
    pub async fn reconcile(self: Rc<Self>) {
        reconcile::reconcile(&self).await;
    }

    /// Answers a node that was asked for a change and takes this one for the leader.
    pub async fn answer(&self, request: &AdminRequest) -> Answer {
        match self.change(request).await {
            Ok(id) => Answer::Changed(id),
            Err(Rejected::Refused(refusal)) => Answer::Refused(refusal),
            Err(Rejected::LedElsewhere) => Answer::NotLeader,
        }
    }

    /// Has the members changed, by whoever leads; says which member that concerned.
    async fn admin(&self, request: AdminRequest) -> Result<NodeId, AdminRefusal> {
        let end = cores::now() + CHANGE_WAIT;
        loop {
            match self.replica.leadership() {
                Leadership::Here => match self.change(&request).await {
                    Ok(id) => return Ok(id),
                    Err(Rejected::Refused(refusal)) => return Err(refusal),
                    Err(Rejected::LedElsewhere) => {}
                },
                Leadership::At(id, address) => {
                    let channel = self.replica.channel(id, Lane::Admin, &address);
                    let message = Request::Admin(request.clone());
                    match channel.call(&message, Bytes::new(), ADMIN_ANSWER).await {
                        Ok((Answer::Changed(id), _)) => return Ok(id),
                        Ok((Answer::Refused(refusal), _)) => return Err(refusal),
                        Ok((Answer::NotLeader, _)) | Err(CallError::NotSent(_)) => {}
                        Ok(_) | Err(CallError::Lost) => return Err(AdminRefusal::Unknown),
                    }
                }
                Leadership::Unknown => {}
            }
            if cores::now() >= end {
                return Err(AdminRefusal::NoLeader);
            }
            cores::sleep(MEMBERS_RETRY).await;
        }
    }

    /// Changes the members, which this node must lead.
    async fn change(&self, request: &AdminRequest) -> Result<NodeId, Rejected> {
        let Some(_one) = cores::within(CHANGE_TURN, self.one_change.lock()).await else {
            let text = "another change of the cluster is under way".to_owned();
            return Err(AdminRefusal::Precondition(text).into());
        };
        if self.replica.leadership() != Leadership::Here {
            return Err(Rejected::LedElsewhere);
        }
        match request {
            AdminRequest::Add { address, voter } => add::add(self, address, *voter).await,
            AdminRequest::Change(id, change) => alter::alter(self, *id, change).await.map(|()| *id),
            AdminRequest::Remove(id) => alter::remove(self, *id).await.map(|()| *id),
            AdminRequest::Lead(id) => alter::lead(self, *id).await.map(|()| *id),
        }
    }

    /// Makes a change as soon as the one before is done.
    async fn step<F>(&self, change: impl Fn() -> F) -> Result<(), Rejected>
    where
        F: Future<Output = Result<(), MembershipError>>,
    {
        let end = cores::now() + CHANGE_WAIT;
        loop {
            match change().await {
                Err(MembershipError::InProgress) if cores::now() < end => {
                    cores::sleep(MEMBERS_RETRY).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Asks the node that clients reach at `address` who it is. Whoever named it hears the
    /// same whatever is there.
    async fn who_is(&self, address: &str) -> Result<Introduction, Rejected> {
        let said = self.introductions.who_is(address, INTRODUCTION_ANSWER).await;
        said.map_err(|error| {
            tracing::warn!(address, error, "the node there does not say who it is");
            let text = format!("no node is reached at {address} that says who it is");
            AdminRefusal::Invalid(text).into()
        })
    }

    /// Whether a voter may cease to vote; leadership is handed on first.
    async fn may_cease_to_vote(&self, id: NodeId) -> Result<(), Rejected> {
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
        Err(Rejected::LedElsewhere)
    }

    /// Has voter `to` lead in the place of this node.
    async fn hand_over(&self, to: NodeId) -> Result<(), Rejected> {
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
}
