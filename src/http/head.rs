//! The head of a request: httparse reads it, and what httparse leaves open is
//! decided here, strictly.

use super::{
    error::ProtocolError,
    method::Method,
    request::{Field, Fields, Request, Version},
    span::Span,
    target::{Target, is_authority},
};
use crate::base::limits::Limits;
use bytes::Bytes;
use smallvec::SmallVec;
use std::mem::MaybeUninit;

/// Header lines that are parsed on the stack; more take one allocation.
const HEADERS_ON_STACK: usize = 32;

/// How the body that follows a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    Known(usize),
    Chunked,
}

/// A parsed head, and what its headers say about the body to come.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Box<Request>,
    pub(super) body: BodyLength,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
}

/// Parses a complete head of `lines` lines that
/// [`LineScan`](super::scan::LineScan) has found.
pub(super) fn parse(head: Bytes, lines: usize, limits: &Limits) -> Result<Head, ProtocolError> {
    let mut head = head;
    let parts = match read(&head, lines, limits) {
        Err(ProtocolError::Version) => {
            head = as_version_1_1(&head).ok_or(ProtocolError::Version)?;
            read(&head, lines, limits)
        }
        parts => parts,
    }?;
    let Parts { method, version, meaning, .. } = parts;
    let body = meaning.body(version, limits.body_bytes)?;
    if version == Version::Http11 && meaning.host.is_none() {
        return Err(ProtocolError::HostMissing);
    }
    // RFC 9110, section 10.1.1: the expectation is ignored in HTTP/1.0.
    let expects_continue = meaning.expects_continue && version == Version::Http11;
    let request = Box::new(Request {
        method,
        version,
        keep_alive: !meaning.close && (version == Version::Http11 || meaning.keep_alive),
        method_name: parts.method_name,
        raw_target: parts.raw_target,
        target: parts.target,
        fields: parts.fields,
        host: meaning.host,
        content_type: meaning.content_type,
        body: Bytes::new(),
        head,
    });
    Ok(Head { request, body, expects_continue })
}

/// Why a request line is refused of which `start`, as much as a head may have,
/// has no end.
pub(super) fn too_long_line(start: &[u8]) -> ProtocolError {
    match start.iter().find(|byte| !is_token(byte)) {
        // RFC 9112, section 3.
        None => ProtocolError::MethodTooLong,
        Some(b' ') => ProtocolError::UriTooLong,
        Some(_) => ProtocolError::RequestLine,
    }
}

/// The same head in HTTP/1.1, which is how a later minor version is read (RFC
/// 9110, section 2.5), and which httparse does not read otherwise.
fn as_version_1_1(head: &[u8]) -> Option<Bytes> {
    let line_end = head.iter().position(|&byte| byte == b'\r')?;
    let digit = line_end.checked_sub(1)?;
    let prefix = head.get(..digit)?;
    if !prefix.ends_with(b" HTTP/1.") || !head.get(digit)?.is_ascii_digit() {
        return None;
    }
    Some([prefix, b"1", head.get(line_end..)?].concat().into())
}

/// What a head says, without the head.
struct Parts {
    method: Method,
    version: Version,
    method_name: Span,
    raw_target: Span,
    target: Target,
    fields: Fields,
    meaning: Meaning,
}

fn read(head: &[u8], lines: usize, limits: &Limits) -> Result<Parts, ProtocolError> {
    let mut headers: SmallVec<[MaybeUninit<httparse::Header<'_>>; HEADERS_ON_STACK]> =
        SmallVec::new();
    headers.resize(lines.min(limits.headers), MaybeUninit::uninit());
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(ProtocolError::RequestLine),
        Err(error) => return Err(refusal(error)),
    }
    let (Some(method_name), Some(raw_target), Some(version)) =
        (parsed.method, parsed.path, parsed.version)
    else {
        return Err(ProtocolError::RequestLine);
    };
    if !raw_target.is_ascii() {
        return Err(ProtocolError::Target);
    }
    let span = |part: &[u8]| Span::within(head, part).ok_or(ProtocolError::HeadersTooLarge);
    let method = Method::of(method_name);
    let target = Target::parse(method, raw_target)?;
    let mut fields = Fields::with_capacity(parsed.headers.len());
    let mut meaning = Meaning::default();
    for header in &*parsed.headers {
        let value = span(header.value)?;
        fields.push(Field { name: span(header.name.as_bytes())?, value });
        meaning.take(header.name, header.value, value)?;
    }
    Ok(Parts {
        method,
        version: if version == 0 { Version::Http10 } else { Version::Http11 },
        method_name: span(method_name.as_bytes())?,
        raw_target: span(raw_target.as_bytes())?,
        target,
        fields,
        meaning,
    })
}

