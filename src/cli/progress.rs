//! Progress on standard error, when that is a terminal.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often it moves while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// A bar, or nothing.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of a file: bytes, when it is known how many there are.
    pub(super) fn of_bytes(total: Option<u64>) -> Self {
        match total {
            Some(total) => {
                Self::with(total, "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}")
            }
            None => Self::with(0, "{spinner} {bytes} {bytes_per_sec} {msg}"),
        }
    }

    /// Of a list: ids.
    pub(super) fn of_ids() -> Self {
        Self::with(0, "{wide_bar} {pos}/{len} {per_sec} {eta} {msg}")
    }

    /// Of something that comes about elsewhere: what is still missing.
    pub(super) fn of_wait() -> Self {
        let progress = Self::with(0, "{spinner} {msg} ({elapsed})");
        if !progress.0.is_hidden() {
            progress.0.enable_steady_tick(TICK);
        }
        progress
    }

    fn with(total: u64, template: &str) -> Self {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new(total)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn total(&self, total: u64) {
        self.0.set_length(total);
    }

    pub(super) fn reach(&self, position: u64) {
        self.0.set_position(position);
    }

    pub(super) fn say(&self, message: String) {
        self.0.set_message(message);
    }
}

impl Drop for Progress {
    /// What is written afterwards stands on a line of its own.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
