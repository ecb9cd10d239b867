//! Whole answers, compressed.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    accepted::Accepted,
    kind::{Coding, GZIP_LEVEL, PACKED_BYTES_MIN, SLICE_BYTES, ZSTD_LEVEL},
};
use crate::{http::Response, io::cores};

/// What every large answer says: others would be given other bytes.
pub(in crate::api) fn vary(response: Response) -> Response {
    response.varying_by("Accept-Encoding")
}

/// The answer, and by what it is compressed for a client that accepts so much: a large one is.
pub(in crate::api) fn choose(response: Response, accepted: Accepted) -> (Response, Option<Coding>) {
    let is_text = response.content_type().is_some_and(|of| of != "application/octet-stream");
    match response.body().len() > PACKED_BYTES_MIN && is_text {
        true => (vary(response), accepted.for_answer()),
        false => (response, None),
    }
}

/// The answer, compressed where that makes it smaller.
pub(in crate::api) async fn pack(response: Response, coding: Coding) -> Response {
    match packed(response.body(), coding).await {
        Ok(body) if body.len() < response.body().len() => response.packed(coding.name(), body),
        Ok(_) => response,
        Err(error) => {
            tracing::warn!(%error, "an answer is sent without compression");
            response
        }
    }
}

async fn packed(body: &Bytes, coding: Coding) -> io::Result<Bytes> {
    let out = Vec::with_capacity(body.len() / 4);
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::new(GZIP_LEVEL));
            feed(&mut encoder, body).await?;
            Ok(encoder.finish()?.into())
        }
        Coding::Zstd => {
            let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
            encoder.set_pledged_src_size(Some(body.len() as u64))?;
            feed(&mut encoder, body).await?;
            Ok(encoder.finish()?.into())
        }
    }
}

/// Writes all of it, in turns.
async fn feed(encoder: &mut impl Write, body: &[u8]) -> io::Result<()> {
    for slice in body.chunks(SLICE_BYTES) {
        encoder.write_all(slice)?;
        cores::yield_if_needed().await;
    }
    Ok(())
}
