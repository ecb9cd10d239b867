//! Who writes the audit log down: a thread of its own, so that a slow disk holds up nobody.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::error::ServerError;
use crate::{
    api::{
        audit::{Audit, Entry},
        metrics::Metrics,
    },
    io::real::LineFile,
};

/// How long the end of a node waits for lines to be written that are not yet.
const END_MAX: Duration = Duration::from_secs(2);
/// How often it is tried to say so, where many lines wait.
const END_LOOK: Duration = Duration::from_millis(10);
/// What stands for standard error.
const STANDARD_ERROR: &str = "-";

/// The audit log, and the thread that writes it.
pub(super) struct AuditLog {
    pub(super) audit: Arc<Audit>,
    /// Closed once all is written; nothing where there is no such log.
    ended: Option<Receiver<()>>,
}

impl AuditLog {
    /// Begins to write it to that file, or to standard error if it is called `-`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn start(file: Option<&Path>, metrics: Arc<Metrics>) -> Result<Self, ServerError> {
        let Some(path) = file else { return Ok(Self { audit: Arc::default(), ended: None }) };
        let place = Place::open(path)
            .map_err(|error| ServerError::Audit(path.display().to_string(), error))?;
        let (audit, entries) = Audit::new(&metrics);
        let (writing, ended) = mpsc::channel();
        let write = move || {
            write_all(place, &entries, &metrics);
            drop(writing);
        };
        let thread = thread::Builder::new().name("audit".into()).spawn(write);
        thread.map_err(|error| ServerError::System("cannot start a thread", error))?;
        Ok(Self { audit: audit.into(), ended: Some(ended) })
    }

    /// Waits until what was told is written, for [`END_MAX`] at most.
    pub(super) fn end(&self) {
        let Some(ended) = &self.ended else { return };
        let until = Instant::now() + END_MAX;
        while !self.audit.end() && Instant::now() < until {
            thread::sleep(END_LOOK);
        }
        let left = until.saturating_duration_since(Instant::now());
        if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the audit log takes too long to be written: its last lines are lost");
        }
    }
}

/// Where lines go.
enum Place {
    StandardError,
    File(LineFile),
}

impl Place {
    fn open(path: &Path) -> io::Result<Self> {
        match path == Path::new(STANDARD_ERROR) {
            true => Ok(Self::StandardError),
            false => LineFile::open(path.into()).map(Self::File),
        }
    }

    fn add(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::StandardError => io::stderr().lock().write_all(line.as_bytes()),
            Self::File(file) => file.add(line),
        }
    }
}

/// Writes lines until there are no more. What cannot be written is lost: that is told once for as long as it lasts,
/// and counted.
fn write_all(mut place: Place, entries: &Receiver<Entry>, metrics: &Metrics) {
    let mut lost = 0u64;
    while let Ok(Entry::Line(line)) = entries.recv() {
        match place.add(&line) {
            Ok(()) if lost > 0 => {
                tracing::info!(lost, "the audit log is written again");
                lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if lost == 0 {
                    tracing::warn!(%error, "the audit log cannot be written: its lines are lost");
                }
                lost += 1;
                metrics.audit_lost.inc();
            }
        }
    }
}
