//! The queue between those who answer and the one who writes lines down.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::api::metrics::{Counter, Metrics};

/// Lines that wait to be written down at most; above it they are lost, and counted.
const LINES_MAX: usize = 1024;

/// Where lines are told.
#[derive(Debug, Default)]
pub struct Audit(Option<Told>);

#[derive(Debug)]
struct Told {
    lines: SyncSender<Entry>,
    events: Counter,
    lost: Counter,
}

/// What is told to who writes lines down.
#[derive(Debug)]
pub enum Entry {
    /// A line, which ends with a line break.
    Line(String),
    /// There will be no more.
    End,
}

impl Audit {
    /// Tells lines to who has the other end, and counts them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> (Self, Receiver<Entry>) {
        let (lines, told) = sync_channel(LINES_MAX);
        let (events, lost) = (metrics.audit_events.clone(), metrics.audit_lost.clone());
        (Self(Some(Told { lines, events, lost })), told)
    }

    /// Whether anybody wants to know.
    pub(super) fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Says that there will be no more lines; whether there was room to say so.
    #[must_use]
    pub fn end(&self) -> bool {
        let end = |told: &Told| told.lines.try_send(Entry::End);
        !matches!(self.0.as_ref().map(end), Some(Err(TrySendError::Full(_))))
    }

    pub(super) fn tell(&self, line: String) {
        let Some(told) = &self.0 else { return };
        told.events.inc();
        match told.lines.try_send(Entry::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                told.lost.inc();
            }
        }
    }
}
