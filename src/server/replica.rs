//! The Raft core: recovers the log, runs Raft and the sequencer on it, and
//! stops the node in order.

use std::{
    io,
    net::TcpListener,
    path::Path,
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    time::Duration,
};

use futures_util::future::{Either, select};
use glommio::signal::Signals;
use tokio::sync::{Notify, mpsc as async_mpsc};

use super::{
    cluster,
    config::Config,
    core::unless,
    executor::{queue, spawn_into},
    run::{End, News, ServerError, Shared},
};
use crate::{
    base::{
        ids::{ClusterId, NodeId},
        timing::{HAND_OVER, STOP},
    },
    checkpoint::{CheckpointFile, store},
    io::{Disk, cores, real::disk::GlommioDisk},
    log::{Identity, Log, OpenError, Options},
    node::{
        Status, halt, health, members::Adopted, retention, sequencer::Sequencer,
        status::NextSegment,
    },
    raft::{Ailment, Claim, Leadership, Part, Recovered, Replay, Replica},
};

/// What stops a node.
pub(super) const SIGNALS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// The number of the node that a cluster begins with.
const FOUNDER: NodeId = 1;
/// How long the only member may take to lead its cluster.
const RECOVERY: Duration = Duration::from_secs(60);
/// A log without writes for this long has its marks written, so that damage to
/// the last writes is told from a torn tail.
const IDLE: Duration = Duration::from_millis(100);
/// How often at most the view of the cluster is made anew.
const CLUSTER_VIEW: Duration = Duration::from_millis(100);
/// How old it is at most.
const CLUSTER_VIEW_MAX: Duration = Duration::from_millis(500);
/// How often it is looked whether others still take this node for theirs.
const CLAIM_WATCH: Duration = Duration::from_millis(500);
/// How long they do before it is said.
const CLAIM_SAID: Duration = Duration::from_secs(1);
/// How soon a spare segment is tried again after it could not be made.
const SPARE_RETRY: Duration = Duration::from_millis(500);

/// What serving cores start with.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) recovered: Recovered,
    pub(super) cluster: ClusterId,
}

/// Runs the Raft core until the node is to stop, or to go on as another. `own`
/// serves on this core, when it is the only one.
pub(super) async fn run<F: Future<Output = ()> + 'static>(
    shared: Shared,
    cluster: Option<TcpListener>,
    own: Option<impl FnOnce(Ready) -> F>,
    events: &mpsc::Sender<News>,
    mut serving: async_mpsc::Receiver<()>,
) -> Result<End, ServerError> {
    let signals =
        Signals::new(&SIGNALS).map_err(|error| ServerError::Executor(error.to_string()))?;
    let started = unless(start(shared.clone(), cluster), stop_signal(&signals)).await;
    // Stopped while it started: there is nothing to finish.
    let Some(started) = started else { return Ok(End::Stop) };
    let Started { replica, ready, sequencer, spare, mut adoption } = started?;

    // The main thread waits for it, or stops already.
    let _ = events.send(News::Ready(ready.clone()));
    if let Some(own) = own {
        // Raft does not wait behind requests, nor they behind it.
        spawn_into(own(ready), queue("serve"))?.detach();
    }

    let cause = {
        let adopted = async {
            match adoption.recv().await {
                Some(adopted) => Cause::Adopted(adopted),
                // Without a cluster port nobody asks.
                None => std::future::pending().await,
            }
        };
        let removed = async {
            replica.was_removed().await;
            Cause::Removed
        };
        let superseded = async {
            replica.was_superseded().await;
            Cause::Superseded
        };
        let told = async {
            stop_signal(&signals).await;
            Cause::Told
        };
        let (adopted, removed, superseded, told) =
            (pin!(adopted), pin!(removed), pin!(superseded), pin!(told));
        let from_others = select(select(adopted, removed), superseded);
        match select(from_others, told).await {
            Either::Left((Either::Left((either, _)), _)) => either.factor_first().0,
            Either::Left((Either::Right((cause, _)), _)) | Either::Right((cause, _)) => cause,
        }
    };
    match cause {
        Cause::Adopted(Adopted { cluster, node }) => {
            tracing::info!(%cluster, node, "this empty node becomes a member of a cluster");
        }
        Cause::Superseded => tracing::info!("this node goes on from a checkpoint of another"),
        Cause::Removed => tracing::info!("this node was removed from its cluster; it stops"),
        Cause::Told => {}
    }
    let again = matches!(cause, Cause::Adopted(_) | Cause::Superseded);
    if let Cause::Adopted(_) = cause {
        // Nothing may be written that would be lost.
        shared.inbox.close();
    }
    tracing::info!("stopping");
    hand_over(&replica).await;
    if !again {
        let _ = events.send(News::Stopping);
    }
    shared.status.set_ready(false);
    shared.fanout.stop();
    let mut still_empty = false;
    let stop = async {
        while serving.recv().await.is_some() {}
        shared.inbox.close();
        sequencer.await;
        // A write may have been under way.
        still_empty = replica.is_empty();
        end(&replica, &shared.status).await
    };
    match unless(stop, cores::sleep(STOP)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            return Err(ServerError::System("the log was not closed cleanly", error));
        }
        None => return Err(ServerError::Stop(STOP)),
    }
    if let Cause::Adopted(adopted) = cause
        && still_empty
    {
        // It would go on with files that are about to be removed.
        spare.await;
        begin_as(&shared.config, adopted).await?;
    }
    Ok(if again { End::Again } else { End::Stop })
}

