//! An answer, before it is encoded.

use super::{error::ProtocolError, problem};
use bytes::Bytes;
use smallvec::SmallVec;
use std::borrow::Cow;

/// The value of a header of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(Cow<'static, str>),
    Number(u64),
}

/// An answer: status, content type, further headers, body.
///
/// `Content-Length`, `Transfer-Encoding`, `Connection` and `Date` are written
/// by the connection and must not be among the headers; `Cache-Control` is
/// `no-store` unless it is among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(super) status: u16,
    pub(super) content_type: Option<&'static str>,
    pub(super) headers: SmallVec<[(&'static str, Value); 2]>,
    pub(super) body: Bytes,
    pub(super) close: bool,
}

impl Response {
    /// An answer without a body. `status` is from 200 to 599.
    #[must_use]
    pub fn new(status: u16) -> Self {
        debug_assert!((200..600).contains(&status), "not a final status: {status}");
        Self {
            status,
            content_type: None,
            headers: SmallVec::new(),
            body: Bytes::new(),
            close: false,
        }
    }

    /// An answer that is one JSON text.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).with_body("application/json", body)
    }

    /// An error answer; see [`problem::render`].
    #[must_use]
    pub fn problem(
        status: u16,
        code: &str,
        title: &str,
        detail: &str,
        members: &[(&str, &str)],
    ) -> Self {
        let body = problem::render(status, code, title, detail, members);
        Self::new(status).with_body(problem::CONTENT_TYPE, body)
    }

    /// Gives it a body and the body's media type.
    #[must_use]
    pub fn with_body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.content_type = Some(content_type);
        self.body = body.into();
        self
    }

    /// Gives it the media type of a body that is sent in pieces.
    #[must_use]
    pub fn with_content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// Adds a header. Control characters in the value are sent as spaces.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, Value::Text(value.into())));
        self
    }

    /// Gives a header that value and no other.
    #[must_use]
    pub fn with_header_replaced(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self.with_header(name, value)
    }

    /// Adds a header whose value is a number.
    #[must_use]
    pub fn with_number(mut self, name: &'static str, value: u64) -> Self {
        self.headers.push((name, Value::Number(value)));
        self
    }

    /// Has the connection closed after this answer.
    #[must_use]
    pub fn with_close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(&self) -> Option<&'static str> {
        self.content_type
    }

    /// Says that the answer is another for who sends another header of that name.
    #[must_use]
    pub fn varying_by(mut self, name: &'static str) -> Self {
        let vary = self.headers.iter_mut().find(|(header, _)| *header == "Vary");
        match vary {
            Some((_, Value::Text(names))) => {
                if !names.contains(name) {
                    *names = format!("{names}, {name}").into();
                }
                self
            }
            _ => self.with_header("Vary", name),
        }
    }

    /// The same with another form of its body, of that content coding.
    #[must_use]
    pub fn packed(mut self, coding: &'static str, body: Bytes) -> Self {
        self.body = body;
        self.with_header("Content-Encoding", coding)
    }

    /// The status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether HTTP allows a body with this status.
    pub(super) const fn may_have_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }
}

impl From<ProtocolError> for Response {
    fn from(error: ProtocolError) -> Self {
        let response =
            Self::problem(error.status(), error.code(), error.title(), &error.detail(), &[]);
        match error {
            ProtocolError::Overloaded => response.with_number("Retry-After", 1),
            _ => response,
        }
    }
}
