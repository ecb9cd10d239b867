//! What waits to be written to a socket, in order: runs of small bytes, and
//! shared bodies that are sent from where they are.

use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::Deref;

/// A run of small bytes grows to this size before the next one is begun, so
/// that the part already sent is given back.
const RUN_BYTES: usize = 16 * 1024;
/// Slices handed out for one write.
const SLICES: usize = 8;
/// Room for a usual answer, so that encoding it allocates once.
const RUN_RESERVE_BYTES: usize = 512;

/// What to write next, in order and none empty; a vectored write may take all of
/// it at once.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'a> {
    slices: [&'a [u8]; SLICES],
    count: usize,
}

impl<'a> Deref for Slices<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        self.slices.get(..self.count).unwrap_or_default()
    }
}

#[derive(Debug)]
enum Piece {
    Copied(Vec<u8>),
    Kept(Bytes),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(run) => run,
            Self::Kept(bytes) => bytes,
        }
    }

    /// Bytes of memory.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Copied(run) => run.capacity(),
            Self::Kept(bytes) => bytes.len(),
        }
    }
}

/// A queue of bytes to send. Empty, it holds no memory of its own.
#[derive(Debug, Default)]
pub(super) struct TransmitQueue {
    /// Invariant: none is empty.
    pieces: SmallVec<[Piece; 2]>,
    /// Bytes of the first piece that are already sent; below its length.
    sent: usize,
    /// Bytes not yet sent.
    bytes: usize,
}

impl TransmitQueue {
    /// Bytes not yet sent.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes of memory: what is sent of a piece stays until all of it is.
    pub(super) fn held_bytes(&self) -> usize {
        self.pieces.iter().map(Piece::held_bytes).sum()
    }

    /// Appends what `write` appends to the vector it is given.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Piece::Copied(run)) = self.pieces.last_mut()
            && run.len() < RUN_BYTES
        {
            let before = run.len();
            write(run);
            self.bytes += run.len().saturating_sub(before);
            return;
        }
        let mut run = Vec::with_capacity(RUN_RESERVE_BYTES);
        write(&mut run);
        if !run.is_empty() {
            self.bytes += run.len();
            self.pieces.push(Piece::Copied(run));
        }
    }

    /// Appends bytes without copying them.
    pub(super) fn share(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.pieces.push(Piece::Kept(bytes));
        }
    }

    /// The first slices to send.
    pub(super) fn slices(&self) -> Slices<'_> {
        debug_assert!(!self.pieces.iter().any(|piece| piece.as_slice().is_empty()));
        let mut slices = [&[][..]; SLICES];
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = piece.as_slice();
        }
        let [first, ..] = &mut slices;
        *first = first.get(self.sent..).unwrap_or_default();
        Slices { slices, count: self.pieces.len().min(SLICES) }
    }

    /// Forgets the first `count` bytes: they are sent.
    pub(super) fn advance(&mut self, count: usize) {
        let count = count.min(self.bytes);
        self.bytes -= count;
        self.sent += count;
        let mut done = 0;
        for piece in &self.pieces {
            let bytes = piece.as_slice().len();
            assert!(bytes > 0, "none of the pieces is empty");
            if self.sent < bytes {
                break;
            }
            self.sent -= bytes;
            done += 1;
        }
        self.pieces.drain(..done);
        if self.pieces.is_empty() {
            *self = Self::default();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sends_every_byte_once_in_order(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..50)), 0..20),
            steps in prop::collection::vec(1..60_usize, 1..20),
        ) {
            let mut queue = TransmitQueue::default();
            let mut expected = Vec::new();
            for (shared, piece) in &pieces {
                expected.extend_from_slice(piece);
                if *shared {
                    queue.share(Bytes::copy_from_slice(piece));
                } else {
                    queue.write(|out| out.extend_from_slice(piece));
                }
            }
            prop_assert_eq!(queue.bytes(), expected.len());
            prop_assert!(queue.held_bytes() >= expected.len());
            let mut sent = Vec::new();
            let mut steps = steps.iter().cycle();
            while !queue.is_empty() {
                let whole = queue.slices().concat();
                prop_assert!(queue.slices().iter().all(|slice| !slice.is_empty()));
                let count = whole.len().min(*steps.next().unwrap());
                sent.extend_from_slice(&whole[..count]);
                queue.advance(count);
            }
            prop_assert_eq!(sent, expected);
            prop_assert!(queue.pieces.is_empty());
            prop_assert_eq!(queue.held_bytes(), 0);
        }
    }

    #[test]
    fn a_queue_that_is_never_empty_gives_back_what_it_sent() {
        let mut queue = TransmitQueue::default();
        queue.write(|out| out.extend_from_slice(&[0; 100]));
        for _ in 0..10_000 {
            queue.write(|out| out.extend_from_slice(&[0; 100]));
            queue.advance(100);
        }
        let held: usize = queue.pieces.iter().map(|piece| piece.as_slice().len()).sum();
        assert!(held <= 2 * RUN_BYTES, "{held}");
    }
}
