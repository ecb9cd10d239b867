//! Which stream a request asks for, and what has no meaning in it.

use std::time::Duration;

use crate::{
    api::{
        error::ApiError,
        request::{
            ChangesQuery, Since,
            parameter::{invalid, read_last_event_id},
        },
    },
    base::ids::ChangeId,
    http::Request,
};

/// What kind of stream is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum StreamKind {
    /// Events without end; where to resume, if the client says so.
    Events(Option<ChangeId>),
    /// Lines.
    Lines(Lines),
}

/// How far lines go.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Lines {
    /// At most so many changes.
    pub(in crate::api) limit: Option<usize>,
    /// Until so long passes without a change; else up to the newest one.
    pub(in crate::api) block: Option<Duration>,
    /// Whether they say how far they have come.
    pub(in crate::api) cursors: bool,
    /// Whether they say where they start, which the client does not know.
    pub(in crate::api) from_now: bool,
}

impl StreamKind {
    /// # Errors
    /// `Code::InvalidParameter` for what has no meaning in a stream of events,
    /// and a `Last-Event-ID` that is none of ours.
    pub(in crate::api) fn events(
        request: &Request,
        query: &ChangesQuery,
    ) -> Result<Self, ApiError> {
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
    /// `Code::InvalidParameter` for what has a meaning in a stream of events only.
    pub(in crate::api) fn lines(query: &ChangesQuery) -> Result<Self, ApiError> {
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
/// `Code::InvalidParameter` for an id that only a stream of events resumes by.
pub(in crate::api) fn no_last_event_id(query: &ChangesQuery) -> Result<(), ApiError> {
    match query.last_event_id {
        None => Ok(()),
        Some(_) => {
            let detail = "parameter \"lastEventId\" has a meaning in a stream of events only";
            Err(invalid("lastEventId", detail.into()))
        }
    }
}
