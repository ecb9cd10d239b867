//! A complete request: its head as one piece of shared memory with the places of
//! its parts, and its body.

use super::{method::Method, span::Span, target::Target};
use bytes::Bytes;
use smallvec::SmallVec;

/// The version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// The header lines of one request, in order.
pub(super) type Fields = SmallVec<[Field; 10]>;

/// One complete request.
#[derive(Debug)]
pub struct Request {
    pub(super) head: Bytes,
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    pub(super) method_name: Span,
    pub(super) raw_target: Span,
    pub(super) target: Target,
    pub(super) fields: Fields,
    pub(super) host: Option<Span>,
    pub(super) content_type: Option<Span>,
    pub(super) body: Bytes,
}

impl Request {
    /// The method, as far as the API uses it.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The method as it was sent.
    #[must_use]
    pub fn method_name(&self) -> &str {
        self.text(self.method_name).unwrap_or_default()
    }

    /// HTTP/1.1 or HTTP/1.0.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether the client wants to go on using the connection.
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The target as it was sent, ASCII.
    #[must_use]
    pub fn target(&self) -> &str {
        self.text(self.raw_target).unwrap_or_default()
    }

    /// The decoded segments of the path: `/` is one empty segment, `/a/` are
    /// `a` and an empty one, those of `OPTIONS *` and `CONNECT` have none. Nothing
    /// is normalised.
    #[must_use]
    pub fn path_segments(&self) -> SmallVec<[&str; 8]> {
        self.target.segments(self.target())
    }

    /// The decoded parameters of the query, in order. A parameter without `=`
    /// has an empty value; empty parameters are left out.
    pub fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.target.query(self.target())
    }

    /// The host and port that the request is for: the target's authority, else
    /// the header `Host`.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.target.authority(self.target()).or_else(|| self.host.and_then(|span| self.text(span)))
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        self.content_type.map(|span| span.bytes(&self.head))
    }

    /// The value of the first header of that name, whatever its case, without
    /// the white space around it. It has no control characters but tabs, and
    /// may not be UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers as name and value, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields
            .iter()
            .map(|field| (self.text(field.name).unwrap_or_default(), field.value.bytes(&self.head)))
    }

    /// The complete body, decoded; empty when there was none.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Puts another body in the place of the one that came.
    pub fn set_body(&mut self, body: Bytes) {
        self.body = body;
    }

    /// Bytes of memory that it needs.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Lets go of the buffer that it arrived in, which may hold much else, and of
    /// the body. For one that waits.
    pub fn release_buffer(&mut self) {
        self.head = Bytes::copy_from_slice(&self.head);
        self.body = Bytes::new();
    }

    /// Gives the body away and drops the rest.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }

    fn text(&self, span: Span) -> Option<&str> {
        std::str::from_utf8(span.bytes(&self.head)).ok()
    }
}
