//! What a change of the members is made of, on the node that leads.

use std::rc::Rc;

use super::introductions::{Introduction, Introductions};
use crate::{
    base::{
        ids::NodeId,
        timing::{CHANGE_WAIT, INTRODUCTION_ANSWER, MEMBERS_RETRY, TAKE_OVER},
    },
    io::{Disk, cores},
    raft::{Ailment, Leadership, MembershipError, Replica, peer::AdminRefusal},
};

/// The node as the leader of a cluster whose members change.
pub(super) struct MembershipLeader<D: Disk> {
    pub(super) replica: Rc<Replica<D>>,
    introductions: Rc<dyn Introductions>,
}

/// Why a change was not made by this node.
pub(super) enum Rejected {
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

impl<D: Disk> MembershipLeader<D> {
    pub(super) fn new(replica: Rc<Replica<D>>, introductions: Rc<dyn Introductions>) -> Self {
        Self { replica, introductions }
    }

    /// Makes a change as soon as the one before is done.
    pub(super) async fn step<F>(&self, change: impl Fn() -> F) -> Result<(), Rejected>
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
    pub(super) async fn who_is(&self, address: &str) -> Result<Introduction, Rejected> {
        let said = self.introductions.who_is(address, INTRODUCTION_ANSWER).await;
        said.map_err(|error| {
            tracing::warn!(address, error, "the node there does not say who it is");
            let text = format!("no node answers at {address}");
            AdminRefusal::Invalid(text).into()
        })
    }

    /// Whether a voter may cease to vote; leadership is handed on first.
    pub(super) async fn may_cease_to_vote(&self, id: NodeId) -> Result<(), Rejected> {
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
    pub(super) async fn hand_over(&self, to: NodeId) -> Result<(), Rejected> {
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
