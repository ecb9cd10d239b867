//! A list of changes as a stream: events for browsers, or lines for programs.
//! Between two parts it is a cursor and nothing else; the next part is read when
//! the one before is with the client.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    Api,
    accept::{self, Media},
    answer::{Frame, put_cursor_event, put_cursor_line},
    error::{ApiError, Code},
    list::{Question, Start, negotiated},
    query::{ChangesQuery, Since, invalid, read_last_event_id},
    reply::{Asked, Parked, Reply, purged},
};
use crate::{
    base::{
        ids::{ChangeId, ClusterId},
        limits::{HEARTBEAT, STREAM_PART_BYTES, STREAM_PART_CHANGES},
    },
    feed::Wait,
    http::{Method, Request, Response},
    node::Handle,
};

/// What a stream of events begins with: how soon a browser comes back.
const RETRY: &[u8] = b"retry: 1000\n";
/// The same where the node cannot serve it now.
const RETRY_UNAVAILABLE: &[u8] = b"retry: 3000\n";

/// What kind of stream is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamKind {
    /// Events without end; where to resume, if the client says so.
    Events(Option<ChangeId>),
    /// Lines.
    Lines(Lines),
}

/// How far lines go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    /// At most so many changes.
    limit: Option<usize>,
    /// Until so long passes without a change; else up to the newest one.
    block: Option<Duration>,
    /// Whether they say how far they have come.
    cursors: bool,
    /// Whether they say where they start, which the client does not know.
    from_now: bool,
}

impl StreamKind {
    /// # Errors
    /// [`Code::InvalidParameter`] for what has no meaning in a stream of events,
    /// and a `Last-Event-ID` that is none of ours.
    pub(super) fn events(request: &Request, query: &ChangesQuery) -> Result<Self, ApiError> {
        let given = [("limit", query.limit.is_some()), ("block", query.block.is_some())];
        for (name, given) in given {
            if given {
                let detail = format!("parameter \"{name}\" has no meaning in a stream of events");
                return Err(invalid(name, detail));
            }
        }
        let Some(id) = request.header("last-event-id") else {
            return Ok(Self::Events(query.last_event_id));
        };
        let id = std::str::from_utf8(id).ok().and_then(|id| read_last_event_id(id).ok());
        match id {
            Some(id) => Ok(Self::Events(id.or(query.last_event_id))),
            None => Err(invalid("Last-Event-ID", "header Last-Event-ID is not an id".into())),
        }
    }

    /// # Errors
    /// [`Code::InvalidParameter`] for what has a meaning in a stream of events only.
    pub(super) fn lines(query: &ChangesQuery) -> Result<Self, ApiError> {
        no_last_event_id(query)?;
        Ok(Self::Lines(Lines {
            limit: query.limit,
            block: query.block,
            cursors: query.cursors,
            from_now: query.since == Since::Now,
        }))
    }
}

/// # Errors
/// [`Code::InvalidParameter`] for an id that only a stream of events resumes by.
pub(super) fn no_last_event_id(query: &ChangesQuery) -> Result<(), ApiError> {
    match query.last_event_id {
        None => Ok(()),
        Some(_) => {
            let detail = "parameter \"lastEventId\" has a meaning in a stream of events only";
            Err(invalid("lastEventId", detail.into()))
        }
    }
}

/// A stream under way.
pub struct Stream {
    /// Asks for what follows what was sent.
    question: Question,
    frame: Frame,
    media: Media,
    /// Whether it says how far it has come. Events always do.
    cursors: bool,
    /// Whether it is to say where it starts.
    opening: bool,
    /// Everything up to the newest change was looked at, and the client told.
    caught_up: bool,
    /// What the client would go on from.
    told: ChangeId,
    /// Tells of changes after those that were looked at, once that is all.
    wait: Option<Wait>,
    /// Tells that retention comes to what the client was told, while it waits.
    overtaken: Option<Wait>,
    /// Changes that may still be sent.
    left: usize,
    /// Ends after this change, when it does not wait.
    until: Option<ChangeId>,
    /// Ends when so long passes without a change.
    idle: Option<Duration>,
    idle_end: Option<Instant>,
    heartbeat_at: Instant,
    /// Nothing more is sent.
    ended: bool,
    /// Its client takes no answer but events.
    takes_only_events: bool,
}

