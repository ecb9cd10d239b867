//! A cluster of one, made of what a survivor has when a quorum is lost for good. The directory of
//! the survivor is only read; what is made is the same history in a new cluster.

use std::io::{self, Write};

use crate::{
    base::ids::{ClusterId, LogId},
    checkpoint::{self, store},
    io::{Disk, Files, Output, cores},
    log::{self, Identity, Log, Options},
    raft::Replay,
};

use super::{
    check::Sound,
    error::StartError,
    recovery::{begin, cannot_open, following},
};

/// Writes to `to`, which is empty, what `from` holds and was found to be, as the history of
/// `cluster`: durable on return. All entries stay, those that were not known to be committed too,
/// since they may have been acknowledged; then the node is made the only member.
///
/// # Errors
/// When a disk fails or has no room, or the node was removed from its cluster. What is in `to` by
/// then is of no use.
pub async fn recover<D: Disk>(
    from: &impl Files,
    sound: &Sound,
    to: &D,
    cluster: ClusterId,
) -> Result<(), StartError> {
    let (files, source, target) = (to.files(), from.clone(), to.files());
    let copied = cores::on_own_thread("recover", move || copy(&source, &target, cluster));
    copied.await.flatten().map_err(StartError::Checkpoint)?;

    let (newest, mut replay) = begin(&files)?;
    let identity = Identity { cluster, node: sound.log.node };
    let options = following(newest.as_ref(), Options::new(identity));
    let log = Log::open_into(to.clone(), options, &mut replay).await;
    let log = log.map_err(|error| cannot_open(newest.as_ref(), error))?;
    cores::spawn(log.run());
    let appended = append(&log, &replay).await;
    let closed = log.close().await;
    appended.and(closed).map_err(StartError::Checkpoint)
}

/// Copies segments and checkpoints, each as one of `cluster`.
fn copy(from: &impl Files, to: &impl Files, cluster: ClusterId) -> io::Result<()> {
    for file in from.list()? {
        let bytes = if log::is_file(&file.name) {
            let mut bytes = from.read(&file.name)?;
            log::give_to(&mut bytes, cluster);
            bytes
        } else if store::is_checkpoint(&file.name) {
            let bytes = from.read(&file.name)?;
            checkpoint::given_to(&bytes, cluster).map_err(io::Error::other)?
        } else {
            continue;
        };
        let mut out = to.create(&file.name)?;
        out.write_all(&bytes)?;
        out.sync()?;
    }
    to.sync_directory()
}

/// Appends what makes the node the only member; durable on return.
async fn append<D: Disk>(log: &Log<D>, replay: &Replay<D::Files>) -> io::Result<()> {
    let last = log.last().unwrap_or_default();
    let id = LogId { term: last.term, index: last.index + 1 };
    let entry = replay.only_member(log.identity().node, id)?;
    if !log.want_room(entry.payload.len() as u64) {
        log.prepare().await?;
    }
    log.append([entry], |_| ())?;
    log.durable(id.index).await
}
