//! What an origin answers, as a copy takes it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    base::{
        ids::{ChangeId, ClusterId, LogId},
        planted::planted,
    },
    io::cores,
    upstream::Answer,
};

/// What is repeated of an answer that is none, in characters.
pub(super) const TEXT_CHARACTERS_MAX: usize = 300;

/// A piece of the log of an origin.
pub(super) struct Piece {
    /// Frames.
    pub(super) frames: Bytes,
    /// The last entry that the origin has applied.
    pub(super) applied: u64,
    /// The newest change of the origin, where it says that.
    pub(super) last: Option<ChangeId>,
    /// How old what the origin has may be. Nothing where it does not know that: it is a member that
    /// knows no leader.
    pub(super) age: Option<Age>,
}

/// At `moment` what an origin had was at most `age` old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    pub(super) moment: Instant,
    /// Zero where it is no copy itself.
    pub(super) age: Duration,
}

/// What an origin says of its log.
pub(super) enum Said {
    Piece(Piece),
    /// Entries up to this one are purged, and that is not before the one asked for.
    Purged(LogId),
    /// Nothing now, for this reason.
    Refused(String),
}

/// How an origin stands to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// That cannot be told: it is not reached, or no node is there.
    Unknown,
    /// It has the history of the copy up to where that is; whether beyond, as far as it says.
    Own { has_more: bool },
    /// The copy cannot go on from it.
    Elsewhere,
}

/// A part of the checkpoint that stands for purged entries.
pub(super) struct Part {
    /// The last of these entries.
    pub(super) index: u64,
    /// The length of the whole.
    pub(super) total: u64,
    pub(super) bytes: Bytes,
}

/// How old what an answer gives may be, which was asked for at `asked`, with a wait of `block` at most.
pub(super) fn age(answer: &Answer, asked: Instant, block: Duration) -> Option<Age> {
    let milliseconds = |header| answer.number(header).map(Duration::from_millis);
    let of_member = answer.number("ChangeAgent-Log-Leader").map(|_| Duration::ZERO);
    let age = milliseconds("ChangeAgent-Log-Age").or(of_member)?;
    let age = if planted!(IgnoreAgeOfOrigin) { Duration::ZERO } else { age };
    // How long the answer was on its way is not known; how long it waited is.
    let waited = milliseconds("ChangeAgent-Log-Waited").unwrap_or_default();
    let most = cores::elapsed(asked).min(block);
    Some(Age { moment: asked + waited.min(most), age })
}

pub(super) fn number(answer: &Answer, header: &str) -> Result<u64, String> {
    answer.number(header).ok_or_else(|| format!("its answer has no {header}"))
}

pub(super) fn cluster(answer: &Answer) -> Result<ClusterId, String> {
    let text = answer.header("ChangeAgent-Cluster");
    let id = text.and_then(|text| text.parse().ok());
    id.map(ClusterId).ok_or_else(|| "it is no ChangeAgent".to_owned())
}

/// What is read of a problem document.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    purged: Option<u64>,
    purged_term: Option<u64>,
}

/// The last entry that is purged, as the answer says.
pub(super) fn purged(answer: &Answer) -> Option<LogId> {
    let problem: Problem = serde_json::from_slice(&answer.body).ok()?;
    Some(LogId { term: problem.purged_term?, index: problem.purged? })
}

pub(super) fn refusal(answer: &Answer) -> String {
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    let detail = problem.map_or_else(String::new, |problem| format!(": {}", problem.detail));
    let detail: String = detail.chars().take(TEXT_CHARACTERS_MAX).collect();
    format!("it answers {}{detail}", answer.status)
}
