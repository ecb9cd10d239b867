//! What the API makes of a request: an answer, or something to wait for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    error::ApiError,
    read::{
        question::{KeyQuestion, MovedQuestion, Question},
        stream::ChangeStream,
    },
    request::accept::negotiated,
    streamed::Streamed,
    write::Write,
};
use crate::{
    base::ids::ChangeId,
    feed::Wait,
    http::{Request, Response},
    node::log_reads::EntryWait,
};

/// What became of a request.
pub enum Reply {
    /// The answer.
    Now(Response),
    /// A write is under way.
    Write(Write),
    /// There is nothing to answer with yet.
    Park(Parked),
    /// An answer in parts.
    Stream(Streamed),
}

/// A read that waits for a change, at most until its deadline.
pub struct Parked {
    pub(super) asked: ParkedRead,
    pub(super) wait: Awaited,
    /// When to answer with what there is.
    pub deadline: Instant,
}

/// What a parked read waits for.
pub(super) enum Awaited {
    /// A change, or that retention comes to where it is.
    Changes(Wait),
    /// An entry of the log.
    Entry(EntryWait),
}

impl From<Wait> for Awaited {
    fn from(wait: Wait) -> Self {
        Self::Changes(wait)
    }
}

impl Awaited {
    /// The newest change that is known not to be one of those waited for.
    pub(super) fn examined(&self) -> ChangeId {
        match self {
            Self::Changes(wait) => wait.examined(),
            Self::Entry(_) => unreachable!("reads of changes wait for changes"),
        }
    }
}

/// What is to be asked again after a wait.
pub(super) enum ParkedRead {
    /// A list of changes, once this node holds the change that it must.
    List(Question),
    /// A list of changes of which everything was examined that there was.
    Rest(Question),
    /// A key.
    Key(Box<KeyQuestion>),
    /// The keys that moved, of which everything was examined that there was.
    Moved(Box<MovedQuestion>),
    /// A stream that has not begun.
    Stream(Box<ChangeStream>),
    /// Anything else, from the start.
    Request(Box<Request>),
}

impl Parked {
    /// Bytes that it keeps of its request.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.asked {
            ParkedRead::Request(request) => request.held_bytes(),
            _ => 0,
        }
    }

    /// The answer where it may not go on for `error`.
    #[must_use]
    pub fn refusal(&self, error: ApiError) -> Response {
        match &self.asked {
            ParkedRead::Request(_) | ParkedRead::Key(_) | ParkedRead::Moved(_) => error.into(),
            _ => negotiated(error.into()),
        }
    }

    /// Ready once it is worth asking again.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wait {
            Awaited::Changes(wait) => Pin::new(wait).poll(cx),
            Awaited::Entry(wait) => Pin::new(wait).poll(cx),
        }
    }
}
