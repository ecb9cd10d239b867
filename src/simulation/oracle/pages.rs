//! Every part of a list that anybody was given is that part of the list: without a gap,
//! a repeat, or a word of purged history where nothing was purged.

use super::{Found, Settings, Truth, Violation, retention::Retentions, truth::Change, violation};
use crate::simulation::history::{Asked, Call, Consistency, Filter, Seen, Thing, Told};

pub(super) fn check(
    history: &[Call],
    truth: &Truth,
    settings: Settings,
    found: &mut Found,
) -> Result<(), Violation> {
    let retentions = Retentions::of(history, truth);
    let purged_max = purged_max(truth, settings);
    for call in history {
        let (Asked::List { filter, consistency, .. } | Asked::Later { filter, consistency, .. }) =
            call.asked
        else {
            continue;
        };
        let is_later = matches!(call.asked, Asked::Later { .. });
        let Some(since) = since(call, truth) else { continue };
        let left_out: Vec<(Thing, u64)> =
            filter.things().map(|of| (of, retentions.left_out(of, call.returned))).collect();
        match &call.told {
            Told::Page { changes, last, at_end } => {
                found.pages += 1;
                let (last, at_end) = (*last, *at_end);
                let page = Page { call, filter, since, changes, last, purged_max, left_out };
                page.check(truth)?;
                page.is_new_enough(consistency, settings.is_copy(call.node), at_end)?;
                page.is_later()?;
            }
            Told::Purged { first } => {
                found.purged += 1;
                // A list begins behind the last change that is not in it any more; several, where the
                // first of them does.
                let before_all = left_out.iter().map(|(_, upto)| *upto).min();
                let may_be_gone = purged_max.max(before_all.unwrap_or(0));
                // Of what is gone some may be later; a node that holds nothing else cannot tell.
                let cannot_tell = is_later && call.last.is_some_and(|last| last < *first);
                let is_there = !cannot_tell && since + 1 >= *first + u64::from(is_later);
                if is_there || *first > may_be_gone + 1 {
                    let text = format!("{first} is said to be the first: {call:?}");
                    return Err(violation("no false 410", text));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// After which change a part of a list begins; nothing where none was asked for, or nobody knows.
pub(super) fn since(call: &Call, truth: &Truth) -> Option<u64> {
    match call.asked {
        Asked::List { since, .. } => Some(since),
        Asked::Later { at, .. } if truth.is_whole() => {
            let before = truth.last_upto(at);
            // The node may not have come as far.
            let held = match call.told {
                Told::Page { last, .. } => last,
                _ => before,
            };
            Some(before.min(held))
        }
        _ => None,
    }
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
    /// Changes up to this one may be purged.
    purged_max: u64,
    /// Changes up to these may not be in the lists of these any more.
    left_out: Vec<(Thing, u64)>,
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
            } else if !self.may_be_purged(id) && !self.may_be_left_out(id, change) {
                return Err(self.wrong("no gap", &format!("{id} is left out")));
            }
        }
        Ok(())
    }

    /// Only who starts from the very beginning is not told what is gone.
    fn may_be_purged(&self, id: u64) -> bool {
        let is_before_all = self.changes.first().is_none_or(|first| id < first.id);
        let may_be_gone = match self.left_out[..] {
            [(_, left_out)] => self.purged_max.max(left_out),
            _ => self.purged_max,
        };
        self.since == 0 && is_before_all && id <= may_be_gone
    }

    /// Of several lists each begins where it does, and nobody is told of it.
    fn may_be_left_out(&self, id: u64, change: &Change) -> bool {
        let mut of = self.left_out.iter().filter(|(thing, _)| change.is_of(*thing));
        self.left_out.len() > 1 && of.all(|(_, upto)| id <= *upto)
    }

    /// Whoever asks for what is stamped later is given nothing else.
    fn is_later(&self) -> Result<(), Violation> {
        let Asked::Later { at, .. } = self.call.asked else { return Ok(()) };
        match self.changes.iter().all(|seen| seen.stamp().is_some_and(|stamp| stamp > at)) {
            true => Ok(()),
            false => Err(self.wrong("moments", "a change is not stamped later")),
        }
    }

    /// A copy may have asked its origin, which has more than it has itself: how much shows where the
    /// page has the end of its list, and otherwise nobody can tell.
    fn is_new_enough(
        &self,
        consistency: Consistency,
        is_copy: bool,
        at_end: bool,
    ) -> Result<(), Violation> {
        let (Consistency::AtLeast(id), Some(held)) = (consistency, self.call.last) else {
            return Ok(());
        };
        let may_be_of_origin = is_copy && (!at_end || self.last >= id);
        match held >= id || may_be_of_origin {
            true => Ok(()),
            false => Err(self.wrong("min_id", "less was held than was asked for")),
        }
    }
}
