//! What a copy asks of the nodes that it is of, as any client does.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use super::of::CopyOf;
use crate::{
    base::{
        ids::{ClusterId, LogId},
        limits::LOG_PIECE_BYTES,
        planted::planted,
        secret::Secret,
        tenants::Tenants,
        timing::{COPY_ANSWER, COPY_STRONG},
    },
    io::cores,
    upstream::{Answer, AskError, Question, Upstream},
};

/// What a piece may have besides the longest entry.
const PIECE_OVERHEAD_BYTES: usize = LOG_PIECE_BYTES + (64 << 10);
/// An answer of which nothing but the head is of use is no longer than this.
const NOTHING_BYTES_MAX: usize = 64 << 10;
/// The longest part of a checkpoint.
const PART_BYTES_MAX: usize = 4 << 20;
/// What is repeated of an answer that is none, in characters.
const TEXT_CHARACTERS_MAX: usize = 300;

/// A piece of the log of an origin.
pub(super) struct Piece {
    /// Frames.
    pub(super) frames: Bytes,
    /// The last entry that the origin has applied.
    pub(super) applied: u64,
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
}

/// A part of the checkpoint that stands for purged entries.
pub(super) struct Part {
    /// The last of these entries.
    pub(super) index: u64,
    /// The length of the whole.
    pub(super) total: u64,
    pub(super) bytes: Bytes,
}

/// The nodes that a copy may ask. One is asked until it fails, then the next. Stays on its core.
pub struct Origins {
    /// Invariant: not empty.
    all: Vec<Upstream>,
    current: Cell<usize>,
    /// What names the tenants whose part is asked for, as further parameters.
    tenants: String,
    /// What is shown to them, where they ask for it.
    authorization: Option<String>,
}

impl Origins {
    /// The nodes of which something is a copy, which shows them the token that it was given.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn new(of: &CopyOf) -> Self {
        let upstream = |origin| Upstream::new(origin, of.caller.as_ref());
        let all: Vec<Upstream> = of.origins.iter().cloned().map(upstream).collect();
        assert!(!all.is_empty(), "a copy has an origin");
        let authorization = of.token.as_ref().map(Secret::authorization);
        Self { all, current: Cell::new(0), tenants: String::new(), authorization }
    }

    /// The same, asked for nothing but the part of these tenants, if they are said.
    #[must_use]
    pub fn of(self, tenants: Option<&Tenants>) -> Self {
        let tenants = tenants.into_iter().flat_map(Tenants::all);
        Self { tenants: tenants.map(|tenant| format!("&tenant={tenant}")).collect(), ..self }
    }

    /// What a name or UUID of a tenant stands for.
    pub(super) async fn tenant(&self, name: &str) -> Result<Uuid, String> {
        let answer = self.get(format!("/tenants/{name}"), NOTHING_BYTES_MAX, COPY_ANSWER).await?;
        if answer.status != 200 {
            return Err(refusal(&answer));
        }
        let tenant: Result<Tenant, _> = serde_json::from_slice(&answer.body);
        tenant.map(|tenant| tenant.tenant).map_err(|error| error.to_string())
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The one that is asked now.
    fn current(&self) -> &Upstream {
        self.all.get(self.current.get()).unwrap_or_else(|| unreachable!("one of them is current"))
    }

    /// Where that is.
    pub(super) fn address(&self) -> &str {
        self.current().address()
    }

    /// Goes on to the next.
    pub(super) fn pass_on(&self) {
        self.current.set((self.current.get() + 1) % self.all.len());
    }

    async fn get(&self, target: String, most: usize, limit: Duration) -> Result<Answer, String> {
        let mut question = Question::get(target, most, limit);
        if let Some(value) = &self.authorization {
            question.headers.push(("Authorization".to_owned(), value.clone().into_bytes()));
        }
        self.current().ask(&question).await.map_err(|error| error.to_string())
    }

    /// Entries from index `from` on, none longer than `longest` bytes; waits for one for so long. Says
    /// of which cluster they are, too.
    pub(super) async fn piece(
        &self,
        from: u64,
        longest: usize,
        block: Duration,
    ) -> Result<(ClusterId, Said), String> {
        let (block_s, tenants) = (block.as_secs_f64(), &self.tenants);
        let target = format!("/cluster/log?from={from}&block={block_s}{tenants}");
        let most = longest.saturating_add(PIECE_OVERHEAD_BYTES);
        let asked = cores::now();
        let answer = self.get(target, most, block + COPY_ANSWER).await?;
        let cluster = cluster(&answer)?;
        match (answer.status, purged(&answer)) {
            (200, _) => {
                let applied = number(&answer, "ChangeAgent-Log-Applied")?;
                let age = age(&answer, asked, block);
                Ok((cluster, Said::Piece(Piece { frames: answer.body, applied, age })))
            }
            (410, Some(purged)) => Ok((cluster, Said::Purged(purged))),
            _ => Err(refusal(&answer)),
        }
    }

    /// A part, from that byte on, of the checkpoint of the entry `index`, or of the newest.
    pub(super) async fn checkpoint(&self, index: Option<u64>, from: u64) -> Result<Part, String> {
        let index = index.map_or_else(String::new, |index| format!("&index={index}"));
        let target = format!("/cluster/checkpoint?from={from}{index}{}", self.tenants);
        let answer = self.get(target, PART_BYTES_MAX, COPY_ANSWER).await?;
        if answer.status != 200 {
            return Err(refusal(&answer));
        }
        let index = number(&answer, "ChangeAgent-Checkpoint")?;
        let total = number(&answer, "ChangeAgent-Checkpoint-Bytes")?;
        if answer.body.is_empty() && from < total {
            return Err("it gives nothing of its checkpoint".to_owned());
        }
        Ok(Part { index, total, bytes: answer.body })
    }

    /// The entry of `own` that must be applied to see all that is acknowledged, where entries up to
    /// `last` are held.
    pub(in crate::node) async fn read_index(&self, own: ClusterId, last: u64) -> Option<u64> {
        // Nothing of it is wanted but where it ends.
        let (from, tenants) = (last + 1, &self.tenants);
        let strength = if planted!(CopyReadsWeakly) { "local" } else { "strong" };
        let target = format!("/cluster/log?from={from}&to={last}&consistency={strength}{tenants}");
        for _ in 0..self.count() {
            let answer = self.get(target.clone(), NOTHING_BYTES_MAX, COPY_STRONG).await;
            if let Ok(answer) = answer
                && answer.status == 200
                && cluster(&answer) == Ok(own)
            {
                return answer.number("ChangeAgent-Log-Applied");
            }
            self.pass_on();
        }
        None
    }

    /// Hands a read on, as it came, to the first whose answer `is_good`.
    ///
    /// # Errors
    /// What the last one says.
    pub async fn hand_on_read(
        &self,
        question: &Question,
        is_good: impl Fn(&Answer) -> Result<(), String>,
    ) -> Result<Answer, String> {
        let mut last = String::new();
        for _ in 0..self.count() {
            let answer = self.current().ask(question).await.map_err(|error| error.to_string());
            match answer.and_then(|answer| is_good(&answer).map(|()| answer)) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
            self.pass_on();
        }
        Err(last)
    }

    /// Hands a request on, as it came, to the first that can be reached.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn hand_on(&self, question: &Question) -> Result<Answer, AskError> {
        let mut outcome = self.current().ask(question).await;
        for _ in 1..self.count() {
            let is_settled = !matches!(outcome, Err(AskError::NotSent(_)));
            if is_settled && !(outcome.is_err() && planted!(HandOnAgain)) {
                break;
            }
            self.pass_on();
            outcome = self.current().ask(question).await;
        }
        outcome
    }
}

