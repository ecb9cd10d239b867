//! How often each thing happened in runs: faults, what disks and the network did wrong by
//! them, and requests with what came of them.

use std::{collections::BTreeMap, fmt};

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    pub fn add(&mut self, name: &str, count: u64) {
        *self.0.entry(name.to_owned()).or_default() += count;
    }

    /// How often that happened.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }

    /// Of these names the ones that were never counted.
    pub fn lacks(&self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        names.into_iter().filter(|name| !self.0.contains_key(name)).collect()
    }
}

impl fmt::Display for Coverage {
    /// As a table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| writeln!(f, "{count:8} {name}"))
    }
}
