//! What is watched as long as a node runs, and noted in its condition for the other cores.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    base::timing::{
        CLAIM_LOOK, CLAIM_PATIENCE, CLUSTER_VIEW_AGE, CLUSTER_VIEW_PAUSE, SEEN_AGAIN, SEEN_ANSWER,
        SEEN_PERIOD,
    },
    io::{Disk, cores},
    log::Identity,
    node::Status,
    raft::{
        Claim, Leadership, Replica,
        peer::{Answer, CallError, Lane, Request},
    },
};

/// Watches everything of `replica` that `status` tells.
pub(super) fn start<D: Disk>(replica: &Rc<Replica<D>>, status: &Arc<Status>, room: &Rc<Notify>) {
    show(replica, status);
    if status.copy().is_none() {
        cores::spawn(note_recovery(Rc::clone(replica), Arc::clone(status)));
    }
    cores::spawn(watch_cluster(Rc::clone(replica), Arc::clone(status)));
    cores::spawn(watch_leaders_view(Rc::clone(replica), Arc::clone(status)));
    cores::spawn(watch_claims(Rc::clone(replica), Arc::clone(status)));
    cores::spawn(watch_failure(Rc::clone(replica), Rc::clone(room), Arc::clone(status)));
}

/// Notes what the node knows of its cluster.
fn show<D: Disk>(replica: &Replica<D>, status: &Status) {
    status.set_ready(replica.is_led() && status.has_recovered());
    status.set_cluster(replica.cluster());
}

/// Notes when this node serves nothing older than it did before.
async fn note_recovery<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    if !status.has_recovered() && replica.recovered().await.is_ok() {
        status.set_recovered();
        show(&replica, &status);
        tracing::info!(last = replica.last_applied(), "caught up with the cluster");
        replica.discard_snapshots().await;
    }
}

/// Keeps what the node tells of its cluster current.
async fn watch_cluster<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    loop {
        show(&replica, &status);
        replica.update_connections();
        // The loss of a leader is no change that is told.
        if cores::within(CLUSTER_VIEW_AGE, replica.cluster_changed()).await == Some(false) {
            return;
        }
        cores::sleep(CLUSTER_VIEW_PAUSE).await;
    }
}

/// Keeps what the leader knows of the members, while another node leads.
async fn watch_leaders_view<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    loop {
        cores::sleep(SEEN_PERIOD).await;
        let Leadership::At(leader, address) = replica.leadership() else {
            status.set_seen(None);
            continue;
        };
        let channel = replica.channel(leader, Lane::Admin, &address);
        match channel.call(&Request::Members, Bytes::new(), SEEN_ANSWER).await {
            Ok((Answer::Members(seen), _)) => status.set_seen(Some((leader, seen))),
            Ok(_) | Err(CallError::NotSent(_)) => status.set_seen(None),
            Err(CallError::Lost) => {
                status.set_seen(None);
                cores::sleep(SEEN_AGAIN).await;
            }
        }
    }
}

/// Notes whether nodes of another cluster take this one for a member of theirs,
/// and says so once they have for a while: a node that is just being taken in is
/// called so by the way.
async fn watch_claims<D: Disk>(replica: Rc<Replica<D>>, status: Arc<Status>) {
    let mut said: Option<Identity> = None;
    loop {
        let claim = replica.claim();
        status.set_claimed(claim.is_some());
        match claim {
            Some(Claim { member, since, .. })
                if said != Some(member) && cores::elapsed(since) > CLAIM_PATIENCE =>
            {
                let Identity { cluster, node } = member;
                tracing::warn!(
                    node,
                    %cluster,
                    own = %replica.log().identity().cluster,
                    "nodes of another cluster call this one as their member: it takes no writes; \
                     its data directory is new, or not the one that belongs here"
                );
                said = Some(member);
            }
            Some(_) => {}
            None => {
                if said.take().is_some() {
                    tracing::info!(
                        "nobody calls this node as a member of another cluster any more"
                    );
                }
                replica.claim_noted().await;
                continue;
            }
        }
        cores::sleep(CLAIM_LOOK).await;
    }
}

/// Notes when Raft stops by itself: nothing is acknowledged any more.
async fn watch_failure<D: Disk>(replica: Rc<Replica<D>>, room: Rc<Notify>, status: Arc<Status>) {
    if let Some(reason) = replica.failed().await {
        tracing::error!(reason, "consensus stopped; this node acknowledges nothing more");
        status.set_failed();
        room.notify_one();
    }
}
