//! Bodies of requests that come compressed.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::kind::{Coding, SLICE_BYTES};
use crate::{
    api::error::{ApiError, Code},
    io::cores,
};

/// The window that a sender may ask for, as a power of two: what unpacking takes of memory
/// besides the body.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The body, unpacked.
///
/// # Errors
/// [`Code::TooLarge`] when it is more than `bytes_max`, [`Code::UnsupportedMediaType`] when it is
/// not of that coding.
pub(in crate::api) async fn unpack(
    body: &[u8],
    coding: Coding,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let unpacked = match coding {
        Coding::Gzip => read(&mut MultiGzDecoder::new(body), bytes_max).await,
        Coding::Zstd => match zstd::Decoder::with_buffer(body) {
            Ok(mut decoder) => {
                let bounded = decoder.window_log_max(ZSTD_WINDOW_LOG_MAX);
                match bounded {
                    Ok(()) => read(&mut decoder, bytes_max).await,
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        },
    };
    let unpacked = unpacked.map_err(|error| {
        let detail = format!("the body cannot be read as {}: {error}", coding.name());
        ApiError::new(Code::UnsupportedMediaType, detail)
    })?;
    unpacked.ok_or_else(|| {
        let detail = format!("the unpacked body is larger than {bytes_max} bytes");
        ApiError::new(Code::TooLarge, detail)
    })
}

/// All of it, in turns; nothing when it is more than `bytes_max`.
async fn read(decoder: &mut impl Read, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        decoder.by_ref().take(SLICE_BYTES as u64).read_to_end(&mut out)?;
        if out.len() > bytes_max {
            return Ok(None);
        }
        if out.len() == before {
            return Ok(Some(out.into()));
        }
        cores::yield_if_needed().await;
    }
}
