//! The codings that this server speaks, and their bounds.

/// A coding that this server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, RFC 1952.
    Gzip,
    /// `zstd`, RFC 8878.
    Zstd,
}

impl Coding {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of that name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }
}

/// What is larger is compressed.
pub(super) const PACKED_BYTES_MIN: usize = 1024;
/// Bytes that are compressed or unpacked before others of the core get their turn.
pub(super) const SLICE_BYTES: usize = 32 << 10;
/// Fast rather than small: what is saved is the network's time, and what is spent the node's.
pub(super) const GZIP_LEVEL: u32 = 1;
pub(super) const ZSTD_LEVEL: i32 = 1;
