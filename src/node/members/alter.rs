//! A member is changed, taken out, or made the leader.

use bytes::Bytes;

use super::leader::{MembershipLeader, Rejected};
use crate::{
    base::{
        ids::NodeId,
        timing::{INTRODUCTION_ANSWER, MEMBERS_RETRY, TAKE_OVER},
    },
    io::{Disk, cores},
    raft::peer::{AdminRefusal, Change, Lane, Request},
};

/// Changes where member `id` is reached, and whether it votes.
pub(super) async fn alter<D: Disk>(
    leader: &MembershipLeader<D>,
    id: NodeId,
    change: &Change,
) -> Result<(), Rejected> {
    let members = leader.replica.members();
    let Some((known, is_voter)) = members.get(&id) else {
        return Err(AdminRefusal::NotFound(id).into());
    };
    let mut wanted = known.clone();
    if let Some(votes) = change.voter {
        wanted.votes = votes;
        if !votes && *is_voter {
            leader.may_cease_to_vote(id).await?;
        }
    }
    if let Some(address) = &change.address {
        wanted.address.clone_from(address);
        if change.cluster_address.is_none() {
            wanted.cluster_address = cluster_address_of(leader, id, address).await?;
        }
    }
    if let Some(address) = &change.cluster_address {
        wanted.cluster_address.clone_from(address);
    }
    if wanted != *known || (wanted.votes != *is_voter && !wanted.votes) {
        leader.step(|| leader.replica.set(id, wanted.clone())).await?;
        tracing::info!(id, address = wanted.address, votes = wanted.votes, "a member changes");
    }
    Ok(())
}

/// Where other nodes reach the member that clients reach at `address`.
async fn cluster_address_of<D: Disk>(
    leader: &MembershipLeader<D>,
    id: NodeId,
    address: &str,
) -> Result<String, Rejected> {
    let introduction = leader.who_is(address).await?;
    let own = leader.replica.log().identity().cluster;
    if introduction.cluster != own || introduction.node != id {
        let text = format!("the node at {address} is not member {id} of this cluster");
        return Err(AdminRefusal::Invalid(text).into());
    }
    Ok(introduction.cluster_address())
}

/// Takes member `id` out.
pub(super) async fn remove<D: Disk>(
    leader: &MembershipLeader<D>,
    id: NodeId,
) -> Result<(), Rejected> {
    let members = leader.replica.members();
    let Some((known, is_voter)) = members.get(&id) else {
        return Err(AdminRefusal::NotFound(id).into());
    };
    if *is_voter {
        leader.may_cease_to_vote(id).await?;
    }
    leader.step(|| leader.replica.remove(id)).await?;
    tracing::info!(id, address = known.address, "a member was removed");
    // It stops as soon as it knows; if it is down, it learns it later.
    let channel = leader.replica.channel_apart(id, Lane::Control, &known.cluster_address);
    cores::spawn(async move {
        let _ = channel.call(&Request::Removed, Bytes::new(), INTRODUCTION_ANSWER).await;
    });
    Ok(())
}

/// Has member `id` lead.
pub(super) async fn lead<D: Disk>(
    leader: &MembershipLeader<D>,
    id: NodeId,
) -> Result<(), Rejected> {
    let precondition = |text| Err(AdminRefusal::Precondition(text).into());
    match leader.replica.members().get(&id) {
        None => return Err(AdminRefusal::NotFound(id).into()),
        Some((_, false)) => return precondition(format!("member {id} does not vote")),
        Some(_) if id == leader.replica.id() => return Ok(()),
        Some(_) => {}
    }
    match leader.replica.ailment_of(id).await {
        Some(None) if !gets_close(leader, id).await => {
            precondition(format!("member {id} lacks too much of the log to lead yet"))
        }
        Some(None) => leader.hand_over(id).await,
        Some(Some(ailment)) => precondition(format!("member {id} cannot lead: {ailment}")),
        None => precondition(format!("member {id} does not answer")),
    }
}

/// Whether a voter has almost all of the log, or does in a moment, as after an election.
async fn gets_close<D: Disk>(leader: &MembershipLeader<D>, id: NodeId) -> bool {
    let close = async {
        while !leader.replica.is_close(id) {
            cores::sleep(MEMBERS_RETRY).await;
        }
    };
    cores::within(TAKE_OVER, close).await.is_some()
}
