//! Reading such a file, block by block.

use std::{ops::Range, sync::Arc};

use super::layout::{BLOCK, ENTRY_BYTES, HEAD_BYTES, MAGIC, VERSION};
use crate::io::map::Mapping;

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, at byte {offset}")]
pub struct Fault {
    /// Where in the file.
    pub offset: usize,
    /// What is wrong.
    pub reason: String,
}

fn fault(offset: usize, reason: impl Into<String>) -> Fault {
    Fault { offset, reason: reason.into() }
}

/// A part of a file that is not in memory.
#[derive(Clone)]
pub struct Missing {
    /// The file.
    pub map: Arc<Mapping>,
    /// The bytes that are wanted.
    pub range: Range<usize>,
}

/// A mapped file of sections.
pub struct Sections {
    map: Arc<Mapping>,
    table: Box<[(u32, Range<usize>)]>,
    /// Where the checksums begin.
    sums: usize,
    /// The checksums, which were verified: 4 bytes for each block.
    checksums: Box<[u8]>,
}

impl Sections {
    /// Looks at the head and the checksums of a file; not at what is summed up.
    ///
    /// # Errors
    /// It is no such file, of another format, or damaged there.
    pub fn open(map: Mapping) -> Result<Self, Fault> {
        let bytes = map.get(0..map.len()).unwrap_or_default();
        let head = bytes.get(..HEAD_BYTES).ok_or_else(|| fault(0, "its head is missing"))?;
        if head[..8] != MAGIC {
            return Err(fault(0, "it is not an index file"));
        }
        let word = |at: usize| u32_at(bytes, at).unwrap_or_default();
        if !(1..=VERSION).contains(&word(8)) {
            return Err(fault(8, format!("format {} is not known to this program", word(8))));
        }
        let damaged = || fault(0, "its head does not match its checksum");
        let table_bytes = (word(12) as usize).checked_mul(ENTRY_BYTES).ok_or_else(damaged)?;
        let table = bytes.get(HEAD_BYTES..).and_then(|rest| rest.get(..table_bytes));
        let table = table.ok_or_else(damaged)?;
        if crc32c::crc32c_append(crc32c::crc32c(&head[..28]), table) != word(28) {
            return Err(damaged());
        }
        if u64_at(bytes, 16) != Some(bytes.len() as u64) {
            return Err(fault(bytes.len(), "it has another length than its head says"));
        }
        let table: Vec<(u32, Range<usize>)> = table
            .chunks_exact(ENTRY_BYTES)
            .filter_map(|entry| {
                let offset = usize::try_from(u64_at(entry, 8)?).ok()?;
                let length = usize::try_from(u64_at(entry, 16)?).ok()?;
                Some((u32_at(entry, 0)?, offset..offset.checked_add(length)?))
            })
            .collect();
        let end = table.last().map_or(HEAD_BYTES + table_bytes, |(_, range)| range.end);
        let sums = bytes.get(end..).ok_or_else(damaged)?;
        if sums.len() != 4 * end.div_ceil(BLOCK) || crc32c::crc32c(sums) != word(24) {
            return Err(fault(end, "its checksums are damaged"));
        }
        let checksums = sums.into();
        Ok(Self { table: table.into(), sums: end, checksums, map: Arc::new(map) })
    }

    /// The checksum of the checksums of all: it tells two files apart.
    #[must_use]
    pub fn sum(&self) -> u32 {
        self.map.get(0..HEAD_BYTES).and_then(|head| u32_at(head, 24)).unwrap_or_default()
    }

    /// Whether there is such a section.
    fn range(&self, kind: u32) -> Option<Range<usize>> {
        self.table.iter().find(|(found, _)| *found == kind).map(|(_, range)| range.clone())
    }

    /// The kinds of its sections, in order.
    pub fn kinds(&self) -> impl Iterator<Item = u32> {
        self.table.iter().map(|(kind, _)| *kind)
    }

    /// The length of a section; 0 when there is none.
    #[must_use]
    pub fn len(&self, kind: u32) -> usize {
        self.range(kind).map_or(0, |range| range.len())
    }

    fn part(&self, kind: u32, range: Range<usize>) -> Result<Range<usize>, Fault> {
        let section = self.range(kind).ok_or_else(|| fault(0, format!("no section {kind}")))?;
        match section.start.checked_add(range.end) {
            Some(end) if end <= section.end && range.start <= range.end => {
                Ok(section.start + range.start..end)
            }
            _ => Err(fault(section.end, format!("section {kind} ends early"))),
        }
    }

    /// A part of a section, verified. Touches what [`missing`](Self::missing) tells of.
    ///
    /// # Errors
    /// It is damaged, or there is no such part.
    pub fn get(&self, kind: u32, range: Range<usize>) -> Result<&[u8], Fault> {
        let range = self.part(kind, range)?;
        for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
            self.check(block)?;
        }
        Ok(self.map.get(range).unwrap_or_default())
    }

    /// A whole section, verified.
    ///
    /// # Errors
    /// It is damaged, or there is none.
    pub fn all(&self, kind: u32) -> Result<&[u8], Fault> {
        self.get(kind, 0..self.len(kind))
    }

    fn check(&self, block: usize) -> Result<(), Fault> {
        let start = block * BLOCK;
        let bytes = self.map.get(start..self.sums.min(start + BLOCK)).unwrap_or_default();
        let sum = self.checksums.get(4 * block..4 * block + 4);
        // The head was written after its block was summed up.
        let found = if block == 0 { first_sum(bytes) } else { crc32c::crc32c(bytes) };
        if sum != Some(&found.to_le_bytes()[..]) {
            return Err(fault(start, "a block does not match its checksum"));
        }
        Ok(())
    }

    /// Verifies the whole file.
    ///
    /// # Errors
    /// The first block that is damaged.
    pub fn verify(&self) -> Result<(), Fault> {
        (0..self.sums.div_ceil(BLOCK)).try_for_each(|block| self.check(block))
    }

    /// What must be brought into memory before that part is touched; nothing when it is there, or
    /// when there is no such part.
    #[must_use]
    pub fn missing(&self, kind: u32, range: Range<usize>) -> Option<Missing> {
        let range = self.part(kind, range).ok().filter(|range| !range.is_empty())?;
        let start = range.start / BLOCK * BLOCK;
        let range = start..self.sums.min(range.end.next_multiple_of(BLOCK));
        let is_missing = !self.map.is_resident(range.clone());
        is_missing.then(|| Missing { map: Arc::clone(&self.map), range })
    }

    /// The file.
    #[must_use]
    pub fn map(&self) -> &Arc<Mapping> {
        &self.map
    }
}

/// The checksum of the first block as it was before the head's own checksums were set.
fn first_sum(block: &[u8]) -> u32 {
    let (before, rest) = block.split_at(block.len().min(24));
    let (_, rest) = rest.split_at(rest.len().min(8));
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 8]), rest)
}

/// The number at byte `at`, little-endian; nothing past the end.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}
