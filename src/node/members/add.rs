//! A node is taken in: it is asked who it is and whether it would, gets a number, and is
//! told whom it is to be.

use bytes::Bytes;

use super::{
    introductions::Introduction,
    leader::{MembershipLeader, Rejected},
};
use crate::{
    base::{
        ids::{ClusterId, NodeId},
        timing::{ADOPTION_ANSWER, ADOPTION_WAIT, CHANGE_WAIT, MEMBERS_RETRY},
    },
    io::{Disk, cores},
    raft::{
        Address,
        peer::{AdminRefusal, Adoption, Answer, Lane, Request},
    },
};

/// Takes in the empty node that clients reach at `address`; says under which number.
pub(super) async fn add<D: Disk>(
    leader: &MembershipLeader<D>,
    address: &str,
    voter: bool,
) -> Result<NodeId, Rejected> {
    let replica = &leader.replica;
    let introduction = leader.who_is(address).await?;
    let cluster_address = introduction.cluster_address();
    if cluster_address.is_empty() {
        let text = format!("the node at {address} has no cluster port: start it with one");
        return Err(AdminRefusal::Invalid(text).into());
    }
    let here = Address { address: address.to_owned(), cluster_address, votes: voter };
    if let Some(id) = known_already(leader, &introduction, &here).await? {
        return Ok(id);
    }
    let who = (introduction.cluster, introduction.node);
    ask_to_join(leader, who, None, &here).await?;
    remove_predecessor(leader, &here).await?;
    // Numbers that are given must be in the log, and all that are there known.
    if cores::within(CHANGE_WAIT, replica.leader_barrier()).await.flatten().is_none() {
        return Err(Rejected::LedElsewhere);
    }
    let id = replica.next_id();
    tracing::info!(id, address, voter, "a node is taken in");
    leader.step(|| replica.add(id, here.clone())).await?;
    if let Err(error) = adopt(leader, who, id, &here).await {
        tracing::warn!(id, address, "the node did not become a member and is taken out again");
        leader.step(|| replica.remove(id)).await?;
        return Err(error);
    }
    Ok(id)
}

/// The number of the node that introduces itself, if it was taken in before; it votes from
/// then on if it is to.
async fn known_already<D: Disk>(
    leader: &MembershipLeader<D>,
    introduction: &Introduction,
    here: &Address,
) -> Result<Option<NodeId>, Rejected> {
    let (replica, id) = (&leader.replica, introduction.node);
    let members = replica.members();
    let known =
        members.get(&id).filter(|_| introduction.cluster == replica.log().identity().cluster);
    let Some((known, _)) = known else { return Ok(None) };
    if known.cluster_address != here.cluster_address {
        let address = &here.address;
        let text = format!("the node at {address} says to be member {id}, which is elsewhere");
        return Err(AdminRefusal::Precondition(text).into());
    }
    if here.votes && !known.votes {
        let votes = Address { votes: true, ..known.clone() };
        leader.step(|| replica.set(id, votes.clone())).await?;
    }
    Ok(Some(id))
}

/// Takes out whoever was in that place before: it has lost its data directory.
async fn remove_predecessor<D: Disk>(
    leader: &MembershipLeader<D>,
    here: &Address,
) -> Result<(), Rejected> {
    let members = leader.replica.members();
    let gone = members.iter().find(|(_, (known, _))| {
        known.address == here.address || known.cluster_address == here.cluster_address
    });
    if let Some((&gone, _)) = gone {
        leader.may_cease_to_vote(gone).await?;
        leader.step(|| leader.replica.remove(gone)).await?;
        let address = &here.address;
        tracing::warn!(gone, address, "a member is replaced by the empty node in its place");
    }
    Ok(())
}

/// Asks the empty node `who` at that address to become node `id` of this cluster, or
/// without one, whether it would.
async fn ask_to_join<D: Disk>(
    leader: &MembershipLeader<D>,
    who: (ClusterId, NodeId),
    id: Option<NodeId>,
    at: &Address,
) -> Result<(), Rejected> {
    let log = leader.replica.log();
    let entry_bytes_max = log.payload_bytes_max() as u64;
    let cluster = log.identity().cluster;
    let adoption = Adoption { who, cluster, node: id, entry_bytes_max };
    let channel = leader.replica.channel_apart(who.1, Lane::Adoption, &at.cluster_address);
    let answer = channel.call(&Request::Adopt(adoption), Bytes::new(), ADOPTION_ANSWER).await;
    match answer {
        Ok((Answer::Done, _)) => Ok(()),
        Ok((Answer::Refused(refusal), _)) => Err(refusal.into()),
        Ok((other, _)) => Err(not_joining(at, &format!("{other:?}"))),
        Err(error) => Err(not_joining(at, &error.to_string())),
    }
}

/// Has the empty node `who` at that address become node `id` of this cluster.
async fn adopt<D: Disk>(
    leader: &MembershipLeader<D>,
    who: (ClusterId, NodeId),
    id: NodeId,
    at: &Address,
) -> Result<(), Rejected> {
    ask_to_join(leader, who, Some(id), at).await?;
    let end = cores::now() + ADOPTION_WAIT;
    let channel = leader.replica.channel_apart(id, Lane::Control, &at.cluster_address);
    loop {
        match channel.connect().await {
            Ok(()) => return Ok(()),
            Err(error) if cores::now() >= end => return Err(not_joining(at, &error.to_string())),
            Err(_) => cores::sleep(MEMBERS_RETRY).await,
        }
    }
}

/// What whoever named the address hears of a node that cannot be had at its cluster
/// address, which is the same whatever is there.
fn not_joining(at: &Address, error: &str) -> Rejected {
    let Address { address, cluster_address, .. } = at;
    tracing::warn!(address, cluster_address, error, "the node does not become a member");
    let text = format!(
        "the node at {address} does not become a member: it is not reached as a node at the \
         cluster address that it names"
    );
    AdminRefusal::Precondition(text).into()
}
