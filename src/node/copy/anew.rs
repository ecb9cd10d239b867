//! What a copy begins with: nothing, or the checkpoint of an origin that has purged history. That
//! takes the place of whatever was there as a snapshot from another node does, as a whole or not at
//! all.

use std::{io, time::Duration};

use super::{
    age::forget,
    beside::{self, Lengths},
    of::{COPY_NODE, CopyOf},
    origins::Origins,
    part,
    pause::pause,
    said::Said,
    standing::{Watch, look},
    tenants,
};
use crate::{
    base::{ids::ClusterId, tenants::Tenants},
    checkpoint::{format, store},
    io::{Disk, Files, cores, sync_directory},
    log::{self, Identity, SEGMENT_BYTES_MAX},
    snapshot::{
        self, Manifest, Staging,
        manifest::{FileEntry, Kind, STATE_SUFFIX},
    },
};

/// Whose log the copy on `disk` is, and of which tenants where it is not of all. With nothing there
/// yet an origin is asked, for as long as it takes, and what that has purged is begun with.
///
/// # Errors
/// The disk fails, or has another copy.
pub(in crate::node) async fn identity<D: Disk>(
    disk: &D,
    of: &CopyOf,
) -> io::Result<(Identity, Option<Tenants>)> {
    let files = disk.files();
    let own = |cluster| Identity { cluster, node: COPY_NODE };
    if has_log(&files)? {
        return Ok((own(ClusterId(cores::uuid())), tenants::of_log(&files, of)?));
    }
    let mut origins = Origins::new(of);
    let (mut said, mut failures) = (String::new(), 0);
    loop {
        let begun = match tenants::look_up(&files, of, &origins).await {
            Ok(tenants) => {
                origins = origins.of(tenants.as_ref());
                let begun = begin(&files, &origins, None, tenants.as_ref()).await;
                begun.map(|begun| (begun, tenants))
            }
            Err(error) => Err(error),
        };
        match begun {
            Ok((Begun::Empty(cluster), tenants)) => return Ok((own(cluster), tenants)),
            Ok((Begun::Staged(cluster), tenants)) => {
                let installing = files.clone();
                let finish = move || snapshot::finish(&installing);
                cores::on_own_thread("snapshot", finish).await?.map_err(io::Error::other)?;
                return Ok((own(cluster), tenants));
            }
            Err(error) => {
                let origin = origins.address();
                if said != error {
                    tracing::warn!(origin, error, "nothing to begin a copy with yet");
                    said = error;
                }
                origins.pass_on();
                failures += 1;
                pause(failures, origins.count()).await;
            }
        }
    }
}

/// Whether a log was begun.
fn has_log(files: &impl Files) -> io::Result<bool> {
    for sequence in log::segments(files)? {
        if log::header(&files.map(&log::file_name(sequence))?).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes all that a copy holds, so that it begins anew: what is damaged goes last. `false`, and nothing
/// is removed, when not all of it is known to be a copy's.
///
/// # Errors
/// What the disk reports: the next start removes the rest.
pub(in crate::node) fn clear(files: &impl Files) -> io::Result<bool> {
    let (mut begun, mut others) = (Vec::new(), Vec::new());
    for sequence in log::segments(files)? {
        let name = log::file_name(sequence);
        match log::header(&files.map(&name)?) {
            Some(header) if header.node == COPY_NODE => begun.push(name),
            Some(_) => return Ok(false),
            None => others.push(name),
        }
    }
    if begun.is_empty() {
        return Ok(false);
    }
    // What is left of it is older than that says.
    forget(files)?;
    let of_log = |name: &str| {
        store::is_checkpoint(name)
            || log::number(name, log::index::SUFFIX).is_some()
            || log::number(name, STATE_SUFFIX).is_some()
    };
    let derived = files.list()?.into_iter().map(|file| file.name).filter(|name| of_log(name));
    // The beginning goes first, so that what is left is not taken for a log.
    for name in derived.chain(others).chain(begun) {
        files.remove(&name)?;
    }
    sync_directory(files)?;
    Ok(true)
}

/// What a copy is begun with.
enum Begun {
    /// Nothing: the origin holds its log from the first entry on.
    Empty(ClusterId),
    /// What the next start installs.
    Staged(ClusterId),
}

async fn begin<F: Files>(
    files: &F,
    origins: &Origins,
    watch: Option<&Watch<'_>>,
    tenants: Option<&Tenants>,
) -> Result<Begun, String> {
    // Nothing is made of the entries yet.
    let longest = SEGMENT_BYTES_MAX as usize;
    let (cluster, said) = origins.piece(0, longest, Duration::ZERO).await?;
    // Behind one address there may be nodes of several histories.
    if watch.is_some_and(|watch| !watch.expects(cluster)) {
        return Err(format!("it answers with the history {cluster} now"));
    }
    match (cluster, said) {
        (cluster, Said::Piece(_)) => Ok(Begun::Empty(cluster)),
        (cluster, Said::Purged(_)) => {
            stage_checkpoint(files, cluster, origins, watch, tenants).await?;
            Ok(Begun::Staged(cluster))
        }
        (_, Said::Refused(text)) => Err(text),
    }
}

/// Has the next start begin with what the current origin begins with, in the place of what is there:
/// durable on return. Says of which history that is. Nothing comes of it when the copy can go on from
/// another origin before that, by what `watch` sees.
pub(super) async fn replace<F: Files>(
    files: &F,
    watch: &Watch<'_>,
    tenants: Option<&Tenants>,
    lengths: Lengths,
) -> Result<ClusterId, String> {
    let cluster = match begin(files, watch.origins, Some(watch), tenants).await? {
        Begun::Staged(cluster) => return Ok(cluster),
        Begun::Empty(cluster) => cluster,
    };
    beside::build(files, cluster, watch, lengths).await?;
    Ok(cluster)
}

/// Takes in the checkpoint of the current origin, or what it has of `tenants`, and has the next start
/// go on from that.
async fn stage_checkpoint<F: Files>(
    files: &F,
    cluster: ClusterId,
    origins: &Origins,
    watch: Option<&Watch<'_>>,
    tenants: Option<&Tenants>,
) -> Result<(), String> {
    if let Some(tenants) = tenants {
        return part::stage(files, cluster, origins, watch, tenants).await;
    }
    let failed = |error: io::Error| error.to_string();
    let mut part = origins.checkpoint(None, 0).await?;
    let last = format::head(&part.bytes)?.log_id();
    let (index, bytes) = (part.index, part.total);
    if last.index != index {
        return Err("its checkpoint is that of another entry".to_owned());
    }
    tracing::info!(last = index, bytes, "the checkpoint of the origin is taken in");
    let file = FileEntry { kind: Kind::Checkpoint(index), bytes };
    let (raft, purged) = (String::new(), Some(last));
    let manifest = Manifest { last, purged, raft, files: vec![file] };
    let staging = Staging::new(files.clone(), Identity { cluster, node: COPY_NODE });
    let (transmission, mut wanted) = staging.begin(manifest).await.map_err(failed)?;
    while wanted.file == 0 {
        look(watch, false).await?;
        if wanted.offset > 0 {
            part = origins.checkpoint(Some(index), wanted.offset).await?;
        }
        let bytes = part.bytes.clone();
        wanted = staging.part(transmission, wanted, bytes).await.map_err(failed)?;
    }
    staging.end(transmission).await.map_err(failed)?;
    look(watch, true).await?;
    staging.install(transmission).await.map_err(failed)
}
