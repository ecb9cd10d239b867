//! What happens to a data directory while no node runs on it.

use std::ops::Range;

use rand::{Rng, RngExt, rngs::StdRng};

use super::image::Files;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// Bits of one byte flip.
    Flip { file: String, at: usize, bits: u8 },
    /// A range holds something else.
    Overwrite { file: String, range: Range<usize>, with: Filling },
    /// A range stands where another one of the same length was.
    Copy { from: (String, usize), to: (String, usize), bytes: usize },
    /// A file has another length.
    Resize { file: String, bytes: usize, with: Filling },
    /// Two files have each other's name.
    Swap(String, String),
    /// A file is there once more under another name, which another may have had.
    Duplicate { from: String, to: String },
    /// A file is not there.
    Remove(String),
    /// Of the files of one kind so many are not there that are last by name.
    RemoveLast(String, usize),
    /// A file is there that was not.
    Foreign { name: String, bytes: usize, with: Filling },
    /// A file is that of another directory.
    OfOther(String),
}

/// What stands in the place of what was written.
#[derive(Clone, Copy, Debug)]
pub enum Filling {
    Zeros,
    Ones,
    Random(u64),
}

impl Filling {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..4) {
            0 | 1 => Self::Zeros,
            2 => Self::Ones,
            _ => Self::Random(rng.random()),
        }
    }

    fn fill(self, bytes: &mut [u8]) {
        match self {
            Self::Zeros => bytes.fill(0),
            Self::Ones => bytes.fill(0xFF),
            Self::Random(seed) => {
                use rand::SeedableRng;
                StdRng::seed_from_u64(seed).fill_bytes(bytes);
            }
        }
    }
}

/// A name that another file than those that are there may have.
fn foreign_name(rng: &mut StdRng, files: &Files) -> String {
    let number = match rng.random_range(0..3) {
        0 => rng.random_range(0..4),
        1 => files.len() as u64 + rng.random_range(0..40),
        _ => rng.random_range(0..400),
    };
    let ends = ["seg", "seg.tmp", "checkpoint", "index", "state", "index.tmp", "state.tmp", "bak"];
    match rng.random_range(0..10) {
        0 => "notes.txt".into(),
        1 => "checkpoint.tmp".into(),
        8 => "backup.tmp".into(),
        9 => "snapshot.install".into(),
        2 => format!("{number}.seg"),
        _ => format!("{number:020}.{}", ends[rng.random_range(0..ends.len())]),
    }
}

impl Mutation {
    /// What a file may come to under a node that has it open: it is gone, or has other bytes.
    pub fn draw_at_rest(rng: &mut StdRng, files: &Files) -> Self {
        loop {
            let drawn = Self::draw(rng, files);
            if matches!(
                drawn,
                Self::Flip { .. } | Self::Overwrite { .. } | Self::Copy { .. } | Self::Remove(_)
            ) {
                return drawn;
            }
        }
    }

    pub fn draw(rng: &mut StdRng, files: &Files) -> Self {
        let names: Vec<&String> = files.keys().collect();
        let mut one = || names[rng.random_range(0..names.len())].clone();
        let (file, other) = (one(), one());
        let length = files[&file].len();
        let at = place(rng, &files[&file]);
        match rng.random_range(0..100) {
            0..45 => Self::Flip { file, at, bits: 1 << rng.random_range(0..8) },
            45..50 => Self::Flip { file, at, bits: rng.random_range(1..=255) },
            50..65 => {
                let unit = [1, 16, 512, 4096, 16_384][rng.random_range(0..5)];
                let start = at / unit * unit;
                let end = start + unit * rng.random_range(1..=3);
                Self::Overwrite { file, range: start..end, with: Filling::draw(rng) }
            }
            65..72 => {
                let block = |at: usize| at / 4096 * 4096;
                let from = block(place(rng, &files[&other]));
                let bytes = 4096 * rng.random_range(1..=2);
                Self::Copy { from: (other, from), to: (file, block(at)), bytes }
            }
            72..82 => {
                let bytes = match rng.random_range(0..4) {
                    0 => 0,
                    1 => at,
                    2 => at / 4096 * 4096,
                    _ => length + rng.random_range(1..10_000),
                };
                Self::Resize { file, bytes, with: Filling::draw(rng) }
            }
            82..86 => Self::Swap(file, other),
            86..88 => Self::Duplicate { from: file, to: other },
            88..90 => Self::Duplicate { from: file, to: foreign_name(rng, files) },
            90..93 => Self::Remove(file),
            93..95 => {
                let kind = file.rsplit('.').next().unwrap_or_default().to_owned();
                Self::RemoveLast(kind, rng.random_range(1..=4))
            }
            95..98 => {
                let (name, bytes) = (foreign_name(rng, files), rng.random_range(0..40_000));
                Self::Foreign { name, bytes, with: Filling::draw(rng) }
            }
            _ => Self::OfOther(file),
        }
    }

    /// Does it to `files`; `other` is the directory of another node.
    pub fn apply(&self, files: &mut Files, other: &Files) {
        match self {
            Self::Flip { file, at, bits } => {
                if let Some(byte) = files.get_mut(file).and_then(|bytes| bytes.get_mut(*at)) {
                    *byte ^= bits;
                }
            }
            Self::Overwrite { file, range, with } => {
                let Some(bytes) = files.get_mut(file) else { return };
                let end = range.end.min(bytes.len());
                with.fill(&mut bytes[range.start.min(end)..end]);
            }
            Self::Copy { from, to, bytes } => {
                let source = &files[&from.0];
                let end = source.len().min(from.1 + bytes);
                let copied = source[from.1.min(end)..end].to_vec();
                let target = files.get_mut(&to.0).expect("it is there");
                let end = target.len().min(to.1 + copied.len());
                let start = to.1.min(end);
                target[start..end].copy_from_slice(&copied[..end - start]);
            }
            Self::Resize { file, bytes, with } => {
                let all = files.get_mut(file).expect("it is there");
                let before = all.len();
                all.resize(*bytes, 0);
                with.fill(all.get_mut(before..).unwrap_or_default());
            }
            Self::Swap(one, other) => {
                let (first, second) = (files[one].clone(), files[other].clone());
                files.insert(one.clone(), second);
                files.insert(other.clone(), first);
            }
            Self::Duplicate { from, to } => {
                files.insert(to.clone(), files[from].clone());
            }
            Self::Remove(file) => drop(files.remove(file)),
            Self::RemoveLast(kind, count) => {
                let of_kind = files.keys().filter(|name| name.ends_with(kind)).cloned();
                for name in of_kind.collect::<Vec<_>>().iter().rev().take(*count) {
                    files.remove(name);
                }
            }
            Self::Foreign { name, bytes, with } => {
                let mut all = vec![0; *bytes];
                with.fill(&mut all);
                files.insert(name.clone(), all);
            }
            Self::OfOther(file) => {
                if let Some(bytes) = other.get(file) {
                    files.insert(file.clone(), bytes.clone());
                }
            }
        }
    }
}

/// A byte of a file, more often than not one that is something.
fn place(rng: &mut StdRng, bytes: &[u8]) -> usize {
    let at = rng.random_range(0..bytes.len().max(1));
    match rng.random_range(0..3) {
        0 => at,
        // The heads of blocks.
        1 => (at / 4096 * 4096 + rng.random_range(0..128)).min(bytes.len().saturating_sub(1)),
        _ => {
            let written = (at..bytes.len()).find(|at| bytes[*at] != 0);
            written.unwrap_or(at)
        }
    }
}
