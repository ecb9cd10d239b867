//! The body of a request as it arrives: of a known length, or chunked
//! (RFC 9112, section 7.1).

use super::{
    error::ProtocolError,
    head::{BodyLength, check_trailers, is_token},
    scan::LineScan,
    target::hex_digit,
};
use crate::base::limits::{BODY_ROOM_BYTES, CHUNK_LINE_BYTES, Limits};
use bytes::{Buf, Bytes, BytesMut};

/// A body that is not complete yet.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes, collected in the receive buffer.
    Known(usize),
    Chunked(Chunked),
}

impl Body {
    pub(crate) fn new(length: BodyLength, limits: &Limits) -> Self {
        match length {
            BodyLength::Known(bytes) => Self::Known(bytes),
            BodyLength::Chunked => Self::Chunked(Chunked {
                state: State::Size,
                decoded: BytesMut::new(),
                overhead_left: limits.head_bytes,
            }),
        }
    }

    /// Takes what belongs to the body from the front of `received`, and returns
    /// the body once it is complete.
    pub(crate) fn advance(
        &mut self,
        received: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Bytes>, ProtocolError> {
        match self {
            Self::Known(bytes) if received.len() < *bytes => Ok(None),
            Self::Known(bytes) => Ok(Some(take(received, *bytes))),
            Self::Chunked(chunked) => chunked.advance(received, limits),
        }
    }

    /// What came of a chunked one so far and was not taken: it does not come with the end again.
    pub(crate) fn take_decoded(&mut self) -> Bytes {
        match self {
            Self::Known(_) => Bytes::new(),
            Self::Chunked(chunked) => std::mem::take(&mut chunked.decoded).freeze(),
        }
    }

    /// Whether bytes are missing besides the `buffered` ones.
    pub(super) fn wants_more(&self, buffered: usize) -> bool {
        match self {
            Self::Known(bytes) => buffered < *bytes,
            Self::Chunked(_) => true,
        }
    }

    /// For how many bytes to make room in the receive buffer when it is full
    /// with `buffered` bytes. Memory follows what has really arrived, in steps
    /// large enough that the copies between them are a third of the body.
    pub(super) fn room(&self, buffered: usize) -> usize {
        match self {
            Self::Known(bytes) => {
                bytes.saturating_sub(buffered).min((3 * buffered).max(BODY_ROOM_BYTES))
            }
            // What arrives is taken out of the receive buffer at once.
            Self::Chunked(_) => 0,
        }
    }

    /// Bytes of memory, besides the receive buffer.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Known(_) => 0,
            Self::Chunked(chunked) => chunked.decoded.capacity(),
        }
    }
}

/// Splits off the first `count` bytes without copying them. Taking all leaves
/// no memory behind.
pub(super) fn take(received: &mut BytesMut, count: usize) -> Bytes {
    if count == received.len() {
        std::mem::take(received).freeze()
    } else {
        received.split_to(count).freeze()
    }
}

#[derive(Debug)]
enum State {
    Size,
    Data(usize),
    DataEnd,
    Trailers(LineScan),
}

/// The decoder of a chunked body.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    decoded: BytesMut,
    /// Bytes of chunk extensions that may still come: they carry nothing, and
    /// are bounded like a head.
    overhead_left: usize,
}

