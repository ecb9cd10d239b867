//! The node as a member of a cluster: it serves the other nodes, has the
//! cluster changed by whoever leads it, and asks to be taken in where it is to
//! join one.

use std::{net::TcpListener, rc::Rc, sync::Arc};

use tokio::sync::mpsc;

use super::{
    config::Role,
    introductions::OverHttp,
    run::{ServerError, Shared},
};
use crate::{
    io::{cores, net::Listener, real::disk::GlommioDisk},
    node::{
        ForwardedWrites,
        members::{self, Adopted, Adoptions, Applicant, Introductions, MembershipService},
        peers::PeerService,
    },
    raft::Replica,
};

/// Starts everything that is about other nodes; they connect to `listener`.
/// Says when this node is to become a member of another cluster.
pub(super) fn start(
    replica: &Rc<Replica<GlommioDisk>>,
    shared: &Shared,
    listener: Option<TcpListener>,
) -> Result<mpsc::Receiver<Adopted>, ServerError> {
    let introductions: Rc<dyn Introductions> = Rc::new(OverHttp);
    let own = shared.address.clone();
    let service =
        Rc::new(MembershipService::new(Rc::clone(replica), Rc::clone(&introductions), own));
    let forwarded =
        ForwardedWrites::new(Arc::clone(&shared.inbox), &shared.fanout, Rc::clone(replica));
    let forwarded = Rc::new(forwarded);
    let (adoptions, adopted) = Adoptions::new(Rc::clone(replica));
    if let Some(listener) = listener {
        let listener = Listener::new(listener)
            .map_err(|error| ServerError::System("cannot use the cluster port", error))?;
        let (forwarded, service) = (Rc::clone(&forwarded), Rc::clone(&service));
        let peers = PeerService::new(Rc::clone(replica), forwarded, service, adoptions);
        cores::spawn(peers.run(listener));
    }
    cores::spawn(async move { forwarded.run().await });
    let (control, reading) = (Arc::clone(&shared.control), Rc::clone(replica));
    cores::spawn(async move { control.run_reads(reading).await });
    cores::spawn(Rc::clone(&service).serve(Arc::clone(&shared.control)));
    cores::spawn(service.reconcile());
    let places = shared.config.join.clone();
    if !places.is_empty() {
        let voter = shared.config.role == Role::Voter;
        let applicant = Applicant { address: shared.address.address.clone(), voter };
        cores::spawn(members::join(Rc::clone(replica), introductions, places, applicant));
    }
    Ok(adopted)
}
