//! Retention: history that is old enough is purged, segment by segment, behind a
//! checkpoint of what later history needs of it.
//!
//! ```text
//! checkpoint written · synced · renamed · directory synced
//!     · readers told · log purged, durably · segments and older checkpoints removed
//! ```
//!
//! A crash between any two steps leaves a checkpoint and the entries after it.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};

use crate::{
    base::ids::{ClusterId, LogId},
    io::{cores, map::Mapping, real::disk::GlommioDisk},
    log::file_name,
    raft::{Checkpoints, Compacted, Files, Replay, Replica, Transmission, compact},
    state::{Position, checkpoint},
};

/// How often it is looked for what may be purged.
const PERIOD: Duration = Duration::from_secs(1);
/// How long to wait after a compaction failed.
const RETRY: Duration = Duration::from_secs(30);
/// Bytes of a checkpoint that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;
const SUFFIX: &str = ".checkpoint";
const TEMPORARY: &str = "checkpoint.tmp";
/// What a checkpoint on its way is named, before its number.
const INCOMING: &str = "checkpoint.incoming-";

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At least so many of the newest changes.
    pub min_changes: u64,
    /// Changes younger than this.
    pub min_age: Duration,
}

impl Retention {
    /// Whether changes up to `end` may be purged of a list that goes to `newest`,
    /// at `now` in microseconds.
    fn is_over(&self, end: Position, newest: Position, now: u64) -> bool {
        let age = u64::try_from(self.min_age.as_micros()).unwrap_or(u64::MAX);
        end.last.0.saturating_add(self.min_changes) <= newest.last.0
            && end.last_at.0.saturating_add(age) <= now
    }
}

/// A checkpoint on disk.
#[derive(Clone, Debug)]
pub(super) struct CheckpointFile {
    path: PathBuf,
    bytes: u64,
    pub(super) log_id: LogId,
    pub(super) cluster: ClusterId,
}

/// The name of the checkpoint that stands for entries up to `index`.
pub(super) fn file_name_of(index: u64) -> String {
    format!("{index:020}{SUFFIX}")
}

