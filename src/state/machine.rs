//! The replicated state: a pure function of the committed batches, in order,
//! and so the same on every node.

use crate::base::{
    batch::Batch,
    ids::{ChangeId, Timestamp},
};

/// The state after some prefix of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The newest id given. Invariant: ids are dense, so it is also the number
    /// of changes ever accepted.
    last: ChangeId,
    /// The newest timestamp. Invariant: never decreases.
    last_at: Timestamp,
}

impl State {
    /// Gives the changes of `batch` their ids and returns the first one.
    ///
    /// # Panics
    /// If the batch is older than one applied before: whoever stamps batches
    /// must not go back, and readers rely on it.
    pub fn apply<B: AsRef<[u8]>>(&mut self, batch: &Batch<B>) -> ChangeId {
        assert!(
            batch.at() >= self.last_at,
            "a batch stamped {} follows one stamped {}",
            batch.at().0,
            self.last_at.0
        );
        let first = self.last.next();
        self.last = ChangeId(self.last.0 + u64::from(batch.changes()));
        self.last_at = batch.at();
        first
    }

    /// The newest id given; [`ChangeId::ZERO`] before the first change.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.last
    }

    /// The timestamp of the newest change.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.last_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch::{Append, ChangeSpan, encode};

    fn batch(commands: &[usize], at: u64) -> Batch {
        let commands: Vec<_> = commands
            .iter()
            .map(|&changes| Append {
                spans: (1..=changes)
                    .map(|n| ChangeSpan { end: 10 * n as u32, ..ChangeSpan::default() })
                    .collect(),
                tails: vec![b'x'; 10 * changes].into(),
            })
            .collect();
        Batch::parse(encode(&commands, Timestamp(at))).unwrap()
    }

    #[test]
    fn ids_are_dense_over_batches() {
        let mut state = State::default();
        assert_eq!(state.apply(&batch(&[1], 5)), ChangeId(1));
        assert_eq!(state.apply(&batch(&[3, 2], 5)), ChangeId(2));
        assert_eq!(state.apply(&batch(&[1], 9)), ChangeId(7));
        assert_eq!((state.last(), state.last_at()), (ChangeId(7), Timestamp(9)));
    }

    #[test]
    #[should_panic(expected = "a batch stamped 4 follows one stamped 5")]
    fn time_never_goes_back() {
        let mut state = State::default();
        state.apply(&batch(&[1], 5));
        state.apply(&batch(&[1], 4));
    }
}
