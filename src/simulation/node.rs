//! One process: a node as the program composes it, on a simulated disk and network.

use std::{cell::RefCell, pin::pin, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

use super::{
    places::{Setup, client_address, cluster_address},
    wire::{Heard, Link, Request},
};
use crate::{
    api::{
        browser::BrowserPolicy,
        introduction::{OverHttp, Question},
        metrics::Metrics,
    },
    base::{held::HeldByNode, ids::NodeId, limits::Limits},
    io::{Dialer, cores, net::Listener, simulated::disk::SimDisk},
    node::{
        Ready, Wiring,
        copy::CopyOf,
        replica::{self, Cause, End, Founding, Settings},
    },
    raft::{Address, Timing},
    serving::{Connections, Core, Places},
};

/// Often enough for what goes wrong with a disk to meet it.
const SCRUB_PERIOD: Duration = Duration::from_secs(5);

/// How many connections a node may have.
pub(super) const PLACES: Places = Places { connections: 64, refusals: 8 };

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

/// What a process has of which clients see nothing.
#[derive(Clone)]
pub struct Inside {
    pub metrics: Arc<Metrics>,
    pub held: Arc<HeldByNode>,
    pub wiring: Wiring,
}

/// What a process is to be.
#[derive(Clone, Debug)]
pub enum Role {
    /// A node of a cluster: without one it asks these to be taken in, or begins one when there are
    /// none.
    Member { join: Vec<String> },
    /// A copy of a history.
    Copy(CopyOf),
}

impl Role {
    /// A node that begins a cluster of its own.
    pub const FOUNDER: Self = Self::Member { join: Vec::new() };
}

/// Runs node `id` on `disk` until it ends, or until `stop`. To be called in its process.
///
/// # Panics
/// When a copy begins anew for damage although `is_sound` says that there was none.
pub async fn run(
    id: NodeId,
    setup: Setup,
    disk: SimDisk,
    role: Role,
    stop: Rc<Notify>,
    inside: Rc<RefCell<Option<Inside>>>,
    is_sound: bool,
) -> Exit {
    let (address, cluster_address) = (client_address(id), cluster_address(id));
    let (join, copy) = match role {
        Role::Member { join } => (join, None),
        Role::Copy(of) => (Vec::new(), Some(of)),
    };
    let cluster = copy
        .is_none()
        .then(|| Listener::simulated(&cluster_address).expect("nobody else has the address"));
    let address = Address { address, cluster_address, votes: setup.votes };
    let founding = if join.is_empty() { Founding::Now } else { Founding::No };
    let settings = Settings {
        founding,
        address,
        timing: Timing::default(),
        segment_bytes: setup.segment_bytes,
        retention: setup.retention,
        scrub_period: SCRUB_PERIOD,
        join,
        dialer: Dialer::default(),
        copy,
    };
    let wiring = Wiring::new(setup.cores);
    let introductions = Rc::new(OverHttp(ask));
    let starting = replica::start(disk, settings, wiring.clone(), cluster, introductions);
    let (mut running, ready) = match select(pin!(starting), pin!(stop.notified())).await {
        Either::Left((Ok(started), _)) => started,
        Either::Left((Err(error), _)) => return Exit::NotStarted(error.to_string()),
        // There is nothing to finish.
        Either::Right(_) => return Exit::Stopped,
    };
    let has_begun_anew = replica::has_begun_anew(&client_address(id));
    assert!(!(has_begun_anew && is_sound), "copy {id} begins anew, and nothing was damaged");
    let own = Inside {
        metrics: Arc::default(),
        held: Arc::new(HeldByNode::new(Limits::default().held_bytes)),
        wiring,
    };
    let serving = serve(id, setup.cores, &own, &ready);
    inside.replace(Some(own));
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
fn serve(id: NodeId, cores: usize, inside: &Inside, ready: &Ready) -> Vec<cores::JoinHandle<()>> {
    let address = client_address(id);
    let listener = Listener::simulated(&address).expect("nobody else has the address");
    let listener = Rc::new(listener);
    let browsers = Arc::new(BrowserPolicy::new(&[&address], &[], &[]));
    let limits = Arc::new(Limits { connections: PLACES.connections, ..Limits::default() });
    let connections = Arc::new(Connections::new(PLACES));
    let Inside { metrics, held, wiring } = inside;
    let core = |number| Core {
        node: wiring.handle(number, ready.clone()),
        listener: Rc::clone(&listener),
        limits: Arc::clone(&limits),
        held: Arc::clone(held),
        access: Arc::default(),
        browsers: Arc::clone(&browsers),
        audit: Arc::default(),
        metrics: Arc::clone(metrics),
        connections: Arc::clone(&connections),
        tls: None,
    };
    (0..cores).map(|number| cores::spawn(core(number).run())).collect()
}

/// Asks another node, over the streams of the simulation.
async fn ask(question: Question) -> Result<String, String> {
    let Question { address, path, body, limit } = question;
    let request = match body {
        None => Request::get(path.to_owned()),
        Some(body) => Request::with_body("POST", path.to_owned(), body),
    };
    let mut link = Link::new(address);
    let heard = cores::within(limit, link.ask(&request)).await;
    link.close();
    match heard {
        Some(Heard::Answer(answer)) if answer.status < 300 => Ok(answer.body),
        Some(Heard::Answer(answer)) => Err(format!("it answers {}", answer.status)),
        other => Err(format!("{other:?}")),
    }
}
