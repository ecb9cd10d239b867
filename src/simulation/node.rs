//! One process: a node as the program composes it, on a simulated disk and network.

use std::{pin::pin, rc::Rc, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, LocalBoxFuture, select},
};
use serde::Deserialize;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    places::{Setup, client_address, cluster_address},
    wire::{Heard, Link, Request},
};
use crate::{
    api::{browser::BrowserPolicy, metrics::Metrics},
    base::{
        held::HeldByNode,
        ids::{ClusterId, NodeId},
        limits::Limits,
    },
    io::{cores, net::Listener, simulated::disk::SimDisk},
    node::{
        Ready, Wiring,
        members::{Applicant, Introduction, Introductions},
        replica::{self, Cause, End, Settings},
    },
    raft::{Address, Timing},
    serving::{Connections, Core, Places},
};

/// How many connections a node may have.
const PLACES: Places = Places { connections: 64, refusals: 8 };

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was told to, or removed.
    Stopped,
    /// It is to go on as another.
    Again,
    /// It did not start.
    NotStarted(String),
    /// It did not come to an end in order.
    NotStopped(String),
}

/// Runs node `id` on `disk` until it ends, or until `stop`; without a cluster it asks those
/// of `join` to be taken in, or begins one when there are none. To be called in its process.
pub async fn run(
    id: NodeId,
    setup: Setup,
    disk: SimDisk,
    join: Vec<String>,
    stop: Rc<Notify>,
) -> Exit {
    let (address, cluster_address) = (client_address(id), cluster_address(id));
    let cluster = Listener::simulated(&cluster_address).expect("nobody else has the address");
    let address = Address { address, cluster_address, votes: setup.votes };
    let settings = Settings {
        address,
        timing: Timing::default(),
        segment_bytes: setup.segment_bytes,
        retention: setup.retention,
        join,
    };
    let wiring = Wiring::new(setup.cores);
    let introductions = Rc::new(OverHttp);
    let started =
        replica::start(disk, settings, wiring.clone(), Some(cluster), introductions).await;
    let (mut running, ready) = match started {
        Ok(started) => started,
        Err(error) => return Exit::NotStarted(error.to_string()),
    };
    let serving = serve(id, setup.cores, &wiring, &ready);
    let cause = match select(pin!(running.ended()), pin!(stop.notified())).await {
        Either::Left((cause, _)) => cause,
        Either::Right(_) => Cause::Told,
    };
    running.hand_over(cause).await;
    let served = async {
        for core in serving {
            core.await;
        }
    };
    match running.stop(cause, served).await {
        Ok(End::Stop) => Exit::Stopped,
        Ok(End::Again) => Exit::Again,
        Err(error) => Exit::NotStopped(error.to_string()),
    }
}

/// Starts the serving cores of node `id`, which share one listener.
fn serve(id: NodeId, cores: usize, wiring: &Wiring, ready: &Ready) -> Vec<cores::JoinHandle<()>> {
    let address = client_address(id);
    let listener = Listener::simulated(&address).expect("nobody else has the address");
    let listener = Rc::new(listener);
    let browsers = Arc::new(BrowserPolicy::new(&[&address], &[], &[]));
    let limits = Arc::new(Limits { connections: PLACES.connections, ..Limits::default() });
    let held = Arc::new(HeldByNode::new(limits.held_bytes));
    let (connections, metrics) = (Arc::new(Connections::new(PLACES)), Arc::new(Metrics::default()));
    let core = |number| Core {
        node: wiring.handle(number, ready.clone()),
        listener: Rc::clone(&listener),
        limits: Arc::clone(&limits),
        held: Arc::clone(&held),
        browsers: Arc::clone(&browsers),
        metrics: Arc::clone(&metrics),
        connections: Arc::clone(&connections),
    };
    (0..cores).map(|number| cores::spawn(core(number).run())).collect()
}

/// What nodes ask strangers, over the streams of the simulation.
struct OverHttp;

#[derive(Deserialize)]
struct Cluster {
    cluster: Uuid,
    node: NodeId,
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    id: NodeId,
    cluster_address: String,
}

impl Introductions for OverHttp {
    fn who_is(
        &self,
        address: &str,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<Introduction, String>> {
        let request = Request::get("/cluster".to_owned());
        let asked = ask(address.to_owned(), request, limit);
        async move {
            let said: Cluster =
                serde_json::from_str(&asked.await?).map_err(|error| error.to_string())?;
            let cluster_addresses =
                said.members.into_iter().map(|member| (member.id, member.cluster_address));
            Ok(Introduction {
                cluster: ClusterId(said.cluster),
                node: said.node,
                cluster_addresses: cluster_addresses.collect(),
            })
        }
        .boxed_local()
    }

    fn ask_to_be_taken_in(
        &self,
        address: &str,
        applicant: &Applicant,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        let role = if applicant.voter { "voter" } else { "learner" };
        let body = format!(r#"{{"address":"{}","role":"{role}"}}"#, applicant.address);
        let request = Request::with_body("POST", "/cluster/members".to_owned(), body);
        let asked = ask(address.to_owned(), request, limit);
        async move { asked.await.map(drop) }.boxed_local()
    }
}

async fn ask(address: String, request: Request, limit: Duration) -> Result<String, String> {
    let mut link = Link::new(address);
    let heard = cores::within(limit, link.ask(&request)).await;
    link.close();
    match heard {
        Some(Heard::Answer(answer)) if answer.status < 300 => Ok(answer.body),
        Some(Heard::Answer(answer)) => Err(format!("it answers {}", answer.status)),
        other => Err(format!("{other:?}")),
    }
}
