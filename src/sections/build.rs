//! Making such a file.

use super::layout::{ALIGN, BLOCK, ENTRY_BYTES, HEAD_BYTES, MAGIC, VERSION};

/// Gathers the sections of a file.
#[derive(Default)]
pub struct Builder {
    sections: Vec<(u32, Vec<u8>)>,
}

impl Builder {
    /// Adds a section of a kind that is not there yet.
    pub fn add(&mut self, kind: u32, bytes: Vec<u8>) {
        assert!(self.sections.iter().all(|(other, _)| *other != kind), "a kind comes once");
        self.sections.push((kind, bytes));
    }

    /// The bytes of the file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut at = HEAD_BYTES + ENTRY_BYTES * self.sections.len();
        let mut table = Vec::with_capacity(at - HEAD_BYTES);
        for (kind, bytes) in &self.sections {
            at = at.next_multiple_of(ALIGN);
            table.extend_from_slice(&kind.to_le_bytes());
            table.extend_from_slice(&[0; 4]);
            table.extend_from_slice(&(at as u64).to_le_bytes());
            table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            at += bytes.len();
        }
        let length = at + 4 * at.div_ceil(BLOCK);
        let count = u32::try_from(self.sections.len()).expect("there are few sections");
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&(length as u64).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&table);
        for (_, bytes) in self.sections {
            out.resize(out.len().next_multiple_of(ALIGN), 0);
            out.extend_from_slice(&bytes);
        }
        assert_eq!(out.len(), at, "sections lie where the table says");
        // What the head says of the checksums is not summed up in them.
        let sums: Vec<u8> =
            out.chunks(BLOCK).flat_map(|block| crc32c::crc32c(block).to_le_bytes()).collect();
        let sum = crc32c::crc32c(&sums);
        out[24..28].copy_from_slice(&sum.to_le_bytes());
        let head = crc32c::crc32c_append(crc32c::crc32c(&out[..28]), &table);
        out[28..32].copy_from_slice(&head.to_le_bytes());
        out.extend_from_slice(&sums);
        out
    }
}