/// What comes next in a stream.
pub enum Next {
    /// Bytes to send.
    Part(Bytes),
    /// Nothing before [`Stream::poll_ready`], or until the moment comes.
    Wait(Instant),
    /// The end.
    End,
}

impl Stream {
    pub(super) fn new(
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

    /// The head of the answer.
    #[must_use]
    pub fn head(&self) -> Response {
        streamed(self.media)
    }

    /// Ready once there is something to look at.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut is_over = |wait: &mut Option<Wait>, or_none| {
            wait.as_mut().map_or(or_none, |wait| Pin::new(wait).poll(cx).is_ready())
        };
        match is_over(&mut self.wait, true) || is_over(&mut self.overtaken, false) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// When to look at the latest at a stream that waits.
    fn park(&mut self, node: &Handle) -> Next {
        let is_of_told = |wait: &Wait| !wait.is_over() && wait.since() == self.told;
        if self.cursors && !self.overtaken.as_ref().is_some_and(is_of_told) {
            self.overtaken = Some(node.until_purged(self.told));
        }
        Next::Wait(self.idle_end.map_or(self.heartbeat_at, |end| end.min(self.heartbeat_at)))
    }

    /// Goes on from what the wait was told of; whether that is all there is.
    fn stands(&mut self) -> bool {
        let Some(wait) = &self.wait else { return false };
        self.question.start = Start::After(wait.examined());
        if wait.is_over() {
            self.wait = None;
        }
        self.wait.is_some()
    }

    /// Adds what the client goes on from.
    fn put_cursor(&mut self, out: &mut BytesMut, cluster: ClusterId) {
        self.told = self.question.start.id();
        match self.frame {
            Frame::Events => put_cursor_event(out, self.told, cluster),
            _ => put_cursor_line(out, self.told),
        }
    }

    /// Adds what shows that the stream is alive and how far it is, where that is
    /// due.
    fn put_news(&mut self, out: &mut BytesMut, at_end: bool, node: &Handle, now: Instant) {
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
    fn end(&mut self, cluster: ClusterId) -> Next {
        self.ended = true;
        let mut out = BytesMut::new();
        if self.cursors && (self.frame == Frame::Lines || self.told != self.question.start.id()) {
            self.put_cursor(&mut out, cluster);
        }
        if out.is_empty() { Next::End } else { Next::Part(out.freeze()) }
    }
}

/// The head of a stream, of which no proxy is to hold anything back.
fn streamed(media: Media) -> Response {
    negotiated(Response::new(200))
        .with_content_type(media.name())
        .with_header("X-Accel-Buffering", "no")
}

/// A problem as an event, which the stream ends with.
fn problem_event(name: &str, retry: &[u8], error: ApiError) -> Bytes {
    let problem = Response::from(error);
    let mut out = BytesMut::from(retry);
    for piece in [b"event: ", name.as_bytes(), b"\ndata: ", problem.body(), b"\n\n"] {
        out.extend_from_slice(piece);
    }
    out.freeze()
}

/// The answer to a client that takes nothing but events, at a refusal that will
/// pass: a browser would give up for good at any status but 200.
pub(super) fn unavailable(error: ApiError) -> Response {
    let body = problem_event("unavailable", RETRY_UNAVAILABLE, error);
    let media = Media::Events;
    streamed(media).with_body(media.name(), body)
}

impl Api {
    /// Begins a stream, once this node holds what it must.
    pub(super) fn open_stream(
        &self,
        mut stream: Stream,
        deadline: Instant,
        now: Instant,
    ) -> Result<Reply, ApiError> {
        let may_wait = now < deadline && !self.node.is_stopping();
        match self.wait_for(stream.question.min_id, may_wait) {
            Ok(None) => {}
            Ok(Some(wait)) => {
                let asked = Asked::Stream(Box::new(stream));
                return Ok(Reply::Park(Parked { asked, wait, deadline }));
            }
            Err(error) if stream.takes_only_events => return Ok(Reply::Now(unavailable(error))),
            Err(error) => return Err(error),
        }
        let (first, last) = self.held();
        // Events are told of it by an event.
        if stream.question.start.is_purged(first) && stream.frame == Frame::Lines {
            return Err(purged(first));
        }
        if stream.question.start == Start::Oldest {
            stream.question.start = Start::After(ChangeId(first.0 - 1));
        }
        if stream.idle.is_none() {
            stream.until = Some(last);
        }
        Ok(Reply::Stream(Box::new(stream)))
    }

