//! The start of a Raft core.

use std::{pin::pin, rc::Rc, sync::Arc};

use futures_util::future::{Either, select};
use tokio::sync::{Notify, mpsc};

use super::{
    error::StartError,
    recovery::{Recovery, recover},
    running::Running,
    settings::{Founding, Settings},
    spare, watch,
};
use crate::{
    backup,
    base::{tenants::Tenants, timing::LEAD_ALONE_WAIT},
    checkpoint::{CheckpointFile, store},
    io::{Disk, Files, cores, net::Listener},
    log::{Identity, Log},
    node::{
        ForwardedWrites, Ready, Status, Wiring,
        copy::{self, CopyAge, CopyOf, Origins},
        expiry, halt, healing, health,
        members::{
            self, Adopted, Adoptions, Applicant, FOUNDER, Gatherer, Introductions,
            MembershipService,
        },
        peers::PeerService,
        retention, scrub,
        sequencer::Sequencer,
        tenant_retention,
    },
    raft::{Address, Part, Replica, tidy_indexes},
    state::Index,
};

/// Starts a Raft core on what `disk` holds, and lets other nodes in at `listener`. Gives what
/// serving cores start with, too.
///
/// # Errors
/// [`StartError`]
pub async fn start<D: Disk>(
    disk: D,
    settings: Settings,
    wiring: Wiring,
    listener: Option<Listener>,
    introductions: Rc<dyn Introductions>,
) -> Result<(Running<D>, Ready), StartError> {
    let files = disk.files();
    check_use(&files)?;
    let Recovery { log, mut replay, newest, tenants } = recover(&disk, &settings).await?;
    let status = Arc::clone(&wiring.status);
    log.on_write(move |time| status.log_writes.add(time));
    let status = Arc::clone(&wiring.status);
    log.on_damage(move |file, offset, reason| status.tell_damaged(file, offset, reason));
    cores::spawn(log.run());
    let room = Rc::new(Notify::new());
    let spare = spare::keep_spare(log.clone(), Rc::clone(&room), Arc::clone(&wiring.status));
    let spare = cores::spawn(spare);
    cores::spawn(spare::keep_marks(log.clone()));

    let recovered = replay.finish();
    tidy(&log, replay.whole(), newest.as_ref())?;
    let Identity { cluster, node } = log.identity();
    let address = settings.address.clone();
    let (timing, dialer) = (settings.timing, settings.dialer.clone());
    let part = Part { address, timing, founds: node == FOUNDER, dialer };
    let replica = Replica::start(log, replay, wiring.fanout.clone(), part).await?;
    let replica = Rc::new(replica);
    let (scrubbed, period) = (Arc::clone(&wiring.status), settings.scrub_period);
    cores::spawn(scrub::run(disk.clone(), Rc::clone(&replica), scrubbed, period));
    follow_origin(&replica, &wiring.status, settings.copy.as_ref(), tenants).await?;
    if replica.is_alone() {
        if !settings.address.votes {
            tracing::warn!("this node is to be a learner, but it is alone: it votes and leads");
        }
        if lead_alone(&replica, &wiring).await? {
            wiring.status.set_recovered();
        }
    }
    let (policy, bytes) = (settings.retention, settings.segment_bytes);
    let told = Arc::clone(&wiring.status);
    cores::spawn(retention::run(Rc::clone(&replica), policy, bytes, newest, told));
    let is_copy = settings.copy.is_some();
    let sequencer = Sequencer {
        inbox: Arc::clone(&wiring.inbox),
        replica: Rc::clone(&replica),
        fanout: wiring.fanout.clone(),
        status: Arc::clone(&wiring.status),
        room: Rc::clone(&room),
    };
    let sequencer = cores::spawn(async move {
        // A copy hands its writes on before they come as far.
        if !is_copy {
            sequencer.run().await;
        }
    });
    let forwarded =
        ForwardedWrites::new(Arc::clone(&wiring.inbox), &wiring.fanout, Rc::clone(&replica));
    let forwarded = Rc::new(forwarded);
    keep_what_is_due(&replica, &recovered.index(), &wiring.status, &forwarded);
    let ways = (listener, introductions);
    let adopted = serve_cluster(&replica, &settings, &wiring, forwarded, ways);
    cores::spawn(healing::run(Rc::clone(&replica), Arc::clone(&wiring.status)));
    watch::start(&replica, &wiring.status, &room);
    cores::spawn(halt::watch(Rc::clone(&replica), Arc::clone(&wiring.status)));
    cores::spawn(health::keep(Rc::clone(&replica), Arc::clone(&wiring.status), room));
    let ready = Ready { recovered, cluster };
    let running = Running { disk, settings, wiring, replica, sequencer, spare, adopted };
    Ok((running, ready))
}

/// Removes what the node does not go on from, before anybody writes more: it goes on from the checkpoint
/// `newest` and the whole state after the segment `whole`, if there are such.
fn tidy<D: Disk>(
    log: &Log<D>,
    whole: Option<u64>,
    newest: Option<&CheckpointFile>,
) -> Result<(), StartError> {
    let files = log.files();
    store::tidy(&files, newest).map_err(StartError::Checkpoint)?;
    let (oldest, active) = (log.oldest_segment(), log.active_segment());
    tidy_indexes(&files, oldest, active, whole).map_err(StartError::Checkpoint)
}

