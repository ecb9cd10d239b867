//! The Raft core: recovers the log, runs Raft and the sequencer on it, and
//! stops the node in order.

use std::{
    io,
    rc::Rc,
    sync::{Arc, mpsc},
    time::Duration,
};

use glommio::{signal::Signals, timer::Timer};
use tokio::sync::{Notify, mpsc as async_mpsc};

use super::{
    core::unless,
    executor::{queue, spawn_into},
    retention::{self, CheckpointFile},
    run::{News, ServerError, Shared},
};
use crate::{
    base::ids::ClusterId,
    io::{clock::SystemClock, glommio::GlommioDisk, lock::DirectoryLock, map::Mapping},
    log::{Identity, Log, Options, file_name},
    node::{Status, sequencer::Sequencer},
    raft::{Address, Recovered, Replay, Replica},
};

/// What stops a node.
pub(super) const SIGNALS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// How long the only member may take to lead its cluster.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long a stop may take; serving cores cut their connections off before.
const STOP: Duration = Duration::from_millis(9_500);
/// A log without writes for this long has its marks written, so that damage to
/// the last writes is told from a torn tail.
const IDLE: Duration = Duration::from_millis(100);
/// How often at most the view of the cluster is made anew.
const CLUSTER_VIEW: Duration = Duration::from_millis(100);
/// How soon a spare segment is tried again after it could not be made.
const SPARE_RETRY: Duration = Duration::from_millis(500);

/// What serving cores start with.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) recovered: Recovered,
    pub(super) cluster: ClusterId,
}

/// Runs the Raft core until the node is stopped. `own` serves on this core,
/// when it is the only one.
pub(super) async fn run<F: Future<Output = ()> + 'static>(
    shared: Shared,
    own: Option<impl FnOnce(Ready) -> F>,
    lock: &mut DirectoryLock,
    events: &mpsc::Sender<News>,
    mut serving: async_mpsc::Receiver<()>,
) -> Result<(), ServerError> {
    let signals =
        Signals::new(&SIGNALS).map_err(|error| ServerError::Executor(error.to_string()))?;
    let started = unless(start(shared.clone()), stop_signal(&signals)).await;
    // Stopped while it started: there is nothing to finish.
    let Some(started) = started else { return Ok(()) };
    let Started { replica, ready, sequencer } = started?;

    lock.sign();
    shared.status.set_ready(true);
    // The main thread waits for it, or stops already.
    let _ = events.send(News::Ready(ready.clone()));
    if let Some(own) = own {
        // Raft does not wait behind requests, nor they behind it.
        spawn_into(own(ready), queue("serve"))?.detach();
    }

    stop_signal(&signals).await;
    tracing::info!("stopping");
    shared.status.set_ready(false);
    shared.fanout.stop();
    let stop = async {
        while serving.recv().await.is_some() {}
        shared.inbox.close();
        sequencer.await;
        replica.stop().await;
        replica.log().close().await
    };
    match unless(stop, Timer::new(STOP)).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(ServerError::System("the log was not closed cleanly", error)),
        None => Err(ServerError::Stop(STOP)),
    }
}

struct Started {
    replica: Rc<Replica<GlommioDisk>>,
    ready: Ready,
    sequencer: glommio::Task<()>,
}

