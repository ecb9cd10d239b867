//! Which versions of the protocol between nodes a program speaks, and which one two nodes speak with each other. Pure.
//!
//! Whoever connects says the newest that it speaks. Whoever answers takes that, or says the newest of its own,
//! which the other says then, if it is older and spoken there too. So two nodes speak the newest that both do,
//! with a second hello where one program is older; also a program that knows nothing of versions but its own
//! is spoken with, as it refuses others and says its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::batch;

/// The versions that a program speaks: all from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub oldest: u32,
    /// The newest, of the messages and of the batches that are in them. It is raised with either.
    pub newest: u32,
}

/// Those of this program.
pub const VERSIONS: Versions = Versions { oldest: 7, newest: 7 };

const _: () = assert!(
    VERSIONS.newest == 7 && batch::NEWEST_VERSION == 10,
    "nodes must understand the batches of those that they speak with"
);

impl Versions {
    /// Whether this version is spoken.
    #[must_use]
    pub fn has(self, version: u32) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// The newest that is spoken by both, if there is one.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        Some(self.newest.min(other.newest)).filter(|&both| self.has(both) && other.has(both))
    }

    /// What is said next by one who said `said` and was refused, as the newest there is `theirs`.
    #[must_use]
    pub fn after_refusal(self, said: u32, theirs: u32) -> Option<u32> {
        (theirs < said && self.has(theirs)).then_some(theirs)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "{}", self.newest),
            false => write!(f, "{} to {}", self.oldest, self.newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn versions() -> impl Strategy<Value = Versions> {
        (1u32..9, 0u32..5).prop_map(|(oldest, more)| Versions { oldest, newest: oldest + more })
    }

    proptest! {
        #[test]
        fn whoever_connects_the_newest_of_both_is_spoken(one in versions(), two in versions()) {
            // As the two ends do it.
            let mut said = one.newest;
            let mut hellos = 1;
            let agreed = loop {
                if two.has(said) {
                    break Some(said);
                }
                match one.after_refusal(said, two.newest) {
                    Some(next) => said = next,
                    None => break None,
                }
                hellos += 1;
            };
            let newest = (1..20).rev().find(|&version| one.has(version) && two.has(version));
            prop_assert_eq!(agreed, newest);
            prop_assert_eq!(one.common(two), newest);
            prop_assert!(hellos <= 2);
        }
    }

    #[test]
    fn versions_are_told_as_one_or_from_one_to_another() {
        assert_eq!(Versions { oldest: 7, newest: 7 }.to_string(), "7");
        assert_eq!(Versions { oldest: 7, newest: 9 }.to_string(), "7 to 9");
    }
}
