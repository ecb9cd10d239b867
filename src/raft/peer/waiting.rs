//! Answers to come, in order.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;

use super::message::Answer;

/// The number of a request, the bytes of its body, and its answer to come.
type Answering = (u64, usize, LocalBoxFuture<'static, (Answer, Bytes)>);

/// Answers that are sent in the order of their requests.
#[derive(Default)]
pub(super) struct Waiting {
    queue: RefCell<VecDeque<Answering>>,
    wake: Notify,
    closed: Cell<bool>,
}

impl Waiting {
    pub(super) fn push(&self, answering: Answering) {
        self.queue.borrow_mut().push_back(answering);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
    }

    pub(super) async fn next(&self) -> Option<Answering> {
        loop {
            if self.closed.get() {
                return None;
            }
            let next = self.queue.borrow_mut().pop_front();
            if next.is_some() {
                return next;
            }
            self.wake.notified().await;
        }
    }
}
