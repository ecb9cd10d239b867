//! The Raft core of a process: a node's replica on the real disk, stopped by signals.

use std::{io, net::TcpListener, pin::pin, rc::Rc, sync::mpsc};

use futures_util::future::{Either, select};
use tokio::sync::mpsc as async_mpsc;

use super::{
    config::Config, context::NodeContext, error::ServerError, introductions, report::Event,
};
use crate::{
    api::introduction::OverHttp,
    base::secret::Secret,
    io::{
        Dialer,
        net::{Callers, Listener},
        real::{disk::RealDisk, executor::spawn_apart, signals::Signals},
    },
    node::{
        Ready,
        replica::{self, Cause, End, Running, Settings, StartError, StopError},
    },
};

/// What stops a node.
pub(super) const SIGNALS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// Runs the Raft core until the node is to stop, or to go on as another. `own`
/// serves on this core, when it is the only one.
pub(super) async fn run<F: Future<Output = ()> + 'static>(
    context: NodeContext,
    cluster: Option<TcpListener>,
    own: Option<impl FnOnce(Ready) -> F>,
    events: &mpsc::Sender<Event>,
    mut serving: async_mpsc::Receiver<()>,
) -> Result<End, ServerError> {
    let signals = Signals::new(&SIGNALS)
        .map_err(|error| ServerError::System("cannot wait for signals", error))?;
    // One wait for as long as the node runs: what a wait that was given up has read is lost.
    let mut told = pin!(stop_signal(&signals));
    let started = unless(start(&context, cluster), told.as_mut()).await;
    // Stopped while it started: there is nothing to finish.
    let Some(started) = started else { return Ok(End::Stop) };
    let (mut running, ready) = started?;

    // The main thread waits for it, or stops already.
    let _ = events.send(Event::Ready(ready.clone()));
    if let Some(own) = own {
        // Raft does not wait behind requests, nor they behind it.
        spawn_apart("serve", own(ready));
    }

    let cause = match select(pin!(running.ended()), told).await {
        Either::Left((cause, _)) => cause,
        Either::Right(_) => Cause::Told,
    };
    running.hand_over(cause).await;
    if cause.end() == End::Stop {
        let _ = events.send(Event::Stopping);
    }
    let served = async { while serving.recv().await.is_some() {} };
    running.stop(cause, served).await.map_err(|error| not_stopped(&context.config, error))
}

async fn start(
    context: &NodeContext,
    cluster: Option<TcpListener>,
) -> Result<(Running<RealDisk>, Ready), ServerError> {
    let config = &context.config;
    let disk = RealDisk::open(&config.data)
        .map_err(|error| ServerError::System("cannot open the data directory", error))?;
    let listener = cluster.map(|socket| Listener::new(socket, Callers::Nodes)).transpose();
    let listener =
        listener.map_err(|error| ServerError::System("cannot use the cluster port", error))?;
    let settings = Settings {
        address: context.address.clone(),
        timing: config.timing,
        segment_bytes: config.segment_bytes,
        retention: config.retention,
        scrub_period: config.scrub_period,
        founding: config.founding.founding(config.cluster_listen.is_some()),
        join: config.join.clone(),
        dialer: Dialer::new(context.tls.nodes.clone()),
        copy: config.copy.clone(),
    };
    let own = introductions::AsClient {
        token: config.root_token.as_ref().map(Secret::between_nodes),
        tls: context.tls.introductions.clone(),
    };
    let ask = move |question| introductions::ask(question, own.clone());
    let (wiring, introductions) = (context.wiring.clone(), Rc::new(OverHttp(ask)));
    replica::start(disk, settings, wiring, listener, introductions)
        .await
        .map_err(|error| not_started(config, error))
}

/// The directory of a node, as it is shown.
fn directory(config: &Config) -> String {
    config.data.display().to_string()
}

fn not_started(config: &Config, error: StartError) -> ServerError {
    match error {
        StartError::Checkpoint(error) if error.kind() == io::ErrorKind::InvalidData => {
            ServerError::Rotten(directory(config), error)
        }
        error => not_started_on(directory(config), error),
    }
}

/// Why a node does not start on that directory.
pub(super) fn not_started_on(directory: String, error: StartError) -> ServerError {
    match error {
        StartError::Log(error) => ServerError::Open(directory, error),
        StartError::Checkpoint(error) => ServerError::Checkpoint(directory, error),
        StartError::Halted(why) => ServerError::Halted(directory, why),
        StartError::Backup => ServerError::Backup(directory),
        StartError::NoCluster => ServerError::NoCluster(directory),
        StartError::Copy => ServerError::Copy(directory),
        StartError::NoCopy => ServerError::NoCopy(directory),
        StartError::Unusable(why) => ServerError::Executor(why),
        StartError::Raft(error) => ServerError::Raft(error),
        StartError::NotInTime => ServerError::Executor(error.to_string()),
    }
}

fn not_stopped(config: &Config, error: StopError) -> ServerError {
    match error {
        StopError::NotClosed(error) => ServerError::System("the log was not closed cleanly", error),
        StopError::NotInTime(limit) => ServerError::Stop(limit),
        StopError::NotReplaced(error) => ServerError::Open(directory(config), error),
        StopError::NotBegun(error) => ServerError::System("the log was not begun", error),
    }
}

async fn stop_signal(signals: &Signals) {
    if let Err(error) = signals.recv().await {
        tracing::error!(%error, "cannot wait for signals");
    }
}

/// Resolves with `a`, or with `None` when `b` is done first.
async fn unless<T, U>(a: impl Future<Output = T>, b: impl Future<Output = U>) -> Option<T> {
    match select(pin!(a), pin!(b)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
