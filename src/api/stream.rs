//! A list of changes as a stream: events for browsers, or lines for programs.
//! Between two parts it is a cursor and nothing else; the next part is read when
//! the one before is with the client.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Api,
    answer::Frame,
    error::{ApiError, Code},
    list::Question,
    reply::{Asked, Parked, Reply},
};
use crate::{
    base::{
        ids::ChangeId,
        limits::{HEARTBEAT, STREAM_PART_BYTES, STREAM_PART_CHANGES},
    },
    feed::Wait,
    http::{Method, Request, Response},
};

/// What kind of stream is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamKind {
    /// Events without end; where to resume, if the client says so.
    Events(Option<ChangeId>),
    /// Lines: at most so many, up to the newest change or until so long passes
    /// without one.
    Lines(Option<usize>, Option<Duration>),
}

impl StreamKind {
    /// # Errors
    /// [`Code::InvalidParameter`] for what has no meaning in a stream of events,
    /// and a `Last-Event-ID` that is none of ours.
    pub(super) fn events(
        request: &Request,
        limit: &Option<usize>,
        block: &Option<Duration>,
    ) -> Result<Self, ApiError> {
        for (name, given) in [("limit", limit.is_some()), ("block", block.is_some())] {
            if given {
                let detail = format!("parameter \"{name}\" has no meaning in a stream of events");
                return Err(invalid(name, detail));
            }
        }
        // An empty one is that of a client that has seen no event.
        let id = request.header("last-event-id").filter(|id| !id.is_empty());
        let Some(id) = id else { return Ok(Self::Events(None)) };
        let digits = id.iter().all(u8::is_ascii_digit);
        let id = std::str::from_utf8(id).ok().filter(|_| digits).and_then(|id| id.parse().ok());
        match id {
            Some(id) => Ok(Self::Events(Some(ChangeId(id)))),
            None => Err(invalid("Last-Event-ID", "header Last-Event-ID is not an id".into())),
        }
    }

    pub(super) fn lines(limit: Option<usize>, block: Option<Duration>) -> Self {
        Self::Lines(limit, block)
    }
}

fn invalid(name: &str, detail: String) -> ApiError {
    ApiError::new(Code::InvalidParameter, detail).with_text("parameter", name)
}

/// A stream under way.
pub struct Stream {
    /// Asks for what follows what was sent.
    question: Question,
    frame: Frame,
    /// Changes that may still be sent.
    left: usize,
    /// Ends after this change, when it does not wait.
    until: Option<ChangeId>,
    /// Ends when so long passes without a change.
    idle: Option<Duration>,
    idle_end: Option<Instant>,
    heartbeat_at: Instant,
    /// Only the head of the answer was asked for.
    head_only: bool,
}

/// What comes next in a stream.
pub enum Next {
    /// Bytes to send.
    Part(Bytes),
    /// Nothing before this resolves, or until the moment comes.
    Wait(Wait, Instant),
    /// The end.
    End,
}

impl Stream {
    pub(super) fn new(
        mut question: Question,
        kind: StreamKind,
        request: &Request,
        now: Instant,
    ) -> Self {
        let (frame, limit, idle) = match kind {
            StreamKind::Events(resume) => {
                question.since = resume.unwrap_or(question.since);
                (Frame::Events, None, Some(Duration::MAX))
            }
            StreamKind::Lines(limit, block) => (Frame::Lines, limit, block),
        };
        Self {
            question,
            frame,
            left: limit.unwrap_or(usize::MAX),
            until: None,
            idle,
            idle_end: idle.and_then(|idle| now.checked_add(idle)),
            heartbeat_at: match frame {
                // So that a browser knows at once that it is connected.
                Frame::Events => now,
                _ => now + HEARTBEAT,
            },
            head_only: request.method() == Method::Head,
        }
    }

    /// The head of the answer.
    #[must_use]
    pub fn head(&self) -> Response {
        let media = match self.frame {
            Frame::Events => "text/event-stream",
            _ => "application/x-ndjson",
        };
        Response::new(200).with_content_type(media).with_header("Cache-Control", "no-store")
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(match self.frame {
            Frame::Events => b": heartbeat\n\n",
            _ => b"\n",
        })
    }
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
        if let Some(wait) = self.wait_for(stream.question.min_id, may_wait)? {
            let asked = Asked::Stream(Box::new(stream));
            return Ok(Reply::Park(Parked { asked, wait, deadline }));
        }
        let (first, last) = self.held();
        let since = stream.question.since;
        if since != ChangeId::ZERO && since.0 < first.0 - 1 {
            return Err(super::reply::purged(first));
        }
        if stream.idle.is_none() {
            stream.until = Some(last);
        }
        Ok(Reply::Stream(Box::new(stream)))
    }

    /// The next part of a stream.
    ///
    /// # Errors
    /// When a change cannot be read: the stream must break off.
    pub async fn advance(&self, stream: &mut Stream, now: Instant) -> Result<Next, ApiError> {
        if stream.head_only || stream.left == 0 {
            return Ok(Next::End);
        }
        if self.node.is_stopping() {
            // One that goes on elsewhere ends; an export must not look complete.
            return match stream.until {
                Some(until) if stream.question.since < until => {
                    Err(ApiError::new(Code::Internal, "the node stops"))
                }
                _ => Ok(Next::End),
            };
        }
        let question = &mut stream.question;
        question.limit = stream.left.min(STREAM_PART_CHANGES);
        let cursor = match self.cursor(question) {
            Ok(cursor) => cursor,
            // The tenant or collection was deleted meanwhile.
            Err(_) => return Ok(Next::End),
        };
        let until = stream.until.unwrap_or(ChangeId(u64::MAX));
        if question.since < until {
            let part = self.read_part(question, cursor, stream.frame, until).await?;
            question.since = part.examined;
            if part.changes > 0 {
                stream.left = stream.left.saturating_sub(part.changes);
                stream.idle_end = stream.idle.and_then(|idle| now.checked_add(idle));
                stream.heartbeat_at = now + HEARTBEAT;
                return Ok(Next::Part(part.bytes));
            }
            if !part.at_end {
                // Much was looked at for nothing; others get their turn.
                return Ok(Next::Part(Bytes::new()));
            }
        }
        let ended = stream.until.is_some() || stream.idle_end.is_some_and(|end| end <= now);
        if ended {
            return Ok(Next::End);
        }
        if stream.heartbeat_at <= now {
            stream.heartbeat_at = now + HEARTBEAT;
            return Ok(Next::Part(stream.heartbeat()));
        }
        let wait = self.node.beyond(question.list, question.since);
        let wake = stream.idle_end.map_or(stream.heartbeat_at, |end| end.min(stream.heartbeat_at));
        Ok(Next::Wait(wait, wake))
    }

    async fn read_part(
        &self,
        question: &Question,
        cursor: Option<crate::state::Cursor>,
        frame: Frame,
        until: ChangeId,
    ) -> Result<StreamPart, ApiError> {
        let part = self.read(question, cursor, frame, until, STREAM_PART_BYTES).await?;
        let (changes, examined, at_end) = (part.list.changes(), part.examined, part.at_end);
        Ok(StreamPart { bytes: part.list.into_part(), changes, examined, at_end })
    }
}

/// A part of a stream, rendered.
struct StreamPart {
    bytes: Bytes,
    changes: usize,
    examined: ChangeId,
    at_end: bool,
}
