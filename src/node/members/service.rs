//! Changes of the members that are asked for, here or by another node.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    add, alter,
    introductions::Introductions,
    leader::{MembershipLeader, Rejected},
};
use crate::{
    base::{
        ids::NodeId,
        timing::{ADMIN_ANSWER, CHANGE_TURN, CHANGE_WAIT, MEMBERS_RETRY},
    },
    io::{Disk, cores},
    node::Control,
    raft::{
        Leadership, Replica,
        peer::{AdminRefusal, AdminRequest, Answer, CallError, Lane, Request},
    },
};

/// Changes the members, as long as this node leads, and hands changes to the leader
/// otherwise.
pub struct MembershipService<D: Disk> {
    leader: MembershipLeader<D>,
    /// Held while the members are changed: one change at a time.
    one_change: Mutex<()>,
}

impl<D: Disk> MembershipService<D> {
    /// For the node of `replica`, which asks strangers by `introductions`.
    #[must_use]
    pub fn new(replica: Rc<Replica<D>>, introductions: Rc<dyn Introductions>) -> Self {
        let leader = MembershipLeader::new(replica, introductions);
        Self { leader, one_change: Mutex::new(()) }
    }

    pub(super) fn replica(&self) -> &Rc<Replica<D>> {
        &self.leader.replica
    }

    /// The right to change the members, unless somebody does.
    pub(super) fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.one_change.try_lock().ok()
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

    /// Answers a node that was asked for a change and takes this one for the leader.
    pub async fn answer(&self, request: &AdminRequest) -> Answer {
        match self.change(request).await {
            Ok(id) => Answer::Changed(id),
            Err(Rejected::Refused(refusal)) => Answer::Refused(refusal),
            Err(Rejected::LedElsewhere) => Answer::NotLeader,
        }
    }

    /// Has the members changed, by whoever leads; says which member that concerned.
    pub(super) async fn admin(&self, request: AdminRequest) -> Result<NodeId, AdminRefusal> {
        let end = cores::now() + CHANGE_WAIT;
        loop {
            match self.leader.replica.leadership() {
                Leadership::Here => match self.change(&request).await {
                    Ok(id) => return Ok(id),
                    Err(Rejected::Refused(refusal)) => return Err(refusal),
                    Err(Rejected::LedElsewhere) => {}
                },
                Leadership::At(id, address) => {
                    let channel = self.leader.replica.channel(id, Lane::Admin, &address);
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
        if self.leader.replica.leadership() != Leadership::Here {
            return Err(Rejected::LedElsewhere);
        }
        match request {
            AdminRequest::Add { address, voter } => add::add(&self.leader, address, *voter).await,
            AdminRequest::Change(id, change) => {
                alter::alter(&self.leader, *id, change).await.map(|()| *id)
            }
            AdminRequest::Remove(id) => alter::remove(&self.leader, *id).await.map(|()| *id),
            AdminRequest::Lead(id) => alter::lead(&self.leader, *id).await.map(|()| *id),
        }
    }
}
