//! An empty node that another cluster takes in: it becomes a member there, if it has
//! nothing to lose.

use std::rc::Rc;

use tokio::sync::mpsc;

use crate::{
    base::ids::{ClusterId, NodeId},
    io::Disk,
    raft::{
        Replica,
        peer::{AdminRefusal, Adoption, Answer},
    },
};

/// Whom this node is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The cluster that it is to belong to.
    pub cluster: ClusterId,
    /// Its number there.
    pub node: NodeId,
}

/// Decides whether this node becomes a member of another cluster.
pub struct Adoptions<D: Disk> {
    replica: Rc<Replica<D>>,
    accepted: mpsc::Sender<Adopted>,
}

impl<D: Disk> Adoptions<D> {
    /// Also gives what says whom the node is to become, once that is decided.
    #[must_use]
    pub fn new(replica: Rc<Replica<D>>) -> (Self, mpsc::Receiver<Adopted>) {
        let (accepted, decided) = mpsc::channel(1);
        (Self { replica, accepted }, decided)
    }

    /// What else may say whom the node is to become.
    #[must_use]
    pub fn accepted(&self) -> mpsc::Sender<Adopted> {
        self.accepted.clone()
    }

    /// Answers a cluster that wants this node.
    #[must_use]
    pub fn consider(&self, adoption: &Adoption) -> Answer {
        let refuse = |text: &str| Answer::Refused(AdminRefusal::Precondition(text.to_owned()));
        if let Some(why) = self.refusal(adoption) {
            return refuse(why);
        }
        let Some(node) = adoption.node else { return Answer::Done };
        // One before is being obeyed already.
        match self.accepted.try_send(Adopted { cluster: adoption.cluster, node }) {
            Ok(()) => Answer::Done,
            Err(_) => refuse("the node there becomes a member already"),
        }
    }

    fn refusal(&self, adoption: &Adoption) -> Option<&'static str> {
        let own = self.replica.log().identity();
        if adoption.who != (own.cluster, own.node) {
            Some("another node than that is reached there")
        } else if adoption.cluster == own.cluster && self.replica.is_member() {
            Some("the node there is a member of this cluster already")
        } else if !self.replica.is_empty() {
            Some("the node there holds a history of its own")
        } else if (self.replica.log().payload_bytes_max() as u64) < adoption.entry_bytes_max {
            Some("the node there has smaller segments than the cluster: start it with larger ones")
        } else {
            None
        }
    }
}
