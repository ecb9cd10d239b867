//! Proves that changes arrive in order, each once.

use super::failure::Failure;

/// What has been seen of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// Whether ids follow each other without a gap.
    dense: bool,
    /// The id after which was asked.
    since: u64,
    /// The id of the first change.
    pub(super) first: Option<u64>,
    /// The id of the last change, or that after which was asked.
    pub(super) last: u64,
    /// How many there were.
    pub(super) count: u64,
}

impl Order {
    pub(super) fn new(since: u64, dense: bool) -> Self {
        Self { dense, since, first: None, last: since, count: 0 }
    }

    /// The next change.
    ///
    /// # Errors
    /// It is not the next one.
    pub(super) fn take(&mut self, id: u64) -> Result<(), Failure> {
        // The start of the list may have been purged.
        let from_the_start = self.first.is_none() && self.since == 0;
        let follows = if self.dense && !from_the_start {
            Some(id) == self.last.checked_add(1)
        } else {
            id > self.last
        };
        if !follows {
            return Err(Failure::Other(format!("the node sent change {id} after {}", self.last)));
        }
        self.first.get_or_insert(id);
        self.last = id;
        self.count += 1;
        Ok(())
    }

    /// `34 changes after 1200, ids 1201 to 1234`.
    pub(super) fn summary(&self) -> String {
        let changes = if self.count == 1 { "change" } else { "changes" };
        let mut text = format!("{} {changes}", self.count);
        if self.since > 0 {
            text += &format!(" after {}", self.since);
        }
        match self.first {
            None => text,
            Some(first) => format!("{text}, ids {first} to {}", self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(since: u64, dense: bool, ids: &[u64]) -> bool {
        let mut order = Order::new(since, dense);
        ids.iter().all(|&id| order.take(id).is_ok())
    }

    #[test]
    fn a_gap_is_found_where_there_must_be_none() {
        assert!(takes(0, true, &[1, 2, 3]) && takes(7, true, &[8, 9]));
        assert!(takes(0, true, &[5, 6]), "what was before 5 is purged");
        assert!(!takes(0, true, &[5, 7]) && !takes(7, true, &[9]) && !takes(7, true, &[8, 10]));
        assert!(takes(0, false, &[2, 9]) && takes(7, false, &[9]));
    }

    #[test]
    fn what_comes_twice_or_too_late_is_found() {
        for dense in [false, true] {
            assert!(!takes(0, dense, &[0]) && !takes(7, dense, &[7]) && !takes(7, dense, &[3]));
            assert!(!takes(0, dense, &[1, 1]) && !takes(0, dense, &[1, 2, 1]));
        }
    }
}
