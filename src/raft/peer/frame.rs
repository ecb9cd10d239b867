//! Frames: how messages are written to a stream and read from it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::io::net::Stream;

/// Bytes before the head: its length, the body's, a checksum of the lengths and the
/// head, and one of the body.
const PREFIX_BYTES: usize = 16;
/// The longest head: messages are small, what is large is in the body.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes read from a stream at once.
const READ_BYTES: usize = 64 << 10;

/// The bytes of a frame, to be written one after the other.
pub(in super::super) type Parts = SmallVec<[Bytes; 2]>;

/// What follows the head of a frame.
pub(in super::super) enum Body {
    /// Bytes that the frame has a checksum of.
    Plain(Bytes),
    /// Parts that have checksums of their own.
    Checked(Parts),
}

impl Body {
    pub(in super::super) fn bytes(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Checked(parts) => parts.iter().map(Bytes::len).sum(),
        }
    }
}

/// A message with its number, in bytes.
pub(super) fn encode(id: u64, message: &impl Serialize, body: Body) -> io::Result<Parts> {
    let head = postcard::to_stdvec(&(id, message)).map_err(io::Error::other)?;
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let checksum = match &body {
        Body::Plain(bytes) => crc32c::crc32c(bytes),
        Body::Checked(_) => 0,
    };
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTES + head.len());
    prefix.put_u32_le(length(head.len())?);
    prefix.put_u32_le(length(body.bytes())?);
    prefix.put_u32_le(crc32c::crc32c_append(crc32c::crc32c(&prefix), &head));
    prefix.put_u32_le(checksum);
    prefix.put_slice(&head);
    let mut parts = Parts::new();
    parts.push(prefix.freeze());
    match body {
        Body::Plain(bytes) if bytes.is_empty() => {}
        Body::Plain(bytes) => parts.push(bytes),
        Body::Checked(more) => parts.extend(more),
    }
    Ok(parts)
}

/// The body of a frame that arrived.
pub(super) struct Arrived {
    pub(super) bytes: Bytes,
    /// What its checksum should be; 0 where it has its own.
    checksum: u32,
}

impl Arrived {
    /// The bytes, where the frame has their checksum.
    pub(super) fn checked(self) -> io::Result<Bytes> {
        if crc32c::crc32c(&self.bytes) == self.checksum { Ok(self.bytes) } else { Err(damaged()) }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame was damaged on its way")
}

/// What the bytes of a stream begin with.
enum Decoded<M> {
    /// A frame, which was taken out: number, message and body.
    Whole(u64, M, Arrived),
    /// Part of a frame: so many bytes are needed to go on.
    Needs(usize),
}

/// Takes a frame out of `buffer` that it begins with, once it is there.
fn decode<M: DeserializeOwned>(
    buffer: &mut BytesMut,
    body_bytes_max: usize,
) -> io::Result<Decoded<M>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else {
        return Ok(Decoded::Needs(PREFIX_BYTES));
    };
    let word = |n: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|byte| prefix[4 * n + byte]);
        u32::from_le_bytes([a, b, c, d])
    };
    let (head_bytes, body_bytes) = (word(0) as usize, word(1) as usize);
    let (head_checksum, checksum) = (word(2), word(3));
    if head_bytes > HEAD_BYTES_MAX || body_bytes > body_bytes_max {
        let text = format!("a frame of {head_bytes} and {body_bytes} bytes is above the limit");
        return Err(invalid(text));
    }
    let whole = PREFIX_BYTES + head_bytes + body_bytes;
    if buffer.len() < whole {
        return Ok(Decoded::Needs(whole));
    }
    let mut frame = buffer.split_to(whole).freeze();
    let mut head = frame.split_off(PREFIX_BYTES);
    let bytes = head.split_off(head_bytes);
    // The lengths count too: with others, nothing in it is where it should be.
    let expected = crc32c::crc32c_append(crc32c::crc32c(&frame[..8]), &head);
    if expected != head_checksum {
        return Err(damaged());
    }
    let (id, message) = postcard::from_bytes(&head).map_err(|error| invalid(error.to_string()))?;
    Ok(Decoded::Whole(id, message, Arrived { bytes, checksum }))
}