/// Stops Raft and closes the log.
async fn end(replica: &Replica<GlommioDisk>, status: &Status) -> io::Result<()> {
    match select(pin!(replica.stop()), pin!(log_waits_for_room(replica, status))).await {
        Either::Left(((), _)) => replica.log().close().await,
        Either::Right(((), stopped)) => {
            // Raft waits for the log, which takes no more: that ends when it is closed.
            let closed = replica.log().close().await;
            stopped.await;
            closed
        }
    }
}

/// Resolves when something waits to be written and the disk has no room for it.
async fn log_waits_for_room(replica: &Replica<GlommioDisk>, status: &Status) {
    while !(status.segment_problem().is_some() && replica.log().progress().is_waited_for) {
        cores::sleep(SPARE_RETRY).await;
    }
}

/// Why a node does not go on as it was.
enum Cause {
    /// A signal.
    Told,
    /// It is no member of its cluster any more.
    Removed,
    /// It is to become a member of another.
    Adopted(Adopted),
    /// A checkpoint of another node took the place of what it had.
    Superseded,
}

/// Makes the data directory that of a member without any entries.
async fn begin_as(config: &Config, adopted: Adopted) -> Result<(), ServerError> {
    let Adopted { cluster, node } = adopted;
    let unusable = |error| ServerError::Open(config.data.display().to_string(), error);
    let disk = GlommioDisk::open(&config.data)
        .map_err(|error| ServerError::System("cannot open the data directory", error))?;
    let log = Log::replace(disk, options(config, Identity { cluster, node })).await;
    let log = log.map_err(unusable)?;
    cores::spawn(log.run());
    log.close().await.map_err(|error| ServerError::System("the log was not begun", error))
}

/// Has another node lead before this one stops.
async fn hand_over(replica: &Replica<GlommioDisk>) {
    if replica.leadership() != Leadership::Here {
        return;
    }
    let Some(to) = replica.heir(Ailment::Stalled).await else { return };
    tracing::info!(to, "leadership is handed over");
    let other = replica.leadership_is(|leader| matches!(leader, Leadership::At(..)));
    if replica.transfer(to).await.is_ok() && unless(other, cores::sleep(HAND_OVER)).await.is_none()
    {
        tracing::warn!(to, "it did not take over in time");
    }
}

fn options(config: &Config, identity: Identity) -> Options {
    Options { segment_bytes: config.segment_bytes, ..Options::new(identity) }
}

struct Started {
    replica: Rc<Replica<GlommioDisk>>,
    ready: Ready,
    sequencer: cores::JoinHandle<()>,
    /// Prepares segments of the log until that is closed.
    spare: cores::JoinHandle<()>,
    /// Says whom this node is to become.
    adoption: async_mpsc::Receiver<Adopted>,
}

