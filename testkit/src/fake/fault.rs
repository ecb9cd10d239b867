//! What goes wrong with the requests of a fake server.

use std::collections::HashMap;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and refused with 503.
    Busy,
    /// It is done, but answered with 504.
    Doubt,
    /// The connection closes before it is done.
    Cut,
    /// It is done, but the connection closes before the answer.
    HangUp,
    /// It is not done, and never answered.
    Stall,
    /// It is done, but never answered.
    StallDone,
    /// It is refused with 400 and the offset of the second change.
    Refuse,
    /// It is answered as if it were done, but something else is.
    Lose,
    /// A stream ends in the middle of its second half, without its last chunk.
    Tear,
}

/// What goes wrong with every so many requests; 0 is never. Of several the first named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Every {
    /// [`Fault::Busy`]
    pub busy: u64,
    /// [`Fault::HangUp`]
    pub hang_up: u64,
    /// [`Fault::Doubt`]
    pub doubt: u64,
    /// [`Fault::Lose`]
    pub lose: u64,
}

/// When something goes wrong.
#[derive(Default)]
pub(super) struct Faults {
    /// What happens to the n-th request, counted from 1.
    pub(super) single: HashMap<u64, Fault>,
    pub(super) every: Every,
}

impl Faults {
    /// What happens to the request of that number.
    pub(super) fn of(&mut self, number: u64) -> Option<Fault> {
        let Every { busy, hang_up, doubt, lose } = self.every;
        let every = [
            (busy, Fault::Busy),
            (hang_up, Fault::HangUp),
            (doubt, Fault::Doubt),
            (lose, Fault::Lose),
        ];
        let hit = every.iter().find(|(every, _)| *every > 0 && number.is_multiple_of(*every));
        self.single.remove(&number).or(hit.map(|(_, fault)| *fault))
    }
}
