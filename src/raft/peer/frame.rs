//! Frames: how messages are written to a stream and read from it.

use std::{io, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use smallvec::SmallVec;

use crate::io::{
    cores::in_time,
    net::{READ_BYTES, Stream},
};

/// Bytes before the head: its length, the body's, a checksum of the lengths and the
/// head, and one of the body.
pub(super) const PREFIX_BYTES: usize = 16;
/// The longest head: messages are small, what is large is in the body.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// What a connection keeps of its memory while it waits for bytes.
const HELD_BYTES: usize = 4 << 10;

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

/// What a connection may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameLimits {
    /// The longest head.
    pub(super) head_bytes: usize,
    /// The longest body.
    pub(super) body_bytes: usize,
    /// Whether a body gets all its memory before it has come: for those who are trusted with that.
    pub(super) body_at_once: bool,
    /// How long a frame that has begun to arrive may take up to its body, and how long nothing more
    /// of that may come.
    pub(super) under_way: Duration,
    /// How long the next one may be waited for, where that has a limit.
    pub(super) idle: Option<Duration>,
}

/// What stands before the head of a frame.
struct Prefix {
    head_bytes: usize,
    body_bytes: usize,
    /// Of the lengths and the head.
    head_checksum: u32,
    body_checksum: u32,
}

impl Prefix {
    /// The prefix that `bytes` begin with, once it is there, and what follows it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
        let word = |n: usize| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|byte| prefix[4 * n + byte]);
            u32::from_le_bytes([a, b, c, d])
        };
        let (head_bytes, body_bytes) = (word(0) as usize, word(1) as usize);
        Some((
            Self { head_bytes, body_bytes, head_checksum: word(2), body_checksum: word(3) },
            rest,
        ))
    }

    fn within(&self, limits: &FrameLimits) -> io::Result<()> {
        let Self { head_bytes, body_bytes, .. } = *self;
        if head_bytes <= limits.head_bytes && body_bytes <= limits.body_bytes {
            return Ok(());
        }
        let text = format!("a frame of {head_bytes} and {body_bytes} bytes is above the limit");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

/// A frame whose body is not complete yet.
struct Begun<M> {
    id: u64,
    message: M,
    checksum: u32,
    body_bytes: usize,
    /// What of the body has arrived. It grows with that, to its exact size.
    ///
    /// Invariant: never more than `body_bytes`.
    body: Vec<u8>,
}

/// Bytes of a stream on their way to frames. Pure.
///
/// Invariant: a body that is handed out has memory of its own, of its size.
/// Whoever keeps a part of it for long pins nothing of other frames.
pub(super) struct Assembly<M> {
    limits: FrameLimits,
    /// What arrived and is not taken out yet.
    ///
    /// Invariant: never more than one frame with the longest head, and what is read at once.
    held: Vec<u8>,
    /// How much of `held` is taken out already.
    ///
    /// Invariant: no more than there is.
    taken: usize,
    begun: Option<Begun<M>>,
}

impl<M: DeserializeOwned> Assembly<M> {
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self { limits, held: Vec::new(), taken: 0, begun: None }
    }

    /// Where bytes that arrive go next, and how many at most.
    pub(super) fn room(&mut self) -> (&mut Vec<u8>, usize) {
        match &mut self.begun {
            Some(Begun { body_bytes, body, .. }) => {
                assert!(body.len() <= *body_bytes, "more of a body arrived than was read for it");
                let left = *body_bytes - body.len();
                if body.len() == body.capacity() {
                    // Twice what came, but never more than comes.
                    body.reserve_exact(left.min(body.len().max(READ_BYTES)));
                }
                let room = body.capacity() - body.len();
                (body, left.min(room))
            }
            None => (&mut self.held, READ_BYTES),
        }
    }

    /// Whether part of a frame is there.
    fn is_under_way(&self) -> bool {
        self.begun.is_some() || self.taken < self.held.len()
    }

    /// Whether all of a frame is there but for its body.
    fn has_head(&self) -> bool {
        self.begun.is_some()
    }

    /// The next frame, once it is there as a whole: number, message and body.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, M, Arrived)>> {
        if self.begun.is_none() {
            self.begun = self.begin()?;
        }
        let whole = self.begun.take_if(|begun| begun.body.len() == begun.body_bytes);
        let Some(Begun { id, message, checksum, body, .. }) = whole else {
            // What is waited for now may be long in coming.
            assert!(self.taken <= self.held.len(), "more was taken out than was there");
            self.held.drain(..std::mem::take(&mut self.taken));
            self.held.shrink_to(HELD_BYTES);
            let most = PREFIX_BYTES + self.limits.head_bytes + READ_BYTES;
            assert!(self.held.len() <= most, "what is complete is taken out");
            return Ok(None);
        };
        assert!(body.capacity() == body.len(), "a body has memory of its size");
        Ok(Some((id, message, Arrived { bytes: body.into(), checksum })))
    }

    /// Takes out the head that comes next, and what of the body is there.
    fn begin(&mut self) -> io::Result<Option<Begun<M>>> {
        let held = self.held.get(self.taken..).unwrap_or_default();
        let Some((prefix, rest)) = Prefix::read(held) else { return Ok(None) };
        prefix.within(&self.limits)?;
        let Some((head, rest)) = rest.split_at_checked(prefix.head_bytes) else { return Ok(None) };
        // The lengths count too: with others, nothing in it is where it should be.
        let lengths = held.get(..8).unwrap_or_default();
        if crc32c::crc32c_append(crc32c::crc32c(lengths), head) != prefix.head_checksum {
            return Err(damaged());
        }
        let (id, message) = postcard::from_bytes(head)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        let came = rest.get(..rest.len().min(prefix.body_bytes)).unwrap_or_default();
        let all = if self.limits.body_at_once { prefix.body_bytes } else { came.len() };
        let mut body = Vec::new();
        body.reserve_exact(all);
        body.extend_from_slice(came);
        self.taken += PREFIX_BYTES + prefix.head_bytes + body.len();
        let Prefix { body_bytes, body_checksum: checksum, .. } = prefix;
        Ok(Some(Begun { id, message, checksum, body_bytes, body }))
    }
}