/// Reads frames from a stream. What it hands out is not copied.
pub(super) struct FrameReader {
    buffer: BytesMut,
    body_bytes_max: usize,
}

impl FrameReader {
    /// Takes bodies of up to `body_bytes_max` bytes.
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), body_bytes_max }
    }

    /// The next message with its number and its body; an error too when the
    /// stream ended.
    pub(super) async fn next<M: DeserializeOwned>(
        &mut self,
        stream: &Stream,
    ) -> io::Result<(u64, M, Arrived)> {
        loop {
            match decode(&mut self.buffer, self.body_bytes_max)? {
                Decoded::Whole(id, message, body) => return Ok((id, message, body)),
                Decoded::Needs(bytes) => self.fill(stream, bytes).await?,
            }
        }
    }

    /// Reads until the buffer has so many bytes.
    async fn fill(&mut self, stream: &Stream, bytes: usize) -> io::Result<()> {
        while self.buffer.len() < bytes {
            let held = self.buffer.len();
            let room = (bytes - held).max(READ_BYTES);
            self.buffer.resize(held + room, 0);
            let read = stream.read(&mut self.buffer[held..]).await;
            self.buffer.truncate(held + read.as_ref().map_or(0, |&read| read));
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Parts that one system call writes.
const WRITE_PARTS: usize = 64;

/// What waits to be written to a stream, in order.
pub(super) struct Outgoing {
    pub(super) stream: Stream,
    parts: RefCell<VecDeque<Bytes>>,
    wake: Notify,
    ended: Cell<bool>,
}

impl Outgoing {
    pub(super) fn new(stream: Stream) -> Self {
        let (parts, wake, ended) = (RefCell::default(), Notify::new(), Cell::new(false));
        Self { stream, parts, wake, ended }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(super) fn push(&self, parts: Parts) {
        self.parts.borrow_mut().extend(parts);
        self.wake.notify_one();
    }

    /// Closes the stream; what waits is not written any more.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.stream.close();
        self.wake.notify_one();
    }

    /// Writes until the stream ends.
    pub(super) async fn run(&self) {
        let mut taken: VecDeque<Bytes> = VecDeque::new();
        while !self.ended.get() {
            taken.append(&mut self.parts.borrow_mut());
            if taken.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let parts: Vec<IoSlice<'_>> =
                taken.iter().take(WRITE_PARTS).map(|part| IoSlice::new(part)).collect();
            match self.stream.write(&parts).await {
                Ok(written) => advance(&mut taken, written),
                Err(_) => return self.end(),
            }
        }
    }
}

/// Takes away what was written.
fn advance(parts: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = parts.front_mut() {
        if written < front.len() {
            drop(front.split_to(written));
            return;
        }
        written -= front.len();
        parts.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Message = (u32, String, Option<u64>);

    fn bytes_of(id: u64, message: &Message, body: &[u8]) -> BytesMut {
        let parts = encode(id, message, Body::Plain(Bytes::copy_from_slice(body))).unwrap();
        BytesMut::from(parts.concat().as_slice())
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_arrive(
            frames in proptest::collection::vec(
                (any::<u64>(), any::<Message>(), proptest::collection::vec(any::<u8>(), 0..300)),
                1..6,
            ),
            piece in 1usize..200,
        ) {
            let all: Vec<u8> =
                frames.iter().flat_map(|(id, message, body)| bytes_of(*id, message, body)).collect();
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for piece in all.chunks(piece) {
                buffer.extend_from_slice(piece);
                while let Decoded::Whole(id, message, body) =
                    decode::<Message>(&mut buffer, 300).unwrap()
                {
                    found.push((id, message, body.checked().unwrap().to_vec()));
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn a_flipped_bit_is_noticed(
            message in any::<Message>(),
            body in proptest::collection::vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = bytes_of(7, &message, &body);
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            if let Ok(Decoded::Whole(_, _, body)) = decode::<Message>(&mut bytes, 1000) {
                prop_assert!(body.checked().is_err(), "byte {at}");
            }
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = BytesMut::from(bytes.as_slice());
            if let Ok(Decoded::Needs(needed)) = decode::<Message>(&mut bytes, 1000) {
                prop_assert!(needed > bytes.len());
                prop_assert!(needed <= PREFIX_BYTES + HEAD_BYTES_MAX + 1000);
            }
        }
    }
}