/// Whether a node may be started on a directory.
fn check_use(files: &impl Files) -> Result<(), StartError> {
    if let Some(why) = halt::reason(files).map_err(StartError::Checkpoint)? {
        return Err(StartError::Halted(why));
    }
    match backup::is_one(files).map_err(StartError::Checkpoint)? {
        true => Err(StartError::Backup),
        false => Ok(()),
    }
}

/// Has a copy of a history take up what it holds, and follow its origin from there.
async fn follow_origin<D: Disk>(
    replica: &Rc<Replica<D>>,
    status: &Arc<Status>,
    of: Option<&CopyOf>,
    tenants: Option<Tenants>,
) -> Result<(), StartError> {
    let Some(of) = of else { return Ok(()) };
    let age = Arc::new(CopyAge::new(of.clone(), tenants));
    status.set_copy(Arc::clone(&age));
    copy::begin(replica, status, &age).await.map_err(StartError::Unusable)?;
    cores::spawn(copy::feed(Rc::clone(replica), Arc::clone(status), age));
    Ok(())
}

/// Starts what has keys expire, and lists of tenants begin later, while this node leads.
fn keep_what_is_due<D: Disk>(
    replica: &Rc<Replica<D>>,
    index: &Arc<Index>,
    status: &Arc<Status>,
    writes: &Rc<ForwardedWrites<D>>,
) {
    let all = || (Rc::clone(replica), Arc::clone(index), Arc::clone(status), Rc::clone(writes));
    let (of, index, status, writes) = all();
    cores::spawn(expiry::run(of, index, status, writes));
    let (of, index, status, writes) = all();
    cores::spawn(tenant_retention::run(of, index, status, writes));
}

/// Waits until the only member leads its cluster; `false` when the disk has no room for
/// that. Then the node listens, and goes on as soon as there is.
async fn lead_alone<D: Disk>(replica: &Replica<D>, wiring: &Wiring) -> Result<bool, StartError> {
    let recovered = pin!(cores::within(LEAD_ALONE_WAIT, replica.recovered()));
    let no_room = pin!(spare::log_waits_for_room(replica, &wiring.status));
    match select(recovered, no_room).await {
        Either::Left((Some(recovered), _)) => Ok(recovered.map(|()| true)?),
        Either::Left((None, _)) if wiring.status.segment_problem().is_none() => {
            Err(StartError::NotInTime)
        }
        Either::Left((None, _)) | Either::Right(_) => {
            tracing::warn!("the log has no room to begin with: nothing can be read before it has");
            Ok(false)
        }
    }
}

/// Starts everything that is about other nodes; gives what says when this node is to become
/// a member of another cluster.
fn serve_cluster<D: Disk>(
    replica: &Rc<Replica<D>>,
    settings: &Settings,
    wiring: &Wiring,
    forwarded: Rc<ForwardedWrites<D>>,
    (listener, introductions): (Option<Listener>, Rc<dyn Introductions>),
) -> mpsc::Receiver<Adopted> {
    let own = settings.address.clone();
    let service = MembershipService::new(Rc::clone(replica), Rc::clone(&introductions));
    let service = Rc::new(service);
    let (adoptions, adopted) = Adoptions::new(Rc::clone(replica));
    let accepted = adoptions.accepted();
    if let Some(listener) = listener {
        let (forwarded, service) = (Rc::clone(&forwarded), Rc::clone(&service));
        let peers = PeerService::new(Rc::clone(replica), forwarded, service, adoptions);
        cores::spawn(peers.run(listener));
    }
    cores::spawn(async move { forwarded.run().await });
    let (control, reading) = (Arc::clone(&wiring.control), Rc::clone(replica));
    let copy = wiring.status.copy();
    let origins = copy.map(|copy| Origins::new(copy.of()).of(copy.tenants()));
    cores::spawn(async move { control.run_reads(reading, origins).await });
    let (log_reads, reading) = (Arc::clone(&wiring.log_reads), Rc::clone(replica));
    cores::spawn(async move { log_reads.run(reading).await });
    cores::spawn(Rc::clone(&service).serve(Arc::clone(&wiring.control)));
    cores::spawn(members::reconcile(service, own));
    belong_to_a_cluster(replica, settings, &wiring.status, introductions, accepted);
    adopted
}

/// Has a node with an empty disk found a cluster, or be taken in by one, as it was told.
fn belong_to_a_cluster<D: Disk>(
    replica: &Rc<Replica<D>>,
    settings: &Settings,
    status: &Arc<Status>,
    introductions: Rc<dyn Introductions>,
    accepted: mpsc::Sender<Adopted>,
) {
    let own = settings.address.clone();
    // One command may serve all nodes, and names all of them.
    let others = settings.join.iter().filter(|place| **place != own.address);
    let places: Vec<_> = others.cloned().collect();
    let (replica, status) = (Rc::clone(replica), Arc::clone(status));
    let Identity { cluster, node } = replica.log().identity();
    match settings.founding {
        Founding::Expect(expect) if node == 0 => {
            let gatherer =
                Gatherer { replica, introductions, status, places, expect, own, accepted };
            cores::spawn(gatherer.run());
        }
        // It was begun to be taken in, which never came.
        Founding::Now if node == 0 => {
            let _ = accepted.try_send(Adopted { cluster, node: FOUNDER });
        }
        _ if !places.is_empty() => {
            let Address { address, votes, .. } = own;
            let applicant = Applicant { address, voter: votes };
            cores::spawn(members::join(replica, introductions, places, applicant));
        }
        _ => {}
    }
}
