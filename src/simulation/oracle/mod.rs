//! Decides whether what clients were told could have come from one list that only
//! grows, on one machine that never fails. Pure: it takes a [`history`](super::history)
//! and knows nothing of how that came about.
//!
//! All that clients saw of the list is put together first ([`truth`]); whoever saw
//! something else there is wrong. As the list tells the order in which writes took
//! effect, it is decided without a search whether each operation has its place in that
//! order ([`order`]).

mod ages;
mod expiries;
mod histories;
mod keys;
mod names;
mod nodes;
mod order;
mod pages;
mod previous;
#[cfg(test)]
mod reading_tests;
mod redactions;
mod retention;
#[cfg(test)]
mod retention_tests;
mod states;
#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thing_tests;
mod truth;
mod writes;

use std::{fmt, time::Duration};

use super::history::{Call, Numbered};
use crate::base::ids::NodeId;
pub use ages::Roots;
pub use truth::Truth;

/// What the nodes of a run are set to, as far as it shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// History may be purged as long as so many changes remain; none is without.
    pub retained_min: Option<u64>,
    /// Changes of keys say which version they replaced.
    pub tells_previous: bool,
    /// Nodes from this number on are copies.
    pub first_copy: Option<NodeId>,
}

impl Settings {
    /// Whether a node is a copy. It hands writes on, and may lie behind what comes of them.
    fn is_copy(self, node: NodeId) -> bool {
        self.first_copy.is_some_and(|first| node >= first)
    }
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
    /// Times that a state was held which was followed.
    pub states: u64,
    /// Answers that something is not there any more.
    pub ends: u64,
    pub purged: u64,
    /// Keys whose time to live was over.
    pub expired: u64,
    /// Answers of copies that told how old they are.
    pub ages: u64,
    /// Somebody saw every change.
    pub is_whole: bool,
}

/// Checks all of a history.
pub fn check(history: &[Call], settings: Settings) -> Result<Found, Violation> {
    histories::is_one(history)?;
    let truth = Truth::of(history)?;
    let is_whole = truth.is_whole();
    if !is_whole && settings.retained_min.is_none() {
        return Err(violation("dense ids", "there are ids that nobody was ever shown"));
    }
    let mut found = Found { changes: truth.last(), is_whole, ..Found::default() };
    nothing_odd(history)?;
    writes::check(history, &truth, &mut found)?;
    pages::check(history, &truth, settings, &mut found)?;
    nodes::check(history, &truth, settings)?;
    names::check(history, &truth)?;
    redactions::check(history, settings)?;
    // Where each node purges by itself, one may hold more than another.
    if settings.retained_min.is_none() {
        retention::check(history)?;
    }
    // What was purged before anybody read it may be what an answer rests on.
    if is_whole {
        expiries::check(&truth, &mut found)?;
        keys::check(history, &truth)?;
        states::check(history, &truth, &mut found)?;
        if settings.tells_previous {
            previous::check(&truth)?;
        }
        order::check(history, &truth, &mut found)?;
    }
    Ok(found)
}

/// Checks all of what happened while an origin was given another history.
pub fn check_each(history: &[Call], settings: Settings) -> Result<Vec<Found>, Violation> {
    histories::check_each(history, settings)
}

/// Checks what copies told of how old they are, where each moment has its time in `times`. Says how
/// often they did.
pub fn check_ages(history: &[Call], times: &[Duration], roots: &Roots) -> Result<u64, Violation> {
    ages::check(history, times, roots)
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
