//! What the bytes of such a file are measured in.

pub(super) const MAGIC: [u8; 8] = *b"CAGTIDX\n";
/// The format this build writes; those from 1 on are read. Stable: it is on disk.
pub(super) const VERSION: u32 = 2;
pub(super) const HEAD_BYTES: usize = 32;
pub(super) const ENTRY_BYTES: usize = 24;
/// Bytes that one checksum is of.
pub(super) const BLOCK: usize = 4096;
/// Sections start at a multiple of this.
pub(super) const ALIGN: usize = 8;