    /// The next part of a stream.
    ///
    /// # Errors
    /// When it cannot go on: it must break off.
    pub async fn advance(&self, stream: &mut Stream, now: Instant) -> Result<Next, ApiError> {
        match self.step(stream, now).await {
            Err(error) if stream.frame == Frame::Events && is_for_good(error.code) => {
                stream.ended = true;
                let retry = if stream.opening { RETRY } else { b"" };
                Ok(Next::Part(problem_event("reset", retry, error)))
            }
            next => next,
        }
    }

    async fn step(&self, stream: &mut Stream, now: Instant) -> Result<Next, ApiError> {
        let cluster = self.node.cluster();
        if stream.ended {
            return Ok(Next::End);
        }
        if let Some(why) = self.node.status().halted() {
            return Err(ApiError::new(Code::Storage, why));
        }
        if stream.opening {
            let first = self.node.history().first();
            if stream.question.start.is_purged(first) {
                return Err(purged(first));
            }
            stream.opening = false;
            let mut out = BytesMut::from(if stream.frame == Frame::Events { RETRY } else { b"" });
            stream.put_cursor(&mut out, cluster);
            return Ok(Next::Part(out.freeze()));
        }
        let is_ahead = |stream: &Stream| {
            stream.until.is_none_or(|until| stream.question.start.id() < until) && stream.left > 0
        };
        if self.node.is_stopping() {
            // One that goes on elsewhere ends; an export must not look complete.
            return match stream.until.is_some() && is_ahead(stream) {
                true => Err(ApiError::new(Code::Internal, "the node stops")),
                false => Ok(self.last_part(stream, now).await?),
            };
        }
        let (mut out, mut at_end) = (BytesMut::new(), true);
        if !stream.stands() && is_ahead(stream) {
            (out, at_end) = self.read_part(stream, now).await?;
        }
        let is_over = stream.left == 0
            || (at_end && stream.until.is_some())
            || stream.idle_end.is_some_and(|end| end <= now);
        if is_over && out.is_empty() && at_end {
            return Ok(stream.end(cluster));
        }
        if !is_over {
            stream.put_news(&mut out, at_end, &self.node, now);
        }
        if !out.is_empty() || !at_end {
            // Much may have been looked at for nothing; others get their turn.
            return Ok(Next::Part(out.freeze()));
        }
        Ok(stream.park(&self.node))
    }

    /// What is left to say at a stop of the node: to a client that has caught up,
    /// what came since, too.
    async fn last_part(&self, stream: &mut Stream, now: Instant) -> Result<Next, ApiError> {
        if stream.wait.is_some() && !stream.stands() && stream.left > 0 {
            let (out, _) = self.read_part(stream, now).await?;
            stream.wait = None;
            if !out.is_empty() {
                return Ok(Next::Part(out.freeze()));
            }
        }
        Ok(stream.end(self.node.cluster()))
    }

    /// The changes that follow, as many as a part has, and whether these are all.
    async fn read_part(
        &self,
        stream: &mut Stream,
        now: Instant,
    ) -> Result<(BytesMut, bool), ApiError> {
        let question = &mut stream.question;
        question.limit = stream.left.min(STREAM_PART_CHANGES);
        let cursor = self.cursor(question)?;
        let until = stream.until.unwrap_or(ChangeId(u64::MAX));
        let part = self.read(question, cursor, stream.frame, until, STREAM_PART_BYTES).await?;
        question.start = Start::After(part.examined);
        if part.at_end && stream.until.is_none() {
            stream.wait = Some(self.node.beyond(question.list, part.examined));
        }
        let changes = part.list.changes();
        if changes > 0 {
            stream.left = stream.left.saturating_sub(changes);
            stream.idle_end = stream.idle.and_then(|idle| now.checked_add(idle));
            stream.caught_up = false;
            if stream.frame == Frame::Lines {
                stream.heartbeat_at = now + HEARTBEAT;
            }
        }
        Ok((part.list.into_part(), part.at_end))
    }
}

/// Whether a client that comes back would be told the same.
fn is_for_good(code: Code) -> bool {
    matches!(code, Code::Purged | Code::NotFound)
}
