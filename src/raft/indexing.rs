//! What there is to be done for the indexes of segments.

use std::cell::Cell;

use tokio::sync::{Mutex, Notify};

/// How much a start would have to go through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weights {
    /// Bytes of the indexes since the newest whole state, about.
    pub(super) changed: u64,
    /// Bytes of that.
    pub(super) whole: u64,
}

/// What the one who makes them is told, and keeps in mind.
pub(super) struct Indexing {
    wake: Notify,
    weights: Cell<Weights>,
    writing: Cell<bool>,
    replacing: Mutex<()>,
}

impl Indexing {
    pub(super) fn new(weights: Weights) -> Self {
        let wake = Notify::new();
        // What a start has left is to be done at once.
        wake.notify_one();
        Self {
            wake,
            weights: Cell::new(weights),
            writing: Cell::new(false),
            replacing: Mutex::new(()),
        }
    }

    /// Says that there may be something to be done.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Resolves when somebody has said so.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn weights(&self) -> Weights {
        self.weights.get()
    }

    pub(super) fn set_weights(&self, weights: Weights) {
        self.weights.set(weights);
    }

    /// To be held by whoever puts another index in the place of one.
    pub(super) fn replacing(&self) -> &Mutex<()> {
        &self.replacing
    }

    /// Whether a whole state is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.get()
    }

    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.set(writing);
    }
}
