//! Answers in parts, whoever makes these.

use std::task::{Context as Task, Poll};

use super::{hand_on::PassedOn, read::stream::ChangeStream};
use crate::http::Response;

/// An answer in parts.
pub enum Streamed {
    /// Of what is here.
    Own(Box<ChangeStream>),
    /// Of what an origin of this copy gives.
    PassedOn(Box<PassedOn>),
}

impl From<ChangeStream> for Streamed {
    fn from(stream: ChangeStream) -> Self {
        Self::Own(Box::new(stream))
    }
}

impl Streamed {
    /// Its head.
    #[must_use]
    pub fn head(&self) -> Response {
        match self {
            Self::Own(stream) => stream.head(),
            Self::PassedOn(stream) => stream.head(),
        }
    }

    /// Whether it may end where it waits: what is passed on may wait in the middle of a list, and must not
    /// look complete.
    #[must_use]
    pub const fn may_end_early(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Ready once there is something to look at.
    pub fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<()> {
        match self {
            Self::Own(stream) => stream.poll_ready(cx),
            Self::PassedOn(stream) => stream.poll_ready(cx),
        }
    }
}
