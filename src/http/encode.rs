//! The bytes of answers: head, fields, and chunks of a streamed body.

use super::{
    context::Context,
    field_writer::FieldWriter,
    response::{Response, Value},
};
use crate::base::decimal;

/// The answer to `Expect: 100-continue`.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The end of a chunked body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the body of an answer is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// The status has no body, and no length either.
    None,
    Length(usize),
    Chunked,
    /// The end of the connection, for HTTP/1.0.
    Close,
}

/// What an answer says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It goes on, as is usual in the version of the request.
    Usual,
    /// It goes on, which must be said in HTTP/1.0.
    KeepAlive,
    Close,
}

/// Appends the head of an answer, its empty line included.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    response: &Response,
    delimiter: Delimiter,
    persistence: Persistence,
    context: &Context,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal::write(out, u64::from(response.status));
    out.push(b' ');
    out.extend_from_slice(reason(response.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut fields = FieldWriter { out };
    if let Some(content_type) = response.content_type {
        fields.text("Content-Type", content_type);
    }
    match delimiter {
        Delimiter::Length(bytes) => fields.number("Content-Length", bytes as u64),
        Delimiter::Chunked => fields.text("Transfer-Encoding", "chunked"),
        Delimiter::None | Delimiter::Close => {}
    }
    match persistence {
        Persistence::Usual => {}
        Persistence::KeepAlive => fields.text("Connection", "keep-alive"),
        Persistence::Close => fields.text("Connection", "close"),
    }
    if !response.headers.iter().any(|(name, _)| *name == "Cache-Control") {
        // What does not say that it may be kept is of this moment.
        fields.text("Cache-Control", "no-store");
    }
    context.write_headers(&mut fields);
    for (name, value) in &response.headers {
        match value {
            Value::Text(text) => fields.text(name, text),
            Value::Number(number) => fields.number(name, *number),
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the line before a chunk of `bytes`, which is not 0.
pub(super) fn write_chunk_size(out: &mut Vec<u8>, bytes: usize) {
    let digits = (usize::BITS - bytes.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (bytes >> (4 * place) & 0xf) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status; clients ignore it, people read it.
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunk_sizes_read_as_std_writes_them(number in any::<u64>(), shift in 0..64_u32) {
            let number = number >> shift;
            let mut out = Vec::new();
            write_chunk_size(&mut out, (number | 1) as usize);
            prop_assert_eq!(out, format!("{:x}\r\n", number | 1).into_bytes());
        }
    }

    #[test]
    fn no_value_begins_another_line() {
        let mut out = Vec::new();
        FieldWriter { out: &mut out }.text("Location", "/a\r\nX: y\0\tz");
        assert_eq!(out, b"Location: /a  X: y  z\r\n");
    }
}