/// Reads frames from a stream.
pub(super) struct FrameReader<M>(Assembly<M>);

impl<M: DeserializeOwned> FrameReader<M> {
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self(Assembly::new(limits))
    }

    /// The next message with its number and its body; an error too when the
    /// stream ended, or when it took longer than it may. `arriving` is called whenever more of a
    /// body has come, and not all of it.
    pub(super) async fn next(
        &mut self,
        stream: &Stream,
        mut arriving: impl FnMut(),
    ) -> io::Result<(u64, M, Arrived)> {
        if let Some(frame) = self.0.next()? {
            return Ok(frame);
        }
        let FrameLimits { under_way, idle, .. } = self.0.limits;
        if !self.0.is_under_way() {
            match idle {
                Some(idle) => in_time(idle, self.fill(stream)).await?,
                None => self.fill(stream).await?,
            }
            if let Some(frame) = self.0.next()? {
                return Ok(frame);
            }
        }
        let head = async {
            while !self.0.has_head() {
                self.fill(stream).await?;
                if let Some(frame) = self.0.next()? {
                    return Ok(Some(frame));
                }
            }
            Ok(None)
        };
        if let Some(frame) = in_time(under_way, head).await? {
            return Ok(frame);
        }
        loop {
            // A body may be as long in coming as the network makes it.
            in_time(under_way, self.fill(stream)).await?;
            if let Some(frame) = self.0.next()? {
                return Ok(frame);
            }
            arriving();
        }
    }

    /// Reads what has arrived.
    async fn fill(&mut self, stream: &Stream) -> io::Result<()> {
        let (buffer, most) = self.0.room();
        match stream.read_onto(buffer, most).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
