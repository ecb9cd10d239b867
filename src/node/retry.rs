//! What becomes of a write that was not decided, by why, by whether it bears an idempotency
//! key, and by how long ago it came. Pure.
//!
//! ```text
//!                          without a key          with a key
//!                       early       late       early       late
//! no leader           try again    answer    try again    answer
//! unknown               answer     answer    try again*   answer
//! storage, overloaded   answer     answer      answer     answer
//! ```
//!
//! *Answer* is to tell the client why the attempt failed.
//!
//! `*` From then on an earlier attempt may have happened: whatever else goes wrong is told as
//! unknown. *Late* is when it has waited [`QUEUE_WAIT`]; a write of another node is never
//! tried again here, since that node does it, and none is by a node that stops.

use std::time::Duration;

use crate::{
    base::{
        outcome::WriteError,
        planted::planted,
        timing::{OWN_QUEUE_WAIT, PEER_QUEUE_WAIT, QUEUE_WAIT, WRITE_RETRY},
    },
    feed::Origin,
};

/// A write that was attempted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Who waits for it.
    pub(super) origin: Origin,
    /// How long ago it came.
    pub(super) age: Duration,
    /// It would be told apart if it happened twice.
    pub(super) is_idempotent: bool,
    /// This node takes no more writes.
    pub(super) is_stopping: bool,
}

/// What to do with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Try it again: it certainly did not happen.
    Again,
    /// Try it again, and remember that it may have happened.
    AgainAfterUnknown,
    /// Tell whoever waits for it why it failed.
    Answer,
}

/// What to do after an attempt that failed with `error`.
pub(super) fn after(error: WriteError, attempt: Attempt) -> Action {
    let may_go_on = may_wait(attempt.origin, attempt.age) && !attempt.is_stopping;
    match (error, attempt.is_idempotent, may_go_on) {
        (WriteError::NoLeader, _, true) => Action::Again,
        (WriteError::Unknown, true, true) => Action::AgainAfterUnknown,
        (WriteError::Unknown, false, true) if planted!(RepeatWithoutKey) => Action::Again,
        _ => Action::Answer,
    }
}

/// What is told of a write that failed with `error`, if an attempt before `may_have_happened`.
pub(super) fn told(error: WriteError, may_have_happened: bool) -> WriteError {
    if may_have_happened { WriteError::Unknown } else { error }
}

/// Whether a write may wait for a leader. One of another node waits there.
pub(super) fn may_wait(origin: Origin, age: Duration) -> bool {
    origin != Origin::Peer && age < QUEUE_WAIT
}

/// Whether a write may still go out, where this node `leads` or to another that does: its
/// client would be told before its outcome is known, else.
pub(super) fn may_go_out(origin: Origin, leads: bool, age: Duration) -> bool {
    let most = match (origin, leads) {
        (Origin::Peer, _) => PEER_QUEUE_WAIT,
        (Origin::Core(_), true) => OWN_QUEUE_WAIT,
        (Origin::Core(_), false) => QUEUE_WAIT,
    };
    // Those that wait for a leader are given up when they have waited so long.
    age <= most + WRITE_RETRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::outcome::StorageProblem;

    const OWN: Origin = Origin::Core(0);
    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn every_cell_of_the_table_is_as_it_is_drawn() {
        use Action::{Again, AgainAfterUnknown, Answer};
        let storage = WriteError::Storage;
        let problems = [
            storage(StorageProblem::Failed),
            storage(StorageProblem::Full),
            storage(StorageProblem::TooLarge),
            storage(StorageProblem::Stalled),
            storage(StorageProblem::NoSegment),
            storage(StorageProblem::Quorum),
            storage(StorageProblem::Halted),
            WriteError::Overloaded,
        ];
        // Without a key early and late, with one early and late.
        let mut rows = vec![
            (WriteError::NoLeader, [Again, Answer, Again, Answer]),
            (WriteError::Unknown, [Answer, Answer, AgainAfterUnknown, Answer]),
        ];
        rows.extend(problems.map(|error| (error, [Answer; 4])));
        for (error, cells) in rows {
            for (cell, expected) in cells.into_iter().enumerate() {
                let (is_idempotent, is_late) = (cell >= 2, cell % 2 == 1);
                let age = if is_late { QUEUE_WAIT } else { QUEUE_WAIT - MOMENT };
                let attempt = Attempt { origin: OWN, age, is_idempotent, is_stopping: false };
                assert_eq!(after(error, attempt), expected, "{error:?}, {attempt:?}");
                for other in [
                    Attempt { origin: Origin::Peer, age: Duration::ZERO, ..attempt },
                    Attempt { is_stopping: true, ..attempt },
                ] {
                    assert_eq!(after(error, other), Answer, "{error:?}, {other:?}");
                }
            }
            assert_eq!(told(error, false), error);
            assert_eq!(told(error, true), WriteError::Unknown);
        }
    }

    #[test]
    fn a_write_goes_out_only_while_its_outcome_can_be_told_in_time() {
        for (origin, leads, most) in [
            (OWN, true, OWN_QUEUE_WAIT),
            (OWN, false, QUEUE_WAIT),
            (Origin::Peer, true, PEER_QUEUE_WAIT),
            (Origin::Peer, false, PEER_QUEUE_WAIT),
        ] {
            assert!(may_go_out(origin, leads, most + WRITE_RETRY));
            assert!(!may_go_out(origin, leads, most + WRITE_RETRY + MOMENT));
        }
    }
}
