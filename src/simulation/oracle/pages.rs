//! Every part of a list that anybody was given is that part of the list: without a gap,
//! a repeat, or a word of purged history where nothing was purged.

use super::{Found, Settings, Truth, Violation, retention::Retentions, violation};
use crate::simulation::history::{Asked, Call, Consistency, Filter, Seen, Told};

pub(super) fn check(
    history: &[Call],
    truth: &Truth,
    settings: Settings,
    found: &mut Found,
) -> Result<(), Violation> {
    let retentions = Retentions::of(history, truth);
    for call in history {
        let Asked::List { filter, since, consistency } = call.asked else { continue };
        match &call.told {
            Told::Page { changes, last, .. } => {
                found.pages += 1;
                let left_out = retentions.left_out(filter, call.returned);
                let may_be_gone = purged_max(truth, settings).max(left_out);
                let page = Page { call, filter, since, changes, last: *last, may_be_gone };
                page.check(truth)?;
                page.is_new_enough(consistency)?;
            }
            Told::Purged { first } => {
                found.purged += 1;
                // A list begins behind the last change that is not in it any more.
                let left_out = retentions.left_out(filter, call.returned);
                let may_be_gone = purged_max(truth, settings).max(left_out);
                if since + 1 >= *first || *first > may_be_gone + 1 {
                    let text = format!("{first} is said to be the first: {call:?}");
                    return Err(violation("no false 410", text));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// How much may be purged by now: what a node purges goes by the newest change that any node
/// has, since it may go on from another's checkpoint.
fn purged_max(truth: &Truth, settings: Settings) -> u64 {
    settings.retained_min.map_or(0, |retained| truth.last().saturating_sub(retained))
}

struct Page<'a> {
    call: &'a Call,
    filter: Filter,
    since: u64,
    changes: &'a [Seen],
    last: u64,
    /// Changes up to this one may not be in the list any more.
    may_be_gone: u64,
}

impl Page<'_> {
    fn wrong(&self, rule: &'static str, what: &str) -> Violation {
        violation(rule, format!("{what}: {:?}", self.call))
    }

    fn check(&self, truth: &Truth) -> Result<(), Violation> {
        let mut before = self.since;
        for seen in self.changes {
            if seen.id <= before {
                return Err(self.wrong("no repeat", "what comes is not after what came"));
            }
            before = seen.id;
            let change = truth.get(seen.id);
            if !change.is_some_and(|change| change.is_in(self.filter)) {
                return Err(self.wrong("lists", &format!("{} is not of this list", seen.id)));
            }
        }
        if self.last < before {
            return Err(self.wrong("lists", "its end is before its last change"));
        }
        let mut given = self.changes.iter().map(|seen| seen.id).peekable();
        for (id, change) in truth.between(self.since, self.last) {
            if !change.is_in(self.filter) {
                continue;
            }
            if given.peek() == Some(&id) {
                given.next();
            } else if self.filter.tag.is_some() && truth.is_redacted(id) {
                // It bears no tag any more.
            } else if !self.may_be_purged(id) {
                return Err(self.wrong("no gap", &format!("{id} is left out")));
            }
        }
        Ok(())
    }

    /// Only who starts from the very beginning is not told what is gone.
    fn may_be_purged(&self, id: u64) -> bool {
        let is_before_all = self.changes.first().is_none_or(|first| id < first.id);
        self.since == 0 && is_before_all && id <= self.may_be_gone
    }

    fn is_new_enough(&self, consistency: Consistency) -> Result<(), Violation> {
        let (Consistency::AtLeast(id), Some(held)) = (consistency, self.call.last) else {
            return Ok(());
        };
        match held >= id {
            true => Ok(()),
            false => Err(self.wrong("min_id", "less was held than was asked for")),
        }
    }
}