async fn start(shared: Shared, cluster: Option<TcpListener>) -> Result<Started, ServerError> {
    let config = &shared.config;
    let directory = config.data.clone();
    let disk = GlommioDisk::open(&directory)
        .map_err(|error| ServerError::System("cannot open the data directory", error))?;
    let files = disk.files();
    // What nobody has taken in yet has no number.
    let node = if config.join.is_empty() { FOUNDER } else { 0 };
    let identity = Identity { cluster: ClusterId(cores::uuid()), node };
    let unusable =
        |error: io::Error| ServerError::Checkpoint(config.data.display().to_string(), error);
    if let Some(why) = halt::reason(&files).map_err(unusable)? {
        return Err(ServerError::Halted(config.data.display().to_string(), why));
    }
    let (checkpoint, mut replay) = match Replay::load(&files).map_err(unusable)? {
        Some((checkpoint, replay)) => (Some(checkpoint), replay),
        None => (None, Replay::default()),
    };
    // Nothing is replayed onto a checkpoint that it does not follow.
    let options = Options {
        expect: checkpoint.as_ref().map(|checkpoint| checkpoint.cluster),
        purged_max: checkpoint.as_ref().map(|checkpoint| checkpoint.log_id.index),
        ..options(config, identity)
    };
    let log = Log::open(disk, options, |entry, place| {
        replay.entry(entry, place).map_err(|error| error.to_string())
    })
    .await
    .map_err(|error| cannot_open(&directory, checkpoint.as_ref(), error))?;
    tracing::info!(directory = %directory.display(), last = ?log.last(), "log recovered");
    let status = Arc::clone(&shared.status);
    log.on_write(move |time| status.log_writes.add(time));
    cores::spawn(log.run());
    let room = Rc::new(Notify::new());
    let spare = keep_spare(log.clone(), Rc::clone(&room), Arc::clone(&shared.status));
    let spare = cores::spawn(spare);
    cores::spawn(keep_marks(log.clone()));

    let recovered = replay
        .finish(log.active_segment(), &files)
        .map_err(|error| ServerError::System("cannot map a segment of the log", error))?;
    let Identity { cluster: cluster_id, node } = log.identity();
    let part =
        Part { address: shared.address.clone(), timing: config.timing, founds: node == FOUNDER };
    let replica = Replica::start(log, replay, shared.fanout.clone(), part).await?;
    let replica = Rc::new(replica);
    let leads = replica.is_alone() && lead_alone(&replica, &shared.status).await?;
    store::tidy(&files, checkpoint.as_ref()).map_err(unusable)?;
    let (policy, bytes) = (config.retention, config.segment_bytes);
    cores::spawn(retention::run(Rc::clone(&replica), policy, bytes, checkpoint));
    let sequencer = Sequencer {
        inbox: Arc::clone(&shared.inbox),
        replica: Rc::clone(&replica),
        fanout: shared.fanout.clone(),
        status: Arc::clone(&shared.status),
        room: Rc::clone(&room),
    };
    let sequencer = cores::spawn(sequencer.run());
    let adoption = cluster::start(&replica, &shared, cluster)?;
    if leads {
        shared.status.set_recovered();
    }
    show(&replica, &shared.status);
    cores::spawn(note_recovery(Rc::clone(&replica), Arc::clone(&shared.status)));
    cores::spawn(watch_cluster(Rc::clone(&replica), Arc::clone(&shared.status)));
    cores::spawn(watch_claims(Rc::clone(&replica), Arc::clone(&shared.status)));
    let watch = watch_failure(Rc::clone(&replica), Rc::clone(&room), Arc::clone(&shared.status));
    cores::spawn(watch);
    cores::spawn(halt::watch(Rc::clone(&replica), Arc::clone(&shared.status)));
    let health = health::keep(Rc::clone(&replica), Arc::clone(&shared.status), room);
    cores::spawn(health);
    let ready = Ready { recovered, cluster: cluster_id };
    Ok(Started { replica, ready, sequencer, spare, adoption })
}

/// Waits until the only member leads its cluster; `false` when the disk has no room for
/// that. Then the node listens, and goes on as soon as there is.
async fn lead_alone(replica: &Replica<GlommioDisk>, status: &Status) -> Result<bool, ServerError> {
    let no_room = pin!(log_waits_for_room(replica, status));
    let limit = select(no_room, cores::sleep(RECOVERY));
    if let Some(recovered) = unless(replica.recovered(), limit).await {
        return Ok(recovered.map(|()| true)?);
    }
    if status.segment_problem().is_none() {
        return Err(ServerError::Executor("consensus did not start in time".into()));
    }
    tracing::warn!("the log has no room to begin with: nothing can be read before it has");
    Ok(false)
}

