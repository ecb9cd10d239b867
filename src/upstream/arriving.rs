//! An answer as it arrives, in whatever pieces.

use bytes::BytesMut;

use super::answer::{Answer, Ending, HEAD_BYTES_MAX, Head, head};
use crate::{
    base::limits::Limits,
    http::{Body, BodyLength},
};

/// An answer that is complete, and whether its connection may be used for another request.
pub(super) type Complete = (Answer, bool);

/// An answer that is not complete yet.
pub(super) struct Arriving {
    /// How long its body may be.
    limits: Limits,
    /// It is one to `HEAD`.
    to_head: bool,
    stage: Stage,
}

enum Stage {
    /// What came of the head.
    Head(Vec<u8>),
    Body {
        answer: Answer,
        keeps: bool,
        /// Nothing where it ends with the connection.
        body: Option<Body>,
        /// What came and is not taken.
        rest: BytesMut,
    },
}

impl Arriving {
    /// An answer of which nothing has come, with a body of at most so many bytes.
    pub(super) fn new(most: usize, to_head: bool) -> Self {
        let limits = Limits { body_bytes: most, ..Limits::default() };
        Self { limits, to_head, stage: Stage::Head(Vec::new()) }
    }

    /// Whether its head is complete.
    pub(super) fn has_head(&self) -> bool {
        matches!(self.stage, Stage::Body { .. })
    }

    /// Bytes of memory that its body takes.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.stage {
            Stage::Head(_) => 0,
            Stage::Body { body, rest, .. } => {
                rest.capacity() + body.as_ref().map_or(0, Body::held_bytes)
            }
        }
    }

    /// Takes what came next; gives the answer once it is complete.
    ///
    /// # Errors
    /// It is none, or longer than it may be.
    pub(super) fn receive(&mut self, part: &[u8]) -> Result<Option<Complete>, String> {
        match &mut self.stage {
            Stage::Head(received) => {
                received.extend_from_slice(part);
                let Some(head) = head(received, self.to_head)? else {
                    return match received.len() > HEAD_BYTES_MAX {
                        true => Err("the head of its answer is too long".to_owned()),
                        false => Ok(None),
                    };
                };
                let rest = BytesMut::from(received.get(head.bytes..).unwrap_or_default());
                self.begin_body(head, rest)?;
            }
            Stage::Body { rest, .. } => rest.extend_from_slice(part),
        }
        self.body_so_far()
    }

    fn too_long(&self) -> String {
        format!("its answer is longer than {} bytes", self.limits.body_bytes)
    }

    fn begin_body(&mut self, head: Head, rest: BytesMut) -> Result<(), String> {
        let Head { answer, ending, keeps, .. } = head;
        let body = match ending {
            Ending::Close => None,
            Ending::Length(BodyLength::Known(bytes)) if bytes > self.limits.body_bytes => {
                return Err(self.too_long());
            }
            Ending::Length(length) => Some(Body::new(length, &self.limits)),
        };
        self.stage = Stage::Body { answer, keeps, body, rest };
        Ok(())
    }

    fn body_so_far(&mut self) -> Result<Option<Complete>, String> {
        let Stage::Body { answer, keeps, body, rest } = &mut self.stage else {
            return Ok(None);
        };
        let Some(body) = body else {
            let is_too_long = rest.len() > self.limits.body_bytes;
            return if is_too_long { Err(self.too_long()) } else { Ok(None) };
        };
        let complete = body.advance(rest, &self.limits).map_err(|error| error.detail())?;
        Ok(complete.map(|body| {
            answer.body = body;
            // What comes behind an answer that nobody asked for is no answer.
            (std::mem::take(answer), *keeps && rest.is_empty())
        }))
    }

    /// What it is where nothing more comes; nothing where something is missing.
    pub(super) fn end(self) -> Option<Complete> {
        match self.stage {
            Stage::Body { mut answer, body: None, rest, .. } => {
                answer.body = rest.freeze();
                Some((answer, false))
            }
            _ => None,
        }
    }
}
