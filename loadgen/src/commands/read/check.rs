//! Holds pages against what a list promises, whatever was read before. Pure: it is fed pages.

use std::collections::HashMap;

use crate::answers::page::{self, Change, PageSummary};
use crate::load::payload::Payload;
use crate::measure::verification::{Verification, Violation};

/// Runs whose changes are known again; those of further runs count as other writers'.
const RUNS_MAX: usize = 256;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// By run and by the bytes of a change.
    payloads: HashMap<(u64, usize), Payload>,
    scratch: Vec<u8>,
    result: Verification,
}

impl Checker {
    /// Checks the page behind `since`; `None` when it is none. `dense` tells that the ids of the list have no gaps.
    pub(super) fn page(&mut self, body: &[u8], since: u64, dense: bool) -> Option<PageSummary> {
        let page = page::parse(body).ok()?;
        let (mut id, mut ts) = (since, 0);
        for change in &page.changes {
            let follows = if dense { id.checked_add(1) == Some(change.id) } else { id < change.id };
            if !follows {
                let found = change.id;
                self.violate(Violation::IdGap, || format!("id {found} follows id {id}"));
            }
            if change.ts < ts {
                let (found, at) = (change.ts, change.id);
                self.violate(Violation::TimeWentBack, || {
                    format!("id {at} has _ts {found}, the change before it {ts}")
                });
            }
            (id, ts) = (change.id, change.ts);
            self.data(change);
        }
        self.result.changes_read += page.changes.len() as u64;
        let changes = page.changes.len() as u64;
        Some(PageSummary { changes, last: page.last, at_end: page.at_end })
    }

    /// The data of a run is known by what it says, and is then the same byte for byte.
    fn data(&mut self, change: &Change<'_>) {
        let data = change.data();
        let is_sound = Payload::run_of(data).and_then(|run| {
            let key = (run, data.len());
            if !self.payloads.contains_key(&key) && self.payloads.len() < RUNS_MAX {
                self.payloads.insert(key, Payload::new(run, data.len()).ok()?);
            }
            let payload = self.payloads.get(&key)?;
            let origin = payload.origin(data)?;
            Some(payload.matches(data, origin, &mut self.scratch))
        });
        match is_sound {
            None => self.result.foreign += 1,
            Some(true) => self.result.found += 1,
            Some(false) => {
                let id = change.id;
                self.violate(Violation::Altered, || format!("id {id} does not hold what was sent"));
            }
        }
    }

    fn violate(&mut self, violation: Violation, describe: impl FnOnce() -> String) {
        self.result.violate(violation, describe);
    }

    /// The result, when all pages were fed.
    pub(super) fn finish(self) -> Verification {
        self.result.conclude()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::Origin;

    fn change(id: u64, ts: u64, data: &[u8]) -> String {
        format!(r#"{{"_id":{id},"_ts":{ts},"data":{}}}"#, String::from_utf8_lossy(data))
    }

    fn check(changes: &[String], since: u64, dense: bool) -> Verification {
        let body = changes.join(",");
        let body = format!(r#"{{"changes":[{body}],"atStart":true,"atEnd":true,"last":9}}"#);
        let mut checker = Checker::default();
        assert!(checker.page(body.as_bytes(), since, dense).is_some());
        checker.finish()
    }

    #[test]
    fn changes_of_any_run_are_known_and_others_counted() {
        let mut changes = Vec::new();
        for (id, size) in [(4, 100), (5, 120)] {
            let mut data = Vec::new();
            let origin = Origin { worker: 1, sequence: 2 };
            Payload::new(id, size).expect("a size").write(&mut data, origin);
            changes.push(change(id, 1, &data));
        }
        changes.push(change(6, 1, br#"{"run":"mine"}"#));
        let verification = check(&changes, 3, true);
        assert!(verification.passed);
        assert_eq!((verification.found, verification.foreign), (2, 1));
        // One letter of the padding differs.
        let at = changes[0].len() - 4;
        let wrong = if changes[0].as_bytes()[at] == b'A' { "B" } else { "A" };
        changes[0].replace_range(at..=at, wrong);
        assert_eq!(check(&changes, 3, true).violations[&Violation::Altered], 1);
    }

    #[test]
    fn gaps_and_times_that_go_back_are_found() {
        let changes = [change(5, 7, b"1"), change(7, 6, b"1")];
        let violations = check(&changes, 3, true).violations;
        assert_eq!(violations[&Violation::IdGap], 2);
        assert_eq!(violations[&Violation::TimeWentBack], 1);
        // The list of a tenant may have gaps, but goes on.
        assert_eq!(check(&changes, 3, false).violations.get(&Violation::IdGap), None);
        assert_eq!(check(&changes, 5, false).violations[&Violation::IdGap], 1);
        assert_eq!(Checker::default().page(b"{}", 0, true), None);
    }
}