impl CheckpointFile {
    /// Its file's name in the data directory.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The newest checkpoint of a directory, and what a node goes on from.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub(super) fn load(directory: &Path) -> io::Result<Option<(CheckpointFile, Replay)>> {
    let Some(newest) = checkpoints(directory)?.pop() else { return Ok(None) };
    let damaged = |error: &dyn std::fmt::Display| {
        let text = format!("the checkpoint {} cannot be used: {error}", newest.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let map = Mapping::open(&newest).map_err(|error| damaged(&error))?;
    let bytes = map.get(0..map.len()).unwrap_or_default();
    let read = checkpoint::read(bytes).map_err(|error| damaged(&error))?;
    let (log_id, cluster) = (read.head.log_id(), ClusterId(read.head.cluster));
    let file = CheckpointFile { bytes: map.len() as u64, path: newest.clone(), log_id, cluster };
    let replay = Replay::from_checkpoint(read, map).map_err(|error| damaged(&error))?;
    Ok(Some((file, replay)))
}

/// The checkpoints of a directory, oldest first.
fn checkpoints(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_suffix(SUFFIX).is_some_and(|stem| stem.len() == 20) {
            found.push(path);
        }
    }
    // Names are numbers of one length.
    found.sort_unstable();
    Ok(found)
}

/// Purges what may be, for as long as the node runs.
pub(super) async fn keep(
    replica: Rc<Replica<GlommioDisk>>,
    retention: Retention,
    directory: PathBuf,
    segment_bytes: u64,
    mut newest: Option<CheckpointFile>,
) {
    loop {
        cores::sleep(PERIOD).await;
        let now = cores::wall_micros();
        let over = |end, newest| retention.is_over(end, newest, now);
        let Some(segments) = replica.purgeable(over) else { continue };
        let count = segments.end() - segments.start() + 1;
        // A checkpoint is written anew each time: it must be worth it.
        if newest.as_ref().is_some_and(|file| file.bytes > count * segment_bytes) {
            continue;
        }
        let (into, cluster) = (directory.clone(), replica.log().identity().cluster);
        let work = move || write(&into, cluster, segments);
        let written = cores::on_own_thread("checkpoint", work).await;
        let outcome = match written.and_then(|written| written) {
            Ok(None) => {
                // Only what follows tells that these entries are committed.
                cores::sleep(RETRY).await;
                continue;
            }
            Ok(Some((file, compacted))) => {
                tracing::info!(checkpoint = %file.path.display(), "history is purged");
                let purged = replica.purge(&compacted).await;
                let into = directory.clone();
                let keep = file.path.clone();
                newest = Some(file);
                match purged {
                    Ok(()) => cores::off_core(move || remove_older(&into, &keep)).await,
                    // Raft has stopped, and says so itself.
                    Err(_) => return,
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "history cannot be purged");
            cores::sleep(RETRY).await;
        }
    }
}

/// Writes the checkpoint that stands for `segments`.
fn write(
    directory: &Path,
    cluster: ClusterId,
    segments: RangeInclusive<u64>,
) -> io::Result<Option<(CheckpointFile, Compacted)>> {
    let outcome = write_as(&directory.join(TEMPORARY), directory, cluster, segments);
    if outcome.is_err() {
        // The error before says more than that of this.
        let _ = fs::remove_file(directory.join(TEMPORARY));
    }
    outcome
}

fn write_as(
    temporary: &Path,
    directory: &Path,
    cluster: ClusterId,
    segments: RangeInclusive<u64>,
) -> io::Result<Option<(CheckpointFile, Compacted)>> {
    let before = load(directory)?.map_or_else(Replay::default, |(_, replay)| replay);
    let path_of = |sequence| directory.join(file_name(sequence));
    let files = Files {
        load: |sequence| fs::read(path_of(sequence)).map(Bytes::from),
        open_mapping: |sequence| Mapping::open(&path_of(sequence)),
        out: BufWriter::with_capacity(WRITE_BYTES, File::create(temporary)?),
        end: |out: BufWriter<File>| {
            let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.flush()?;
            file.sync_all()?;
            Mapping::open(temporary)
        },
    };
    let Some(compacted) = compact(cluster, before, segments, files)? else {
        fs::remove_file(temporary)?;
        return Ok(None);
    };
    let path = directory.join(file_name_of(compacted.log_id.index));
    let bytes = fs::metadata(temporary)?.len();
    fs::rename(temporary, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(Some((CheckpointFile { path, bytes, log_id: compacted.log_id, cluster }, compacted)))
}

/// Takes checkpoints in that other nodes send, each into a file of its own.
pub(super) struct Incoming {
    directory: PathBuf,
    cluster: ClusterId,
    /// What is written at the moment: one at a time.
    file: Arc<OneFile>,
    next: Cell<Transmission>,
}

impl Incoming {
    /// Into `directory`, which is that of a member of `cluster`.
    pub(super) fn new(directory: PathBuf, cluster: ClusterId) -> Self {
        Self { directory, cluster, file: Arc::default(), next: Cell::new(1) }
    }

    fn path(&self, of: Transmission) -> PathBuf {
        incoming(&self.directory, of)
    }
}

/// A checkpoint under way, with its number.
type Begun = Option<(Transmission, BufWriter<File>)>;
type OneFile = Mutex<Begun>;

fn lock(file: &OneFile) -> MutexGuard<'_, Begun> {
    // A panic under the lock ends the process, so poison is never seen.
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

fn given_up() -> io::Error {
    io::Error::other("another checkpoint was begun meanwhile")
}

impl Checkpoints for Incoming {
    fn begin(&self) -> LocalBoxFuture<'static, io::Result<Transmission>> {
        let id = self.next.replace(self.next.get() + 1);
        let (path, file) = (self.path(id), Arc::clone(&self.file));
        let directory = self.directory.clone();
        cores::off_core(move || {
            let new = BufWriter::with_capacity(WRITE_BYTES, File::create(path)?);
            let before = lock(&file).replace((id, new));
            // Whoever sent it has given up, or will hear of it.
            before.map_or(Ok(()), |(before, _)| remove(&incoming(&directory, before)))?;
            Ok(id)
        })
        .boxed_local()
    }

    fn append(&self, to: Transmission, part: Bytes) -> LocalBoxFuture<'static, io::Result<()>> {
        let file = Arc::clone(&self.file);
        cores::off_core(move || match &mut *lock(&file) {
            Some((id, file)) if *id == to => file.write_all(&part),
            _ => Err(given_up()),
        })
        .boxed_local()
    }

    fn end(&self, of: Transmission) -> LocalBoxFuture<'static, io::Result<checkpoint::Head>> {
        let (path, cluster, file) = (self.path(of), self.cluster, Arc::clone(&self.file));
        async move {
            let failed = path.clone();
            let verify = move || -> io::Result<checkpoint::Head> {
                let file = lock(&file).take_if(|(id, _)| *id == of);
                let (_, file) = file.ok_or_else(given_up)?;
                file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                let map = Mapping::open(&path)?;
                let bytes = map.get(0..map.len()).unwrap_or_default();
                let read = checkpoint::read(bytes).map_err(io::Error::other)?;
                if read.head.cluster != cluster.0 {
                    return Err(io::Error::other("the checkpoint is that of another cluster"));
                }
                Ok(read.head)
            };
            let verify = move || {
                verify().inspect_err(|_| {
                    // It is removed at the next start, else.
                    let _ = remove(&failed);
                })
            };
            // It may be large.
            cores::on_own_thread("checkpoint", verify).await?
        }
        .boxed_local()
    }

