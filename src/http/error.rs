//! What this layer refuses by itself, and the answer each refusal gets.

use thiserror::Error;

/// Why a request was refused before anybody looked at what it asks for. The
/// connection closes after each of them. The text is what the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// CR without LF or LF without CR in a head, a chunk line or a trailer.
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// A control character in a head, a chunk line or a trailer.
    #[error("the head contains a control character")]
    ControlCharacter,
    /// A header line that begins with white space.
    #[error("a header is folded over several lines")]
    FoldedHeader,
    /// More than the one empty line that may stand before a request line.
    #[error("empty lines stand before the request line")]
    EmptyLine,
    /// The request line is not `method target version`.
    #[error("the request line is malformed")]
    RequestLine,
    /// Not HTTP/1.
    #[error("the HTTP version is not 1.1 or 1.0")]
    Version,
    /// A method longer than the limit of a head.
    #[error("the method is longer than any that this server knows")]
    MethodTooLong,
    /// A header's name is not a token, or white space stands before its colon.
    #[error("a header is malformed")]
    Header,
    /// The target has no form that its method may use.
    #[error("the request target is malformed")]
    Target,
    /// The target holds a bad `%` sequence, or decodes to no UTF-8.
    #[error("the request target is not percent-encoded UTF-8")]
    TargetEncoding,
    /// HTTP/1.1 without `Host`.
    #[error("the header Host is missing")]
    HostMissing,
    /// Several `Host` lines.
    #[error("the header Host is repeated")]
    HostRepeated,
    /// `Host`, or the authority of the target, is empty or no `host[:port]`.
    #[error("the host is malformed")]
    Host,
    /// `Content-Length` is not a plain decimal number below 2^64.
    #[error("the header Content-Length is not a plain decimal number")]
    ContentLength,
    /// Several `Content-Length` lines.
    #[error("the header Content-Length is repeated")]
    ContentLengthRepeated,
    /// `Transfer-Encoding` does not end in its only `chunked`, or comes in HTTP/1.0.
    #[error("the header Transfer-Encoding does not end in chunked, or its use is not allowed here")]
    TransferEncoding,
    /// `Transfer-Encoding` names a coding besides `chunked`.
    #[error("the header Transfer-Encoding names a coding besides chunked, which is not supported")]
    TransferCoding,
    /// Several `Content-Type` lines.
    #[error("the header Content-Type is repeated")]
    ContentTypeRepeated,
    /// Several `Authorization` lines.
    #[error("the header Authorization is repeated")]
    AuthorizationRepeated,
    /// `Content-Length` and `Transfer-Encoding` together.
    #[error("Content-Length and Transfer-Encoding are given together")]
    TwoLengths,
    /// `Expect` is not `100-continue`.
    #[error("the header Expect asks for something other than 100-continue")]
    Expectation,
    /// A chunk-size line is malformed or too long.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// The extensions of a chunk are malformed.
    #[error("the extensions of a chunk are malformed")]
    ChunkExtension,
    /// A chunk's data is not followed by CR LF.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// The client stopped sending in the middle of a request.
    #[error("the request ends before it is complete")]
    Incomplete,
    /// Head, or body, took too long.
    #[error("the request took too long to arrive")]
    Timeout,
    /// The body is larger than the limit.
    #[error("the request body is larger than this node takes (--max-body)")]
    BodyTooLarge,
    /// The request line alone is larger than the limit of a head.
    #[error("the request line is longer than this node takes (--max-head)")]
    UriTooLong,
    /// The head, or the trailers, are larger than the limit or have too many lines.
    #[error("the request headers are larger than this node takes (--max-head), or too many")]
    HeadersTooLarge,
    /// The server holds as much of requests and answers as it may.
    #[error("this node holds as many bytes of requests and answers as it may")]
    Overloaded,
}

impl ProtocolError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Timeout => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::Expectation => 417,
            Self::HeadersTooLarge => 431,
            Self::MethodTooLong | Self::TransferCoding => 501,
            Self::Overloaded => 503,
            _ => 400,
        }
    }

    /// The code of the answer, as the API names it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Timeout => "request-timeout",
            Self::BodyTooLarge => "too-large",
            Self::UriTooLong => "uri-too-long",
            Self::Expectation => "expectation-failed",
            Self::MethodTooLong | Self::TransferCoding => "not-implemented",
            Self::HeadersTooLarge => "headers-too-large",
            Self::Overloaded => "overloaded",
            _ => "bad-request",
        }
    }

    /// A short summary, the same for every occurrence, as the API words it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Timeout => "Request took too long",
            Self::BodyTooLarge => "Too large",
            Self::UriTooLong => "Request target too long",
            Self::Expectation => "Expectation not met",
            Self::MethodTooLong | Self::TransferCoding => "Not implemented",
            Self::HeadersTooLarge => "Request headers too large",
            Self::Overloaded => "Overloaded",
            _ => "Malformed HTTP request",
        }
    }

    /// What was wrong, for the client to read.
    #[must_use]
    pub fn detail(self) -> String {
        self.to_string()
    }
}
