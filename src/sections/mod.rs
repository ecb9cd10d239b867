//! Files that are written once and then mapped: numbered sections of bytes, each block verified
//! by its checksum whenever it is read.
//!
//! ```text
//! 0   8  magic "CAGTIDX\n"
//! 8   4  version of the format, 2
//! 12  4  number of sections
//! 16  8  length of the file
//! 24  4  CRC32C of the checksums at the end
//! 28  4  CRC32C of this head up to here and of the table that follows
//! 32     the table: kind u32, zero u32, offset u64, length u64 of each section
//!  .     the sections, each from a multiple of 8 on, zeros between
//!  .     CRC32C of each block of 4,096 bytes of all that, the last one shorter
//! ```
//!
//! All numbers are little-endian. Version 1, still read, is laid out alike: it is of a build that
//! would not look for when keys expire.

mod build;
mod layout;
mod read;

pub use build::Builder;
pub use read::{Fault, Missing, Sections, u32_at};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::map::Mapping;

    fn map(bytes: &[u8]) -> Mapping {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Mapping::open(file.path()).unwrap()
    }

    fn built(sections: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = Builder::default();
        for (kind, bytes) in (1..).zip(sections) {
            builder.add(kind, bytes.clone());
        }
        builder.finish()
    }

    proptest! {
        #[test]
        fn sections_are_read_back_and_no_changed_byte_passes(
            sections in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..9000), 0..5),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let bytes = built(&sections);
            let read = Sections::open(map(&bytes)).unwrap();
            for (kind, section) in (1..).zip(&sections) {
                prop_assert_eq!(read.len(kind), section.len());
                prop_assert_eq!(read.all(kind).unwrap(), &section[..]);
                prop_assert!(read.get(kind, 0..section.len() + 1).is_err());
            }
            prop_assert!(read.all(99).is_err());
            prop_assert!(read.verify().is_ok());
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] ^= flip;
            if let Ok(read) = Sections::open(map(&changed)) {
                prop_assert!(read.verify().is_err());
                for (kind, section) in (1..).zip(&sections) {
                    if let Ok(found) = read.all(kind) {
                        prop_assert_eq!(found, &section[..]);
                    }
                }
            }
            let cut = at.index(bytes.len());
            prop_assert!(Sections::open(map(&bytes[..cut])).is_err());
        }
    }

    #[test]
    fn a_part_is_verified_by_itself() {
        let mut bytes = built(&[vec![7; 20_000]]);
        bytes[15_000] ^= 1;
        let read = Sections::open(map(&bytes)).unwrap();
        assert_eq!(read.get(1, 0..4000).unwrap(), [7; 4000]);
        let fault = read.get(1, 4000..16_000).unwrap_err();
        assert_eq!(fault.offset, 3 * 4096);
        assert_eq!(read.get(1, 17_000..20_000).unwrap().len(), 3000);
    }

    #[test]
    fn a_file_that_was_cut_short_is_missing_and_touched_nowhere() {
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        std::fs::write(file.path(), built(&[vec![7; 20_000]])).unwrap();
        let read = Sections::open(Mapping::open(file.path()).unwrap()).unwrap();
        assert!(read.missing(1, 0..4000).is_none());
        file.as_file().set_len(4096).unwrap();
        // What is left is verified by the checksums that were there when it was opened.
        assert!(read.missing(1, 0..4000).is_none());
        assert_eq!(read.get(1, 0..4000).unwrap(), [7; 4000]);
        for range in [0..4096, 10_000..10_001] {
            let missing = read.missing(1, range).expect("it is not there");
            assert!(missing.map.populate(missing.range).is_err());
        }
    }

    #[test]
    fn another_version_is_told_apart() {
        let mut bytes = built(&[vec![1]]);
        bytes[8] = 3;
        let fault = Sections::open(map(&bytes)).map(drop).unwrap_err();
        assert_eq!(fault.to_string(), "format 3 is not known to this program, at byte 8");
    }
}
