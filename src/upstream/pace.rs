//! How long the bytes of a request and of its answer may be on their way: a slow way is no reason to
//! give up, one on which nothing comes is.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{base::timing::UPSTREAM_STALL, io::cores};

/// The lowest rate, taken from the first byte on: so what is `n` bytes long takes at most
/// [`UPSTREAM_STALL`] and `n` / 32,768 seconds.
pub(super) const BYTES_PER_SECOND_MIN: u64 = 32 << 10;

/// The bytes that went one way.
pub(super) struct Pace {
    begun: Instant,
    bytes: u64,
}

impl Pace {
    /// Of bytes the first of which may go now.
    pub(super) fn begin() -> Self {
        Self { begun: cores::now(), bytes: 0 }
    }

    /// The output of `step`, which tells how many bytes it moved.
    ///
    /// # Errors
    /// Those of `step`; `TimedOut` when it moves nothing for [`UPSTREAM_STALL`], or when all up to here
    /// were slower than the lowest rate.
    pub(super) async fn step(
        &mut self,
        step: impl Future<Output = io::Result<usize>>,
    ) -> io::Result<usize> {
        let due = Duration::from_millis(self.bytes * 1_000 / BYTES_PER_SECOND_MIN);
        let left = (due + UPSTREAM_STALL).saturating_sub(cores::elapsed(self.begun));
        let Some(moved) = cores::within(left.min(UPSTREAM_STALL), step).await else {
            let text = match left < UPSTREAM_STALL {
                true => format!("fewer than {BYTES_PER_SECOND_MIN} bytes a second get through"),
                false => format!("nothing gets through for {UPSTREAM_STALL:?}"),
            };
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        };
        self.bytes += moved.as_ref().map_or(0, |count| *count as u64);
        moved
    }
}
