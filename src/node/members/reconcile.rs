//! What is done about members without being asked: those vote that are to, and where this
//! node is reached is known.

use std::rc::Rc;

use bytes::Bytes;

use super::service::MembershipService;
use crate::{
    base::timing::{INTRODUCTION_ANSWER, RECONCILE_PERIOD},
    io::{Disk, cores},
    raft::{
        Address, Leadership,
        peer::{AdminRequest, Answer, Change, Lane, Request},
    },
};

/// Does that for as long as it is polled; `own` is where this node is reached.
pub async fn reconcile<D: Disk>(service: Rc<MembershipService<D>>, own: Address) {
    loop {
        cores::sleep(RECONCILE_PERIOD).await;
        make_address_known(&service, &own).await;
        if service.replica().leadership() == Leadership::Here
            && let Some(_turn) = service.try_turn()
            && let Err(error) = service.replica().reconcile().await
        {
            tracing::debug!(%error, "the members are not all that they are to be yet");
        }
    }
}

async fn make_address_known<D: Disk>(service: &MembershipService<D>, own: &Address) {
    let replica = service.replica();
    let (id, members) = (replica.id(), replica.members());
    let Some((known, _)) = members.get(&id) else { return };
    let Address { address, cluster_address, .. } = own.clone();
    if (&known.address, &known.cluster_address) == (&address, &cluster_address) {
        return;
    }
    let change = Change {
        address: Some(address),
        cluster_address: Some(cluster_address),
        ..Change::default()
    };
    let request = AdminRequest::Change(id, change);
    if replica.is_led() {
        if let Err(refusal) = service.admin(request).await {
            tracing::debug!(?refusal, "this node's address is not known yet");
        }
        return;
    }
    // A leader that does not know where this node is cannot tell it that it leads.
    for (&other, (known, _)) in members.iter().filter(|(other, _)| **other != id) {
        let channel = replica.channel(other, Lane::Admin, &known.cluster_address);
        let message = Request::Admin(request.clone());
        let called = channel.call(&message, Bytes::new(), INTRODUCTION_ANSWER).await;
        if let Ok((Answer::Changed(_), _)) = called {
            return;
        }
    }
}
