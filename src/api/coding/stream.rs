//! Streams, compressed part by part: each part can be read as soon as it has come. Nothing is
//! kept between two parts but two numbers, so a stream that waits costs no more than a plain one.
//!
//! A part of gzip is one or more blocks of one deflate stream, which end at a byte and refer to no
//! part before. A part of zstd is a frame. What is small goes as it is, in a block that says so.

use std::io;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::kind::{Coding, GZIP_LEVEL, PACKED_BYTES_MIN, ZSTD_LEVEL};

/// Magic, deflate, no flags, no time, unknown system.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The last block: an empty one, of fixed codes.
const GZIP_LAST_BLOCK: [u8; 2] = [3, 0];
/// How a part ends that was flushed: an empty stored block, all but its first bits.
const GZIP_EMPTY_BLOCK: [u8; 4] = [0, 0, 0xff, 0xff];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compresses a stream.
pub struct StreamCoder {
    coding: Coding,
    begun: bool,
    /// Of all that was put in, for the end of gzip.
    crc: Crc,
}

impl StreamCoder {
    /// One of which nothing is sent.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        Self { coding, begun: false, crc: Crc::new() }
    }

    /// The coding.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// The next part.
    ///
    /// # Errors
    /// The compressor fails: the stream cannot go on.
    pub fn part(&mut self, part: &[u8]) -> io::Result<Bytes> {
        let mut out = Vec::with_capacity(part.len() / 2 + 64);
        match self.coding {
            Coding::Gzip => {
                self.begin_gzip(&mut out);
                self.crc.update(part);
                match part.len() <= PACKED_BYTES_MIN {
                    true => put_stored(&mut out, part),
                    false => put_deflated(&mut out, part)?,
                }
            }
            Coding::Zstd if part.len() <= PACKED_BYTES_MIN => put_raw_frame(&mut out, part),
            Coding::Zstd => out = zstd::bulk::compress(part, ZSTD_LEVEL)?,
        }
        Ok(out.into())
    }

    /// What comes at the end, after the last part.
    #[must_use]
    pub fn end(&mut self) -> Bytes {
        let mut out = Vec::new();
        match self.coding {
            Coding::Gzip => {
                self.begin_gzip(&mut out);
                out.extend_from_slice(&GZIP_LAST_BLOCK);
                out.extend_from_slice(&self.crc.sum().to_le_bytes());
                out.extend_from_slice(&self.crc.amount().to_le_bytes());
            }
            Coding::Zstd if !self.begun => put_raw_frame(&mut out, b""),
            Coding::Zstd => {}
        }
        out.into()
    }

    fn begin_gzip(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&GZIP_HEAD);
        }
    }
}

/// A block with those bytes as they are; not the last one.
fn put_stored(out: &mut Vec<u8>, part: &[u8]) {
    let length = part.len() as u16;
    assert_eq!(usize::from(length), part.len(), "a stored block has a length of 16 bits");
    out.push(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(part);
}

/// Blocks with those bytes compressed, and an empty one that ends at a byte.
fn put_deflated(out: &mut Vec<u8>, part: &[u8]) -> io::Result<()> {
    let mut deflate = Compress::new(Compression::new(GZIP_LEVEL), false);
    // More than bytes that cannot be compressed become: with less the compressor keeps back what
    // it had no room for.
    out.reserve(part.len() + part.len() / 8 + 256);
    deflate.compress_vec(part, out, FlushCompress::Sync).map_err(io::Error::other)?;
    match deflate.total_in() == part.len() as u64 && out.ends_with(&GZIP_EMPTY_BLOCK) {
        true => Ok(()),
        false => Err(io::Error::other("a part of a stream was not compressed as a whole")),
    }
}

/// A frame with those bytes as they are: one block, and the length in its head.
fn put_raw_frame(out: &mut Vec<u8>, part: &[u8]) {
    /// One segment: the window is as large as the content.
    const SINGLE_SEGMENT: u8 = 0x20;
    /// The length has two bytes, and 256 is taken off it.
    const TWO_BYTES: u8 = 0x40;
    out.extend_from_slice(&ZSTD_MAGIC);
    match u8::try_from(part.len()) {
        Ok(length) => out.extend_from_slice(&[SINGLE_SEGMENT, length]),
        Err(_) => {
            out.push(SINGLE_SEGMENT | TWO_BYTES);
            out.extend_from_slice(&((part.len() - 256) as u16).to_le_bytes());
        }
    }
    // The last block, of plain bytes.
    let head = 1 | (part.len() as u32) << 3;
    out.extend_from_slice(&head.to_le_bytes()[..3]);
    out.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::{read::GzDecoder, write};
    use proptest::prelude::*;

    use super::*;

    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let part = prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..300),
            (any::<u8>(), 1usize..200_000).prop_map(|(byte, count)| vec![byte; count]),
            proptest::collection::vec(any::<u8>(), 1020..1030),
            proptest::collection::vec(any::<u8>(), 60_000..70_000),
        ];
        proptest::collection::vec(part, 0..8)
    }

    proptest! {
        #[test]
        fn each_part_is_read_as_soon_as_it_has_come(parts in parts()) {
            for coding in [Coding::Gzip, Coding::Zstd] {
                let mut coder = StreamCoder::new(coding);
                let mut gzip = write::GzDecoder::new(Vec::new());
                let mut zstd = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
                let (mut all, mut sent) = (Vec::new(), Vec::new());
                for part in &parts {
                    all.extend_from_slice(part);
                    let packed = coder.part(part).unwrap();
                    sent.extend_from_slice(&packed);
                    match coding {
                        Coding::Gzip => {
                            gzip.write_all(&packed).unwrap();
                            gzip.flush().unwrap();
                            prop_assert!(gzip.get_ref() == &all);
                        }
                        Coding::Zstd => {
                            zstd.write_all(&packed).unwrap();
                            zstd.flush().unwrap();
                            prop_assert!(zstd.get_ref() == &all);
                        }
                    }
                }
                sent.extend_from_slice(&coder.end());
                let mut read = Vec::new();
                match coding {
                    Coding::Gzip => drop(GzDecoder::new(&sent[..]).read_to_end(&mut read).unwrap()),
                    Coding::Zstd => read = zstd::decode_all(&sent[..]).unwrap(),
                }
                prop_assert!(read == all, "{coding:?}");
            }
        }
    }
}
