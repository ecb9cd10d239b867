//! What the cores tell the main thread.

use std::sync::mpsc;

use tokio::sync::mpsc as async_mpsc;

use super::error::ServerError;
use crate::node::{Ready, replica::End};

/// How a core reports to the main thread, and shows the Raft core that it runs.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) alive: async_mpsc::Sender<()>,
}

/// What the cores tell the main thread.
pub(super) enum Event {
    /// The replica is there: serving cores may start.
    Ready(Ready),
    /// One serving core accepts connections.
    Serving,
    /// The node stops: it accepts no more.
    Stopping,
    /// The node stopped, or did not start.
    Stopped(Result<End, ServerError>),
}