/// Checks the syntax of a chunked body's trailers, which are then dropped.
pub(super) fn check_trailers(
    block: &[u8],
    lines: usize,
    limits: &Limits,
) -> Result<(), ProtocolError> {
    if lines > limits.headers {
        return Err(ProtocolError::HeadersTooLarge);
    }
    let mut headers: SmallVec<[httparse::Header<'_>; HEADERS_ON_STACK]> = SmallVec::new();
    headers.resize(lines, httparse::EMPTY_HEADER);
    match httparse::parse_headers(block, &mut headers) {
        Ok(httparse::Status::Complete((length, _))) if length == block.len() => Ok(()),
        Ok(_) => Err(ProtocolError::Header),
        Err(error) => Err(refusal(error)),
    }
}

const fn refusal(error: httparse::Error) -> ProtocolError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => ProtocolError::Header,
        httparse::Error::TooManyHeaders => ProtocolError::HeadersTooLarge,
        httparse::Error::Version => ProtocolError::Version,
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
            ProtocolError::RequestLine
        }
    }
}

/// What all `Transfer-Encoding` lines say together.
#[derive(Default)]
struct Transfer {
    /// There is such a line.
    given: bool,
    /// `chunked` was named, and nothing after it.
    chunked: bool,
    /// Other codings were named.
    others: bool,
}

impl Transfer {
    fn take(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        self.given = true;
        for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let name = coding.split(|&byte| matches!(byte, b';' | b' ' | b'\t')).next();
            let is_named = name.is_some_and(|name| !name.is_empty() && name.iter().all(is_token));
            // Once it is chunked nothing may be done to a body (RFC 9112, section 7.1).
            if self.chunked || !is_named {
                return Err(ProtocolError::TransferEncoding);
            }
            self.chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.others |= !self.chunked;
        }
        Ok(())
    }

    /// Whether the body is chunked.
    fn body_is_chunked(&self, version: Version) -> Result<bool, ProtocolError> {
        match self {
            Self { given: false, .. } => Ok(false),
            // Its end cannot be told.
            Self { chunked: false, .. } => Err(ProtocolError::TransferEncoding),
            _ if version == Version::Http10 => Err(ProtocolError::TransferEncoding),
            Self { others: true, .. } => Err(ProtocolError::TransferCoding),
            _ => Ok(true),
        }
    }
}

/// Whether a byte may stand in a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What the headers say that this layer acts upon.
#[derive(Default)]
struct Meaning {
    host: Option<Span>,
    content_type: Option<Span>,
    content_length: Option<usize>,
    has_authorization: bool,
    transfer: Transfer,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Meaning {
    fn take(&mut self, name: &str, value: &[u8], span: Span) -> Result<(), ProtocolError> {
        // The length tells almost every other header apart without a comparison.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.take_host(value, span)?,
            6 if name.eq_ignore_ascii_case("expect") => {
                let members = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
                for expected in members.filter(|member| !member.is_empty()) {
                    if !expected.eq_ignore_ascii_case(b"100-continue") {
                        return Err(ProtocolError::Expectation);
                    }
                    self.expects_continue = true;
                }
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            12 if name.eq_ignore_ascii_case("content-type") => {
                let earlier = self.content_type.replace(span);
                if earlier.is_some() {
                    return Err(ProtocolError::ContentTypeRepeated);
                }
            }
            13 if name.eq_ignore_ascii_case("authorization") => self.take_authorization()?,
            14 if name.eq_ignore_ascii_case("content-length") => {
                if self.content_length.is_some() {
                    return Err(ProtocolError::ContentLengthRepeated);
                }
                self.content_length = Some(decimal(value).ok_or(ProtocolError::ContentLength)?);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.transfer.take(value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_authorization(&mut self) -> Result<(), ProtocolError> {
        // One reader would go by the first, and the next by the last.
        match std::mem::replace(&mut self.has_authorization, true) {
            true => Err(ProtocolError::AuthorizationRepeated),
            false => Ok(()),
        }
    }

    fn take_host(&mut self, value: &[u8], span: Span) -> Result<(), ProtocolError> {
        if self.host.is_some() {
            return Err(ProtocolError::HostRepeated);
        }
        // What http names always has a host (RFC 9110, section 4.2.1).
        if !std::str::from_utf8(value).is_ok_and(is_authority) {
            return Err(ProtocolError::Host);
        }
        self.host = Some(span);
        Ok(())
    }

    fn body(&self, version: Version, bytes_max: usize) -> Result<BodyLength, ProtocolError> {
        match self.content_length {
            Some(_) if self.transfer.given => Err(ProtocolError::TwoLengths),
            None if self.transfer.body_is_chunked(version)? => Ok(BodyLength::Chunked),
            Some(length) if length > bytes_max => Err(ProtocolError::BodyTooLarge),
            length => Ok(BodyLength::Known(length.unwrap_or(0))),
        }
    }
}

/// A number of decimal digits and nothing else.
fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    let mut number: usize = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?;
    }
    Some(number)
}