/// Notes when this node serves nothing older than it did before.
async fn note_recovery(replica: Rc<Replica<GlommioDisk>>, status: Arc<Status>) {
    if !status.has_recovered() && replica.recovered().await.is_ok() {
        status.set_recovered();
        show(&replica, &status);
        tracing::info!(last = replica.last_applied(), "caught up with the cluster");
    }
}

/// Notes what the node knows of its cluster.
fn show(replica: &Replica<GlommioDisk>, status: &Status) {
    status.set_ready(replica.is_led() && status.has_recovered());
    status.set_cluster(replica.cluster());
}

/// Says what is wrong with a log, or with a checkpoint that it does not go on from.
fn cannot_open(
    directory: &Path,
    checkpoint: Option<&CheckpointFile>,
    error: OpenError,
) -> ServerError {
    let shown = directory.display().to_string();
    let name = checkpoint.map(|file| file.name.clone()).unwrap_or_default();
    let text = match (&error, checkpoint) {
        (OpenError::Cluster { file, found, expected }, Some(_)) => {
            format!("its checkpoint {name} is of cluster {expected}, its log {file} of {found}")
        }
        (OpenError::Missing(cluster), Some(_)) => {
            format!("the log that its checkpoint {name} of cluster {cluster} belongs to is missing")
        }
        (OpenError::Purged(index), newest) => {
            let missing = store::file_name(*index);
            let newest = newest.map_or_else(String::new, |_| format!(" (the newest is {name})"));
            format!("its log is purged, and the checkpoint {missing} of that is missing{newest}")
        }
        _ => return ServerError::Open(shown, error),
    };
    ServerError::Checkpoint(shown, io::Error::new(io::ErrorKind::InvalidData, text))
}

async fn stop_signal(signals: &Signals) {
    if let Err(error) = signals.recv().await {
        tracing::error!(%error, "cannot wait for signals");
    }
}

/// Keeps what the node tells of its cluster current, to a tenth of a second.
async fn watch_cluster(replica: Rc<Replica<GlommioDisk>>, status: Arc<Status>) {
    loop {
        show(&replica, &status);
        replica.update_connections();
        // The loss of a leader is no change that is told.
        if unless(replica.cluster_changed(), cores::sleep(CLUSTER_VIEW_MAX)).await == Some(false) {
            return;
        }
        cores::sleep(CLUSTER_VIEW).await;
    }
}

/// Notes whether nodes of another cluster take this one for a member of theirs,
/// and says so once they have for a while: a node that is just being taken in is
/// called so by the way.
async fn watch_claims(replica: Rc<Replica<GlommioDisk>>, status: Arc<Status>) {
    let mut said: Option<Identity> = None;
    loop {
        let claim = replica.claim();
        status.set_claimed(claim.is_some());
        match claim {
            Some(Claim { member, since, .. })
                if said != Some(member) && cores::elapsed(since) > CLAIM_SAID =>
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
        cores::sleep(CLAIM_WATCH).await;
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

/// Keeps a spare segment ready, trying again for as long as it cannot be made.
async fn keep_spare(log: Log<GlommioDisk>, room: Rc<Notify>, status: Arc<Status>) {
    // Why there is none, once that was said.
    let mut said = None;
    while log.need_spare().await {
        let prepared = log.prepare().await;
        if log.poison().is_some() {
            status.set_failed();
            room.notify_one();
            return;
        }
        let next = match &prepared {
            Ok(()) => NextSegment::Ready,
            Err(error) if is_full(error) => NextSegment::NoRoom,
            Err(_) => NextSegment::Failed,
        };
        status.set_next_segment(next);
        room.notify_one();
        match prepared {
            Ok(()) if said.take().is_some() => {
                tracing::info!("there is a spare log segment again");
            }
            Ok(()) => {}
            Err(error) => {
                if said.replace(error.kind()) != Some(error.kind()) {
                    tracing::warn!(%error, "no spare log segment: writes are refused once this one is full");
                }
                cores::sleep(SPARE_RETRY).await;
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes the log's marks once it has been idle.
async fn keep_marks(log: Log<GlommioDisk>) {
    let mut before = None;
    loop {
        cores::sleep(IDLE).await;
        let last = log.last();
        if last == before && log.flush_marks().await.is_err() {
            return;
        }
        before = last;
    }
}
