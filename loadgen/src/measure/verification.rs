//! What comes of reading back what was written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Violations that are described; all are counted.
const EXAMPLES_MAX: usize = 10;

/// A way in which the list breaks what the server promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Violation {
    /// An acknowledged change is not in the list.
    Lost,
    /// A change of this run is in the list more than once.
    Duplicated,
    /// At an acknowledged id stands another change of this run.
    Misplaced,
    /// A change has other content than was sent.
    Altered,
    /// A change bears this run's id but was never sent.
    Invented,
    /// Two requests were acknowledged with the same id.
    AcknowledgedTwice,
    /// An id is not the one before plus 1.
    IdGap,
    /// `_ts` is lower than that of the change before.
    TimeWentBack,
    /// A key does not hold what was acknowledged last for it.
    WrongKey,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Verification {
    pub(crate) passed: bool,
    /// Changes read back, those of other writers included.
    pub(crate) changes_read: u64,
    /// Changes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Acknowledged changes that stand at their id with their content.
    pub(crate) found: u64,
    /// Changes of unknown outcome, and how many of them are in the list.
    pub(crate) unknown: u64,
    pub(crate) unknown_found: u64,
    /// Changes of other writers.
    pub(crate) foreign: u64,
    pub(crate) violations: BTreeMap<Violation, u64>,
    /// The first few violations in words.
    pub(crate) examples: Vec<String>,
}

impl Verification {
    /// Adds what another part of the run brought.
    pub(crate) fn merge(&mut self, other: Self) {
        self.changes_read += other.changes_read;
        self.acknowledged += other.acknowledged;
        self.found += other.found;
        self.unknown += other.unknown;
        self.unknown_found += other.unknown_found;
        self.foreign += other.foreign;
        for (violation, count) in other.violations {
            *self.violations.entry(violation).or_default() += count;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
        self.passed = self.violations.is_empty();
    }

    /// Counts a violation, and describes it unless many were described already.
    pub(crate) fn violate(&mut self, violation: Violation, describe: impl FnOnce() -> String) {
        *self.violations.entry(violation).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(describe());
        }
    }

    /// The result, now that everything was compared.
    pub(crate) fn conclude(mut self) -> Self {
        self.passed = self.violations.is_empty();
        self
    }
}