    fn install(&self, of: Transmission, index: u64) -> LocalBoxFuture<'static, io::Result<()>> {
        let (directory, from) = (self.directory.clone(), self.path(of));
        cores::off_core(move || {
            fs::rename(from, directory.join(file_name_of(index)))?;
            File::open(&directory)?.sync_all()
        })
        .boxed_local()
    }

    fn discard(&self, of: Transmission) -> LocalBoxFuture<'static, io::Result<()>> {
        let path = self.path(of);
        cores::off_core(move || remove(&path)).boxed_local()
    }
}

fn incoming(directory: &Path, of: Transmission) -> PathBuf {
    directory.join(format!("{INCOMING}{of}"))
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what no start begins from any more.
pub(super) fn tidy(directory: &Path, newest: Option<&CheckpointFile>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == TEMPORARY || name.starts_with(INCOMING) {
            fs::remove_file(&path)?;
        }
    }
    newest.map_or(Ok(()), |newest| remove_older(directory, &newest.path))
}

fn remove_older(directory: &Path, newest: &Path) -> io::Result<()> {
    for path in checkpoints(directory)? {
        if *path < *newest {
            fs::remove_file(path)?;
        }
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transmissions_that_fail_leave_no_files() {
        let directory = tempfile::tempdir().unwrap();
        let files = || fs::read_dir(directory.path()).unwrap().count();
        let incoming = Incoming::new(directory.path().to_owned(), ClusterId(uuid::Uuid::nil()));
        let test = async {
            for _ in 0..3 {
                let one = incoming.begin().await.unwrap();
                incoming.append(one, Bytes::from_static(b"half of it")).await.unwrap();
                assert_eq!(files(), 1, "the one before is given up");
            }
            let last = incoming.begin().await.unwrap();
            incoming.append(last, Bytes::from_static(b"no checkpoint")).await.unwrap();
            assert!(incoming.end(last).await.is_err());
            assert_eq!(files(), 0, "what is not sound is removed");
            let unused = incoming.begin().await.unwrap();
            incoming.discard(unused).await.unwrap();
            assert_eq!(files(), 0);
            incoming.discard(unused).await.unwrap();
        };
        glommio::LocalExecutorBuilder::default().make().unwrap().run(test);
    }
}
