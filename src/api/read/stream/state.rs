//! A stream under way: how far it is, and what it is to say next.

use std::{
    future::Future,
    pin::Pin,
    task::{Context as Task, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{event::streamed, kind::StreamKind, walk::Walk};
use crate::{
    api::{
        read::{
            answer::{Frame, put_cursor_event, put_cursor_line},
            question::{Question, Start},
        },
        request::accept::{self, Media},
    },
    base::{
        ids::{ChangeId, ClusterId},
        limits::HEARTBEAT,
        planted::planted,
    },
    feed::Wait,
    http::{Method, Request, Response},
    node::Handle,
};

/// A stream under way.
pub struct ChangeStream {
    /// The state that it begins with, as far as that is not sent.
    pub(super) walk: Option<Walk>,
    /// Asks for what follows what was sent.
    pub(super) question: Question,
    pub(super) frame: Frame,
    pub(super) media: Media,
    /// Whether it says how far it has come. Events always do.
    pub(super) cursors: bool,
    /// Whether it is to say where it starts.
    pub(super) opening: bool,
    /// Everything up to the newest change was looked at, and the client told.
    pub(super) caught_up: bool,
    /// What the client would go on from.
    pub(super) told: ChangeId,
    /// Tells of changes after those that were looked at, once that is all.
    pub(super) wait: Option<Wait>,
    /// Tells that retention comes to what the client was told, while it waits.
    pub(super) overtaken: Option<Wait>,
    /// Changes that may still be sent.
    pub(super) left: usize,
    /// Ends after this change, when it does not wait.
    pub(super) until: Option<ChangeId>,
    /// Ends when so long passes without a change.
    pub(super) idle: Option<Duration>,
    pub(super) idle_end: Option<Instant>,
    pub(super) heartbeat_at: Instant,
    /// Nothing more is sent.
    pub(super) ended: bool,
    /// Its client takes no answer but events.
    pub(super) takes_only_events: bool,
}

/// What comes next in a stream.
pub enum Next {
    /// Bytes to send.
    Part(Bytes),
    /// Nothing before `ChangeStream::poll_ready`, or until the moment comes.
    Wait(Instant),
    /// The end.
    End,
}

impl ChangeStream {
    pub(in crate::api) fn new(
        mut question: Question,
        kind: StreamKind,
        media: Media,
        request: &Request,
        now: Instant,
    ) -> Self {
        let (frame, cursors, opening, limit, idle) = match kind {
            StreamKind::Events(resume) => {
                question.start = match resume {
                    None => question.start,
                    Some(ChangeId::ZERO) => Start::Oldest,
                    Some(id) => Start::After(id),
                };
                (Frame::Events, true, true, None, Some(Duration::MAX))
            }
            StreamKind::Lines(lines) => {
                let opening = lines.cursors && lines.from_now;
                (Frame::Lines, lines.cursors, opening, lines.limit, lines.block)
            }
        };
        Self {
            walk: None,
            told: question.start.id(),
            question,
            frame,
            media,
            cursors,
            opening,
            caught_up: false,
            wait: None,
            overtaken: None,
            left: limit.unwrap_or(usize::MAX),
            until: None,
            idle,
            idle_end: idle.and_then(|idle| now.checked_add(idle)),
            heartbeat_at: now + HEARTBEAT,
            ended: request.method() == Method::Head,
            takes_only_events: accept::takes_only(request, Media::Events),
        }
    }

    /// The same, which begins with a state: that says where it goes on.
    pub(in crate::api) fn with_state(self, walk: Walk) -> Self {
        Self { walk: Some(walk), ..self }
    }

    /// The head of the answer.
    #[must_use]
    pub fn head(&self) -> Response {
        streamed(self.media)
    }

    /// Ready once there is something to look at.
    pub fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<()> {
        let mut is_over = |wait: &mut Option<Wait>, or_none| {
            wait.as_mut().map_or(or_none, |wait| Pin::new(wait).poll(cx).is_ready())
        };
        match is_over(&mut self.wait, true) || is_over(&mut self.overtaken, false) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// When to look at the latest at a stream that waits.
    pub(super) fn park(&mut self, node: &Handle) -> Next {
        let is_of_told = |wait: &Wait| !wait.is_over() && wait.since() == self.told;
        if self.cursors && !self.overtaken.as_ref().is_some_and(is_of_told) {
            self.overtaken = Some(node.until_purged(self.told));
        }
        Next::Wait(self.idle_end.map_or(self.heartbeat_at, |end| end.min(self.heartbeat_at)))
    }

    /// Takes over how far the wait was told; whether it goes on, since that is all
    /// there is.
    pub(super) fn follow_wait(&mut self) -> bool {
        let Some(wait) = &self.wait else { return false };
        self.question.start = Start::After(wait.examined());
        if wait.is_over() {
            self.wait = None;
        }
        self.wait.is_some()
    }

    /// Adds what the client goes on from.
    pub(super) fn put_cursor(&mut self, out: &mut BytesMut, cluster: ClusterId) {
        self.told = self.question.start.id();
        if planted!(CursorAhead) {
            self.told.0 += 1;
        }
        match self.frame {
            Frame::Events => put_cursor_event(out, self.told, cluster),
            _ => put_cursor_line(out, self.told),
        }
    }

    /// Adds what shows that the stream is alive and how far it is, where that is
    /// due.
    pub(super) fn put_progress(
        &mut self,
        out: &mut BytesMut,
        at_end: bool,
        node: &Handle,
        now: Instant,
    ) {
        let is_ahead = self.told != self.question.start.id();
        let is_overtaken = self.cursors && at_end && is_ahead && self.told < node.purged_next();
        let is_due = self.heartbeat_at <= now || is_overtaken;
        let moved = !out.is_empty() || is_ahead;
        let arrived = at_end && !self.caught_up && moved && self.frame == Frame::Events;
        self.caught_up = at_end;
        if !is_due && !arrived {
            return;
        }
        self.heartbeat_at = now + HEARTBEAT;
        match self.cursors {
            true => self.put_cursor(out, node.cluster()),
            false => out.extend_from_slice(b"\n"),
        }
    }

    /// Ends in good order.
    pub(super) fn end(&mut self, cluster: ClusterId) -> Next {
        self.ended = true;
        let mut out = BytesMut::new();
        if self.cursors && (self.frame == Frame::Lines || self.told != self.question.start.id()) {
            self.put_cursor(&mut out, cluster);
        }
        if out.is_empty() { Next::End } else { Next::Part(out.freeze()) }
    }
}
