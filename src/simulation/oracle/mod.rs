//! Decides whether what clients were told could have come from one list that only
//! grows, on one machine that never fails. Pure: it takes a [`history`](super::history)
//! and knows nothing of how that came about.
//!
//! All that clients saw of the list is put together first ([`truth`]); whoever saw
//! something else there is wrong. As the list tells the order in which writes took
//! effect, it is decided without a search whether each operation has its place in that
//! order ([`order`]).

mod expiries;
mod keys;
mod names;
mod nodes;
mod order;
mod pages;
mod previous;
mod redactions;
mod retention;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thing_tests;
mod truth;
mod writes;

use std::fmt;

use super::history::{Call, Numbered};
pub use truth::Truth;

/// What the nodes of a run are set to, as far as it shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// History may be purged as long as so many changes remain; none is without.
    pub retained_min: Option<u64>,
    /// Changes of keys say which version they replaced.
    pub tells_previous: bool,
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule it breaks.
    pub rule: &'static str,
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What was found, for whoever wants to know whether a run was worth anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub changes: u64,
    pub acknowledged: u64,
    pub unknown: u64,
    pub pages: u64,
    pub strong: u64,
    pub keys: u64,
    /// Answers that something is not there any more.
    pub ends: u64,
    pub purged: u64,
    /// Keys whose time to live was over.
    pub expired: u64,
    /// Somebody saw every change.
    pub is_whole: bool,
}

/// Checks all of a history.
pub fn check(history: &[Call], settings: Settings) -> Result<Found, Violation> {
    let truth = Truth::of(history)?;
    let is_whole = truth.is_whole();
    if !is_whole && settings.retained_min.is_none() {
        return Err(violation("dense ids", "there are ids that nobody was ever shown"));
    }
    let mut found = Found { changes: truth.last(), is_whole, ..Found::default() };
    nothing_odd(history)?;
    writes::check(history, &truth, &mut found)?;
    pages::check(history, &truth, settings, &mut found)?;
    nodes::check(history, &truth)?;
    names::check(history, &truth)?;
    redactions::check(history)?;
    // Where each node purges by itself, one may hold more than another.
    if settings.retained_min.is_none() {
        retention::check(history)?;
    }
    // What was purged before anybody read it may be what an answer rests on.
    if is_whole {
        expiries::check(&truth, &mut found)?;
        keys::check(history, &truth)?;
        if settings.tells_previous {
            previous::check(&truth)?;
        }
        order::check(history, &truth, &mut found)?;
    }
    Ok(found)
}

/// Checks the numbers that nodes told.
pub fn check_numbers(numbered: &[Numbered]) -> Result<(), Violation> {
    nodes::check_numbers(numbered)
}

fn nothing_odd(history: &[Call]) -> Result<(), Violation> {
    use super::history::Told;
    for call in history {
        if let Told::Odd(text) = &call.told {
            return Err(violation("answers", format!("{text}: {call:?}")));
        }
    }
    Ok(())
}

fn violation(rule: &'static str, text: impl Into<String>) -> Violation {
    Violation { rule, text: text.into() }
}