async fn start(shared: Shared) -> Result<Started, ServerError> {
    let config = &shared.config;
    let directory = config.data.clone();
    let disk = GlommioDisk::new(&directory);
    let options = Options {
        segment_bytes: config.segment_bytes,
        ..Options::new(Identity { cluster: ClusterId(uuid::Uuid::new_v4()), node: 1 })
    };
    let unusable =
        |error: io::Error| ServerError::Checkpoint(directory.display().to_string(), error);
    let (checkpoint, mut replay) = match retention::load(&directory).map_err(unusable)? {
        Some((checkpoint, replay)) => (Some(checkpoint), replay),
        None => (None, Replay::default()),
    };
    let log = Log::open(disk, options, |entry, place| {
        replay.entry(entry, place).map_err(|error| error.to_string())
    })
    .await
    .map_err(|error| ServerError::Open(directory.display().to_string(), error))?;
    check_checkpoint(&log, checkpoint.as_ref()).map_err(unusable)?;
    tracing::info!(directory = %directory.display(), last = ?log.last(), "log recovered");
    glommio::spawn_local(log.run()).detach();
    let room = Rc::new(Notify::new());
    let spare = keep_spare(log.clone(), Rc::clone(&room), Arc::clone(&shared.status));
    glommio::spawn_local(spare).detach();
    glommio::spawn_local(keep_marks(log.clone())).detach();

    let open_mapping = move |name: &str| Mapping::open(&directory.join(name));
    let recovered = replay
        .finish(log.active_segment(), |sequence| open_mapping(&file_name(sequence)))
        .map_err(|error| ServerError::System("cannot map a segment of the log", error))?;
    let address = Address { address: shared.address.to_string(), cluster_address: String::new() };
    let cluster = log.identity().cluster;
    let replica =
        Replica::start(log, replay, shared.fanout.clone(), Box::new(open_mapping), address).await?;
    replica.recovered(RECOVERY).await?;
    let replica = Rc::new(replica);
    if let Some(checkpoint) = &checkpoint {
        replica.finish_purge(checkpoint.log_id).await?;
    }
    if let Some(policy) = config.retention {
        let (into, bytes) = (config.data.clone(), config.segment_bytes);
        let keep = retention::keep(Rc::clone(&replica), policy, into, bytes, checkpoint);
        glommio::spawn_local(keep).detach();
    }
    let sequencer = Sequencer {
        inbox: Arc::clone(&shared.inbox),
        replica: Rc::clone(&replica),
        fanout: shared.fanout.clone(),
        status: Arc::clone(&shared.status),
        clock: SystemClock,
        room: Rc::clone(&room),
    };
    let sequencer = glommio::spawn_local(sequencer.run());
    shared.status.set_cluster(replica.cluster());
    let watch = watch_cluster(Rc::clone(&replica), Arc::clone(&shared.status));
    glommio::spawn_local(watch).detach();
    let watch = watch_failure(Rc::clone(&replica), room, Arc::clone(&shared.status));
    glommio::spawn_local(watch).detach();
    Ok(Started { replica, ready: Ready { recovered, cluster }, sequencer })
}

/// Whether a log goes on from the checkpoint: both must be of one cluster, and
/// nothing may be missing between them.
fn check_checkpoint(log: &Log<GlommioDisk>, checkpoint: Option<&CheckpointFile>) -> io::Result<()> {
    let wrong = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    let purged = log.purged();
    match checkpoint {
        None if purged.is_some() => {
            wrong("its log is purged, and the checkpoint of what was purged is missing")
        }
        Some(checkpoint) if checkpoint.cluster != log.identity().cluster => {
            wrong("its checkpoint is that of another cluster")
        }
        Some(checkpoint) if purged.is_some_and(|purged| purged > checkpoint.log_id) => {
            wrong("its log is purged further than its newest checkpoint goes")
        }
        _ => Ok(()),
    }
}

async fn stop_signal(signals: &Signals) {
    if let Err(error) = signals.recv().await {
        tracing::error!(%error, "cannot wait for signals");
    }
}

/// Keeps what the node tells of its cluster current, to a tenth of a second.
async fn watch_cluster(replica: Rc<Replica<GlommioDisk>>, status: Arc<Status>) {
    loop {
        status.set_cluster(replica.cluster());
        if !replica.cluster_changed().await {
            return;
        }
        Timer::new(CLUSTER_VIEW).await;
    }
}

/// Notes when Raft stops by itself: nothing is acknowledged any more.
async fn watch_failure(replica: Rc<Replica<GlommioDisk>>, room: Rc<Notify>, status: Arc<Status>) {
    if let Some(reason) = replica.failed().await {
        tracing::error!(reason, "consensus stopped; this node acknowledges nothing more");
        status.set_failed();
        room.notify_one();
    }
}

/// Keeps a spare segment ready, trying again for as long as the disk is full.
async fn keep_spare(log: Log<GlommioDisk>, room: Rc<Notify>, status: Arc<Status>) {
    while log.need_spare().await {
        let prepared = log.prepare().await;
        if log.is_poisoned() {
            status.set_failed();
        }
        status.set_full(prepared.is_err());
        room.notify_one();
        if let Err(error) = prepared {
            tracing::warn!(%error, "no spare log segment: writes are refused once this one is full");
            Timer::new(SPARE_RETRY).await;
        }
    }
}

/// Writes the log's marks once it has been idle.
async fn keep_marks(log: Log<GlommioDisk>) {
    let mut before = None;
    loop {
        Timer::new(IDLE).await;
        let last = log.last();
        if last == before && log.flush_marks().await.is_err() {
            return;
        }
        before = last;
    }
}
