//! Frames: how messages are written to a stream and read from it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use smallvec::SmallVec;
use tokio::sync::Notify;

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
    /// How long a frame may take once it has begun to arrive.
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
        let body = rest.get(..rest.len().min(prefix.body_bytes)).unwrap_or_default().to_vec();
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
    /// stream ended, or when it took longer than it may.
    pub(super) async fn next(&mut self, stream: &Stream) -> io::Result<(u64, M, Arrived)> {
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
        in_time(under_way, async {
            loop {
                self.fill(stream).await?;
                if let Some(frame) = self.0.next()? {
                    return Ok(frame);
                }
            }
        })
        .await
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

/// Parts that one system call writes.
const WRITE_PARTS: usize = 64;

/// What waits to be written to a stream, in order.
pub(super) struct Outgoing {
    pub(super) stream: Rc<Stream>,
    parts: RefCell<VecDeque<Bytes>>,
    wake: Notify,
    ended: Cell<bool>,
}

impl Outgoing {
    pub(super) fn new(stream: Rc<Stream>) -> Self {
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

    const LIMITS: FrameLimits = FrameLimits {
        head_bytes: HEAD_BYTES_MAX,
        body_bytes: 1 << 20,
        under_way: Duration::MAX,
        idle: None,
    };

    /// Takes in bytes as they arrive, and the frames that they complete.
    fn arrive(
        assembly: &mut Assembly<Message>,
        mut bytes: &[u8],
    ) -> io::Result<Vec<(u64, Message, Arrived)>> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (buffer, most) = assembly.room();
            let (now, later) = bytes.split_at(most.min(bytes.len()));
            buffer.extend_from_slice(now);
            bytes = later;
            while let Some(frame) = assembly.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_arrive(
            frames in proptest::collection::vec(
                (any::<u64>(), any::<Message>(), proptest::collection::vec(any::<u8>(), 0..300)),
                1..6,
            ),
            piece in 1usize..900,
        ) {
            let all: Vec<u8> =
                frames.iter().flat_map(|(id, message, body)| bytes_of(*id, message, body)).collect();
            let (mut assembly, mut found) = (Assembly::new(LIMITS), Vec::new());
            for piece in all.chunks(piece) {
                for (id, message, body) in arrive(&mut assembly, piece).unwrap() {
                    found.push((id, message, body.checked().unwrap().to_vec()));
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(!assembly.is_under_way());
        }

        #[test]
        fn a_body_owns_no_more_memory_than_it_has_bytes(
            bodies in proptest::collection::vec(1usize..300_000, 1..6),
            piece in 1usize..200_000,
        ) {
            let message = Message::default();
            let all: Vec<u8> = bodies
                .iter()
                .flat_map(|&bytes| bytes_of(1, &message, &vec![7; bytes]))
                .collect();
            let mut assembly = Assembly::new(LIMITS);
            let mut owned = Vec::new();
            for piece in all.chunks(piece) {
                let frames = arrive(&mut assembly, piece).unwrap();
                owned.extend(frames.into_iter().map(|(_, _, body)| {
                    body.bytes.try_into_mut().expect("nobody else has it").capacity()
                }));
            }
            prop_assert_eq!(owned, bodies);
            prop_assert!(assembly.held.capacity() <= HELD_BYTES);
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
            let frames = arrive(&mut Assembly::new(LIMITS), &bytes);
            for (_, _, body) in frames.unwrap_or_default() {
                prop_assert!(body.checked().is_err(), "byte {at}");
            }
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut assembly = Assembly::new(LIMITS);
            // It may be an error.
            let _ = arrive(&mut assembly, &bytes);
            prop_assert!(assembly.room().1 > 0);
        }
    }

    #[test]
    fn memory_grows_with_what_arrives_and_not_with_what_is_announced() {
        let mut frame = bytes_of(1, &Message::default(), &[1; 700_000]);
        let begin = frame.split_to(72);
        let mut assembly = Assembly::new(LIMITS);
        assert!(arrive(&mut assembly, &begin).unwrap().is_empty());
        let held = |assembly: &mut Assembly<Message>| {
            assembly.room();
            let body = assembly.begun.as_ref().expect("a frame is under way").body.capacity();
            body + assembly.held.capacity()
        };
        assert!(held(&mut assembly) <= 2 * READ_BYTES);
        assert!(arrive(&mut assembly, &frame[..200_000]).unwrap().is_empty());
        assert!(held(&mut assembly) <= 2 * 200_000);
    }

    #[test]
    fn what_is_above_the_limits_is_refused_by_its_prefix() {
        let frame = bytes_of(1, &Message::default(), &[1; 100]);
        for limits in
            [FrameLimits { body_bytes: 99, ..LIMITS }, FrameLimits { head_bytes: 1, ..LIMITS }]
        {
            assert!(arrive(&mut Assembly::new(limits), &frame[..PREFIX_BYTES]).is_err());
        }
        assert!(arrive(&mut Assembly::new(LIMITS), &frame[..PREFIX_BYTES]).is_ok());
    }
}
