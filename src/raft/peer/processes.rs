//! Which process each member is. A copy of a data directory has the identity of
//! its original: two processes with one identity would contradict each other, so
//! the second is refused for as long as the first is alive. Whether it is, the
//! address tells at which the cluster knows the member. Pure.

use crate::{
    base::{
        ids::NodeId,
        protocol::{VERSIONS, Versions},
        timing::PROCESS_REFUSED,
    },
    io::cores,
    log::Identity,
};
use std::{cell::RefCell, collections::BTreeMap, time::Instant};

/// What tells a process from others with the same identity; 0 where it does not say.
pub type Process = u32;

/// A node as one process runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Which node that is.
    pub who: Identity,
    /// The number that the process drew for itself.
    pub process: Process,
    /// The versions of the protocol that its program speaks.
    pub speaks: Versions,
}

impl Instance {
    /// Node `who` as it is started now.
    #[must_use]
    pub fn start(who: Identity) -> Self {
        Self { who, process: cores::random::<Process>().max(1), speaks: VERSIONS }
    }
}

/// What a process is that says to be a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The member, as before, or as the first that is known of it.
    Member,
    /// The member, which was another process before.
    Successor,
    /// A second process beside the member.
    Second,
}

#[derive(Default)]
struct Known {
    /// The process that the member is.
    member: Process,
    /// The last that was refused, and when.
    refused: Option<(Process, Instant)>,
}

/// The process that each member is known to be.
#[derive(Default)]
pub(super) struct Processes(RefCell<BTreeMap<NodeId, Known>>);

impl Processes {
    /// Whether a process is the member that it says to be; nothing when the
    /// member's address must be asked.
    pub(super) fn is_member(&self, node: NodeId, process: Process, now: Instant) -> Option<bool> {
        let all = self.0.borrow();
        let Known { member, refused } = all.get(&node)?;
        if *member == process {
            return Some(true);
        }
        let (other, at) = (*refused)?;
        (other == process && now.duration_since(at) < PROCESS_REFUSED).then_some(false)
    }

    /// Decides by which process answers at the member's address, if one does.
    pub(super) fn decide(
        &self,
        node: NodeId,
        process: Process,
        there: Option<Process>,
        now: Instant,
    ) -> Decision {
        let mut all = self.0.borrow_mut();
        let known = all.entry(node).or_default();
        match there {
            Some(there) if there != process => {
                *known = Known { member: there, refused: Some((process, now)) };
                Decision::Second
            }
            _ => {
                let before = std::mem::replace(known, Known { member: process, refused: None });
                let is_other = before.member != 0 && before.member != process;
                if is_other { Decision::Successor } else { Decision::Member }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_while_the_first_answers() {
        let (processes, now) = (Processes::default(), Instant::now());
        assert_eq!(processes.is_member(2, 7, now), None, "nothing is known yet");
        assert_eq!(processes.decide(2, 7, Some(7), now), Decision::Member);
        assert_eq!(processes.is_member(2, 7, now), Some(true));
        assert_eq!(processes.is_member(2, 8, now), None, "the first may have ended");
        assert_eq!(processes.decide(2, 8, Some(7), now), Decision::Second);
        assert_eq!(processes.is_member(2, 8, now), Some(false));
        assert_eq!(processes.is_member(2, 7, now), Some(true));
        let later = now + PROCESS_REFUSED;
        assert_eq!(processes.is_member(2, 8, later), None, "it is asked again");
        let decision = processes.decide(2, 8, None, later);
        assert_eq!(decision, Decision::Successor, "nobody answers there any more");
        assert_eq!(processes.is_member(2, 8, later), Some(true));
        assert_eq!(processes.is_member(3, 8, later), None, "that says nothing of another");
    }

    #[test]
    fn the_copy_that_comes_first_gives_way_to_the_original() {
        let (processes, now) = (Processes::default(), Instant::now());
        assert_eq!(processes.decide(2, 8, None, now), Decision::Member);
        assert_eq!(processes.decide(2, 7, Some(7), now), Decision::Successor);
        assert_eq!(processes.decide(2, 8, Some(7), now), Decision::Second);
    }
}