/// How old what an answer gives may be, which was asked for at `asked`, with a wait of `block` at most.
fn age(answer: &Answer, asked: Instant, block: Duration) -> Option<Age> {
    let milliseconds = |header| answer.number(header).map(Duration::from_millis);
    let of_member = answer.number("ChangeAgent-Log-Leader").map(|_| Duration::ZERO);
    let age = milliseconds("ChangeAgent-Log-Age").or(of_member)?;
    let age = if planted!(IgnoreAgeOfOrigin) { Duration::ZERO } else { age };
    // How long the answer was on its way is not known; how long it waited is.
    let waited = milliseconds("ChangeAgent-Log-Waited").unwrap_or_default();
    let most = cores::elapsed(asked).min(block);
    Some(Age { moment: asked + waited.min(most), age })
}

fn number(answer: &Answer, header: &str) -> Result<u64, String> {
    answer.number(header).ok_or_else(|| format!("its answer has no {header}"))
}

fn cluster(answer: &Answer) -> Result<ClusterId, String> {
    let text = answer.header("ChangeAgent-Cluster");
    let id = text.and_then(|text| text.parse().ok());
    id.map(ClusterId).ok_or_else(|| "it is no ChangeAgent".to_owned())
}

/// What is read of a tenant.
#[derive(Deserialize)]
struct Tenant {
    tenant: Uuid,
}

/// What is read of a problem document.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    purged: Option<u64>,
    purged_term: Option<u64>,
}

/// The last entry that is purged, as the answer says.
fn purged(answer: &Answer) -> Option<LogId> {
    let problem: Problem = serde_json::from_slice(&answer.body).ok()?;
    Some(LogId { term: problem.purged_term?, index: problem.purged? })
}

fn refusal(answer: &Answer) -> String {
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    let detail = problem.map_or_else(String::new, |problem| format!(": {}", problem.detail));
    let detail: String = detail.chars().take(TEXT_CHARACTERS_MAX).collect();
    format!("it answers {}{detail}", answer.status)
}
