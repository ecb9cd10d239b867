//! How a node with an empty directory comes to belong to a cluster.

use super::{flags::Flags, values::Role};
use crate::node::replica::Founding;

/// Each is asked by a thread of its own, all at once.
const EXPECT_MAX: usize = 64;

/// What says that such a node founds a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundingSettings {
    /// It founds one.
    found: bool,
    /// It founds one with so many others, itself included.
    expect: Option<usize>,
}

impl FoundingSettings {
    pub(super) fn merge(flags: &Flags, file: &Flags) -> Self {
        let found = flags.found.or(file.found).unwrap_or(false);
        Self { found, expect: flags.bootstrap_expect.or(file.bootstrap_expect) }
    }

    /// Checks that they go together with a cluster port, with so many `places` of nodes to join, and
    /// with the role of the node.
    pub(super) fn check(self, has_port: bool, places: usize, role: Role) -> Result<(), String> {
        let Self { found, expect } = self;
        if !has_port && (found || expect.is_some()) {
            let flag = if found { "found" } else { "bootstrap-expect" };
            return Err(format!("{flag} needs cluster-listen"));
        }
        if found && (expect.is_some() || places > 0) {
            return Err("found goes neither with join nor with bootstrap-expect".into());
        }
        let Some(expect) = expect else { return Ok(()) };
        if !(1..=EXPECT_MAX).contains(&expect) {
            return Err(format!("bootstrap-expect is {expect}, not 1 to {EXPECT_MAX}"));
        }
        if places + 1 < expect || places > EXPECT_MAX {
            return Err(format!(
                "bootstrap-expect is {expect}, and join names {places} nodes: it must name all that \
                 found the cluster, {EXPECT_MAX} at most"
            ));
        }
        if role != Role::Voter {
            return Err("bootstrap-expect is for voters: a learner joins them".into());
        }
        Ok(())
    }

    /// What a node does, which may have a cluster port.
    pub(super) fn founding(self, has_port: bool) -> Founding {
        match self.expect {
            _ if self.found || !has_port => Founding::Now,
            Some(expect) => Founding::Expect(expect),
            None => Founding::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let check = |found, expect, places, role| {
            FoundingSettings { found, expect }.check(true, places, role)
        };
        for (settings, want) in [
            (check(true, Some(1), 0, Role::Voter), "found goes neither"),
            (check(true, None, 1, Role::Voter), "found goes neither"),
            (check(false, Some(0), 0, Role::Voter), "bootstrap-expect is 0, not 1 to 64"),
            (check(false, Some(65), 65, Role::Voter), "bootstrap-expect is 65, not 1 to 64"),
            (check(false, Some(3), 1, Role::Voter), "is 3, and join names 1 nodes"),
            (check(false, Some(3), 65, Role::Voter), "is 3, and join names 65 nodes"),
            (check(false, Some(1), 0, Role::Learner), "bootstrap-expect is for voters"),
        ] {
            let error = settings.unwrap_err();
            assert!(error.contains(want), "{error:?} is not {want:?}");
        }
        for places in [2, 3, 64] {
            assert_eq!(check(false, Some(3), places, Role::Voter), Ok(()));
        }
        assert_eq!(check(true, None, 0, Role::Voter), Ok(()));
    }
}
