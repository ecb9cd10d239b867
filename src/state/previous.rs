//! Which versions of keys the changes of a segment replaced, in its index file. Where none did, or
//! where the index is of a build that did not tell, the sections are not there.
//!
//! ```text
//! section 18  for each 256 records of section 19 one u32: the change of the first
//! section 19  for each change that replaced a version: u32 the change, less the first of the
//!             segment; u64 the version; by change
//! ```

use std::{ops::Range, sync::OnceLock};

use super::unread::Stop;
use crate::{
    base::{
        batch::{Previous, Replaced},
        ids::ChangeId,
    },
    sections::{Builder, Fault, Sections, u32_at},
};

const DIRECTORY: u32 = 18;
const RECORDS: u32 = 19;
const RECORD_BYTES: usize = 12;
/// Records between those whose changes stand in the directory.
const CHUNK: usize = 256;

/// Puts what the changes of a segment replaced, by their numbers in it, into its index.
pub(super) fn put(builder: &mut Builder, replaced: &[Replaced]) {
    if replaced.is_empty() {
        return;
    }
    let firsts = replaced.iter().step_by(CHUNK);
    builder.add(DIRECTORY, firsts.flat_map(|first| first.number.to_le_bytes()).collect());
    let mut records = Vec::with_capacity(RECORD_BYTES * replaced.len());
    for Replaced { number, version } in replaced {
        records.extend_from_slice(&number.to_le_bytes());
        records.extend_from_slice(&version.0.to_le_bytes());
    }
    builder.add(RECORDS, records);
}

/// Where in an index it is said what changes replaced.
#[derive(Default)]
pub(super) struct PreviousTable {
    /// The directory, once it was read.
    directory: OnceLock<Box<[u32]>>,
}

impl PreviousTable {
    /// What those changes of the segment replaced, by their numbers: which count from the first of
    /// `changes` in what is given back.
    ///
    /// # Errors
    /// [`Stop`]: something must be loaded first, or is damaged.
    pub(super) fn of(&self, sections: &Sections, changes: Range<u32>) -> Result<Previous, Stop> {
        let records = sections.len(RECORDS) / RECORD_BYTES;
        if records == 0 {
            return Ok(Previous::default());
        }
        let directory = self.directory(sections)?;
        let start = directory.partition_point(|first| *first <= changes.start).saturating_sub(1);
        let end = directory.partition_point(|first| *first < changes.end);
        let range = CHUNK * start..records.min(CHUNK * end);
        if range.is_empty() {
            return Ok(Previous::default());
        }
        let some = read(sections, RECORDS, RECORD_BYTES * range.start..RECORD_BYTES * range.end)?;
        let (some, _) = some.as_chunks::<RECORD_BYTES>();
        let number = |record: &[u8; RECORD_BYTES]| u32_at(record, 0).unwrap_or_default();
        let from = some.partition_point(|record| number(record) < changes.start);
        let to = some.partition_point(|record| number(record) < changes.end);
        let replaced = some.get(from..to).unwrap_or_default();
        if !replaced.is_sorted_by(|a, b| number(a) < number(b)) {
            let reason = "what changes replaced is in no order".into();
            return Err(Fault { offset: 0, reason }.into());
        }
        let replaced = replaced.iter().map(|record| {
            let version = record.last_chunk().map_or(0, |id| u64::from_le_bytes(*id));
            Replaced { number: number(record) - changes.start, version: ChangeId(version) }
        });
        Ok(Previous::of(replaced.collect()))
    }

    fn directory(&self, sections: &Sections) -> Result<&[u32], Stop> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory);
        }
        let bytes = read(sections, DIRECTORY, 0..sections.len(DIRECTORY))?;
        let (words, _) = bytes.as_chunks::<4>();
        let directory = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(self.directory.get_or_init(|| directory))
    }
}

fn read(sections: &Sections, kind: u32, range: Range<usize>) -> Result<&[u8], Stop> {
    match sections.missing(kind, range.clone()) {
        Some(missing) => Err(Stop::Missing(missing)),
        None => Ok(sections.get(kind, range)?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::map::Mapping;

    fn written(replaced: &[Replaced]) -> Sections {
        let mut builder = Builder::default();
        put(&mut builder, replaced);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), builder.finish()).unwrap();
        let map = Mapping::open(file.path()).unwrap();
        map.populate(0..map.len()).unwrap();
        Sections::open(map).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_replaced_is_found_for_any_part_of_a_segment(
            steps in proptest::collection::vec((1u32..40, 1u64..1 << 50), 0..1200),
            parts in proptest::collection::vec((0u32..30_000, 0u32..9000), 1..20),
        ) {
            let mut number = 0;
            let replaced: Vec<Replaced> = steps.into_iter().map(|(step, version)| {
                number += step;
                Replaced { number, version: ChangeId(version) }
            }).collect();
            let (sections, table) = (written(&replaced), PreviousTable::default());
            for (start, length) in parts {
                let part = start..start + length;
                let Ok(found) = table.of(&sections, part.clone()) else { panic!("it is in memory") };
                let within = replaced.iter().filter(|one| part.contains(&one.number));
                let wanted: Vec<Replaced> = within
                    .map(|one| Replaced { number: one.number - start, version: one.version })
                    .collect();
                prop_assert_eq!(found.all(), &wanted[..]);
                for one in &wanted {
                    prop_assert_eq!(found.get(one.number), one.version);
                }
                let other = (0..length).find(|n| wanted.iter().all(|one| one.number != *n));
                if let Some(other) = other {
                    prop_assert_eq!(found.get(other), ChangeId::ZERO);
                }
            }
        }
    }
}
