//! What waits to be written to a connection.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::IoSlice,
    rc::Rc,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::frame::Parts;
use crate::io::net::Stream;

/// Parts that one system call writes.
const WRITE_PARTS: usize = 64;

/// What waits to be written to a stream, in order.
pub(super) struct Outgoing {
    pub(super) stream: Rc<Stream>,
    parts: RefCell<VecDeque<Bytes>>,
    wake: Notify,
    ended: Cell<bool>,
}

impl Outgoing {
    pub(super) fn new(stream: Rc<Stream>) -> Self {
        let (parts, wake, ended) = (RefCell::default(), Notify::new(), Cell::new(false));
        Self { stream, parts, wake, ended }
    }

    /// The address at the other end; empty where it is not known.
    pub(super) fn peer(&self) -> String {
        self.stream.peer().map(|peer| peer.to_string()).unwrap_or_default()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(super) fn push(&self, parts: Parts) {
        self.parts.borrow_mut().extend(parts);
        self.wake.notify_one();
    }

    /// Closes the stream; what waits is not written any more.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.stream.close();
        self.wake.notify_one();
    }

    /// Writes until the stream ends.
    pub(super) async fn run(&self) {
        let mut taken: VecDeque<Bytes> = VecDeque::new();
        while !self.ended.get() {
            taken.append(&mut self.parts.borrow_mut());
            if taken.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let parts: Vec<IoSlice<'_>> =
                taken.iter().take(WRITE_PARTS).map(|part| IoSlice::new(part)).collect();
            match self.stream.write(&parts).await {
                Ok(written) => advance(&mut taken, written),
                Err(_) => return self.end(),
            }
        }
    }
}

/// Takes away what was written.
fn advance(parts: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = parts.front_mut() {
        if written < front.len() {
            drop(front.split_to(written));
            return;
        }
        written -= front.len();
        parts.pop_front();
    }
}