impl Chunked {
    fn advance(
        &mut self,
        received: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Bytes>, ProtocolError> {
        loop {
            match &mut self.state {
                State::Size => {
                    let Some(size) = self.take_size(received)? else { return Ok(None) };
                    if size > limits.body_bytes.saturating_sub(self.decoded.len()) {
                        return Err(ProtocolError::BodyTooLarge);
                    }
                    self.state = match size {
                        0 => State::Trailers(LineScan::default()),
                        _ => State::Data(size),
                    };
                }
                State::Data(left) => {
                    let count = received.len().min(*left);
                    if count == 0 {
                        return Ok(None);
                    }
                    self.decoded.extend_from_slice(received.get(..count).unwrap_or_default());
                    received.advance(count);
                    *left -= count;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                }
                State::DataEnd => match received.as_ref() {
                    [b'\r', b'\n', ..] => {
                        received.advance(2);
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(ProtocolError::ChunkEnd),
                },
                State::Trailers(scan) => {
                    if !skip_trailers(scan, received, limits)? {
                        return Ok(None);
                    }
                    return Ok(Some(std::mem::take(&mut self.decoded).freeze()));
                }
            }
        }
    }

    /// Takes a chunk-size line: hexadecimal digits, and extensions, which must be
    /// well-formed and mean nothing here.
    fn take_size(&mut self, received: &mut BytesMut) -> Result<Option<usize>, ProtocolError> {
        let window = received.get(..received.len().min(CHUNK_LINE_BYTES)).unwrap_or_default();
        let mut size: usize = 0;
        let mut digits = 0;
        for digit in window.iter().map_while(|&byte| hex_digit(byte)) {
            size = size
                .checked_mul(16)
                .and_then(|size| size.checked_add(usize::from(digit)))
                .ok_or(ProtocolError::ChunkSize)?;
            digits += 1;
        }
        let rest = window.get(digits..).unwrap_or_default();
        let text = rest.iter().take_while(|&&byte| (byte >= 0x20 && byte != 0x7f) || byte == b'\t');
        let extension = text.count();
        // White space may stand before an extension, and nowhere else.
        let begins_extension = rest.iter().find(|&&byte| byte != b' ' && byte != b'\t');
        let well_formed = match begins_extension {
            None | Some(b';') => true,
            Some(b'\r') => extension == 0,
            Some(_) => false,
        };
        if (digits == 0 && !rest.is_empty()) || !well_formed {
            return Err(ProtocolError::ChunkSize);
        }
        match rest.get(extension..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] if received.len() < CHUNK_LINE_BYTES => return Ok(None),
            _ => return Err(ProtocolError::ChunkSize),
        }
        if !are_extensions(rest.get(..extension).unwrap_or_default()) {
            return Err(ProtocolError::ChunkExtension);
        }
        self.overhead_left =
            self.overhead_left.checked_sub(extension).ok_or(ProtocolError::ChunkSize)?;
        received.advance(digits + extension + 2);
        Ok(Some(size))
    }
}

/// Whether `text` is any number of `;name`, `;name=token` and `;name="text"`,
/// white space allowed before each `;` and around each `;` and `=` (RFC 9112,
/// section 7.1.1).
fn are_extensions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(rest) = skip_space(text).strip_prefix(b";") else { return false };
        let Some(rest) = skip_token(skip_space(rest)) else { return false };
        text = rest;
        if let Some(value) = skip_space(rest).strip_prefix(b"=") {
            let value = skip_space(value);
            let after = match value.strip_prefix(b"\"") {
                Some(quoted) => skip_quoted(quoted),
                None => skip_token(value),
            };
            let Some(after) = after else { return false };
            text = after;
        }
    }
    true
}

fn skip_space(text: &[u8]) -> &[u8] {
    let space = text.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
    text.get(space..).unwrap_or_default()
}

/// What follows a token; nothing where there is none.
fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let token = text.iter().take_while(|byte| is_token(byte)).count();
    text.get(token..).filter(|_| token > 0)
}

/// What follows the closing quote of a string without control characters, which
/// `text` goes on after the opening one; nothing where it does not close.
fn skip_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        }
    }
}

/// Drops the trailers; false while they are incomplete.
fn skip_trailers(
    scan: &mut LineScan,
    received: &mut BytesMut,
    limits: &Limits,
) -> Result<bool, ProtocolError> {
    let window = received.get(..received.len().min(limits.head_bytes)).unwrap_or_default();
    match scan.advance(window)? {
        Some(length) => {
            let block = received.get(..length).unwrap_or_default();
            check_trailers(block, scan.lines(), limits)?;
            received.advance(length);
            Ok(true)
        }
        None if received.len() >= limits.head_bytes => Err(ProtocolError::HeadersTooLarge),
        None => Ok(false),
    }
}
