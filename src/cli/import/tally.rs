//! What has become of the lines so far.

use serde::{Deserialize, Serialize};

use super::super::failure::Failure;

/// Counts of lines and ids. Invariant: `stored + deleted + skipped` lines have
/// been dealt with, blank ones aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Changes that were acknowledged.
    pub(super) stored: u64,
    /// Deletions that were acknowledged.
    pub(super) deleted: u64,
    /// Deletions that were left out.
    pub(super) skipped: u64,
    /// The id of the first change in the target.
    pub(super) first: Option<u64>,
    /// The id of the last one.
    pub(super) last: u64,
}

impl Tally {
    /// All lines that were dealt with.
    pub(super) fn lines(&self) -> u64 {
        self.stored + self.deleted + self.skipped
    }

    /// Checks an answer's range: as many ids as changes, after all before.
    pub(super) fn acknowledge(&mut self, first: u64, last: u64, count: u64) -> Result<(), Failure> {
        let ids = last.checked_sub(first).and_then(|apart| apart.checked_add(1));
        if count == 0 || ids != Some(count) || first <= self.last {
            return Err(Failure::Other(format!(
                "the node acknowledged {count} changes as ids {first} to {last}, after id {}",
                self.last
            )));
        }
        self.first.get_or_insert(first);
        self.last = last;
        Ok(())
    }

    /// `imported 12 lines: 10 changes stored, 1 deletion, 1 skipped; ids 1 to 11`.
    pub(super) fn summary(&self) -> String {
        let number = |count: u64, one: &str, many: &str| {
            format!("{count} {}", if count == 1 { one } else { many })
        };
        let mut text = format!(
            "imported {}: {} stored",
            number(self.lines(), "line", "lines"),
            number(self.stored, "change", "changes")
        );
        if self.deleted > 0 {
            text += &format!(", {}", number(self.deleted, "deletion", "deletions"));
        }
        if self.skipped > 0 {
            text += &format!(", {} skipped", self.skipped);
        }
        match self.first {
            Some(first) => format!("{text}; ids {first} to {}", self.last),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_do_not_add_up_are_refused() {
        let mut tally = Tally::default();
        tally.acknowledge(5, 7, 3).unwrap();
        for (first, last, count) in [(8, 9, 3), (8, 9, 1), (7, 8, 2), (3, 3, 1), (9, 8, 0)] {
            assert!(tally.acknowledge(first, last, count).is_err(), "{first} {last} {count}");
        }
        tally.acknowledge(10, 10, 1).unwrap();
        assert_eq!((tally.first, tally.last), (Some(5), 10));
    }

    #[test]
    fn the_summary_names_what_there_was() {
        let tally = Tally { stored: 10, deleted: 1, skipped: 1, first: Some(1), last: 11 };
        assert_eq!(
            tally.summary(),
            "imported 12 lines: 10 changes stored, 1 deletion, 1 skipped; ids 1 to 11"
        );
        assert_eq!(Tally::default().summary(), "imported 0 lines: 0 changes stored");
    }
}
