//! Bodies of requests that come compressed.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::kind::{Coding, SLICE_BYTES};
use crate::{
    api::{
        error::{ApiError, Code},
        growing::Growing,
    },
    io::cores,
};

/// The window that a sender may ask for, as a power of two: what unpacking takes of memory
/// besides the body.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The body, unpacked. What it takes is counted as it grows.
///
/// # Errors
/// [`Code::TooLarge`] when it is more than `bytes_max`, [`Code::UnsupportedMediaType`] when it is
/// not of that coding, [`Code::Overloaded`] when there is no room for it.
pub(in crate::api) async fn unpack(
    body: &[u8],
    coding: Coding,
    bytes_max: usize,
    growing: Growing,
) -> Result<Bytes, ApiError> {
    let unreadable = |error: io::Error| {
        let detail = format!("the body cannot be read as {}: {error}", coding.name());
        ApiError::new(Code::UnsupportedMediaType, detail)
    };
    let mut unpacked = Unpacked { bytes: Vec::new(), bytes_max, growing };
    match coding {
        Coding::Gzip => unpacked.read(&mut MultiGzDecoder::new(body), unreadable).await?,
        Coding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(body).map_err(unreadable)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(unreadable)?;
            unpacked.read(&mut decoder, unreadable).await?;
        }
    }
    Ok(unpacked.bytes.into())
}

/// What is unpacked so far.
struct Unpacked {
    bytes: Vec<u8>,
    bytes_max: usize,
    growing: Growing,
}

impl Unpacked {
    /// Reads all of it, in turns.
    async fn read(
        &mut self,
        decoder: &mut impl Read,
        unreadable: impl Fn(io::Error) -> ApiError,
    ) -> Result<(), ApiError> {
        loop {
            let read = self.bytes.len();
            self.make_room()?;
            self.bytes.resize(read + SLICE_BYTES, 0);
            let more = decoder.read(&mut self.bytes[read..]).map_err(&unreadable)?;
            self.bytes.truncate(read + more);
            if self.bytes.len() > self.bytes_max {
                let detail = format!("the unpacked body is larger than {} bytes", self.bytes_max);
                return Err(ApiError::new(Code::TooLarge, detail));
            }
            if more == 0 {
                return Ok(());
            }
            cores::yield_if_needed().await;
        }
    }

    /// Has room for one more slice, which is counted before it is there.
    fn make_room(&mut self) -> Result<(), ApiError> {
        let (read, capacity) = (self.bytes.len(), self.bytes.capacity());
        if capacity - read >= SLICE_BYTES {
            return Ok(());
        }
        let room = (2 * capacity).min(self.bytes_max).max(read) + SLICE_BYTES;
        // While it is copied, both are there.
        self.growing.hold(capacity + room)?;
        self.bytes.reserve_exact(room - read);
        self.growing.hold(room)
    }
}
