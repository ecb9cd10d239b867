//! What a copy asks of the nodes that it is of, as any client does.

use std::{cell::Cell, io, ops::ControlFlow, time::Duration};

use serde::Deserialize;
use uuid::Uuid;

use super::{
    frames::Frames,
    of::CopyOf,
    said::{Part, Piece, Said, Stands, age, cluster, number, purged, refusal},
};
use crate::{
    base::{
        ids::{ChangeId, ClusterId, LogId},
        limits::LOG_PIECE_BYTES,
        planted::planted,
        secret::Secret,
        tenants::Tenants,
        timing::{COPY_ANSWER, COPY_LOOK, COPY_STRONG},
    },
    io::cores,
    upstream::{Answer, AskError, Opened, Question, Upstream},
};

/// What a piece may have besides the longest entry.
const PIECE_OVERHEAD_BYTES: usize = LOG_PIECE_BYTES + (64 << 10);
/// An answer of which nothing but the head is of use is no longer than this.
const NOTHING_BYTES_MAX: usize = 64 << 10;
/// The longest part of a checkpoint.
const PART_BYTES_MAX: usize = 4 << 20;
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

    fn origin(&self, number: usize) -> &Upstream {
        self.all.get(number).unwrap_or_else(|| unreachable!("it is the number of one of them"))
    }

    /// The number of the one that is asked now.
    pub(super) fn current(&self) -> usize {
        self.current.get()
    }

    /// The numbers of the others.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> {
        let current = self.current();
        (0..self.count()).filter(move |number| *number != current)
    }

    /// Where the current one is.
    pub(super) fn address(&self) -> &str {
        self.address_of(self.current())
    }

    /// Where the one of that number is.
    pub(super) fn address_of(&self, number: usize) -> &str {
        self.origin(number).address()
    }

    /// Goes on to the next.
    pub(super) fn pass_on(&self) {
        self.leave(self.current());
    }

    /// Goes on from the one of that number to the next, unless another is the current one by now.
    fn leave(&self, number: usize) {
        if self.current() == number {
            self.current.set((number + 1) % self.count());
        }
    }

    async fn get(&self, target: String, most: usize, limit: Duration) -> Result<Answer, String> {
        self.get_of(self.current(), target, most, limit).await
    }

    /// A question of this node's own.
    fn question(&self, target: String, most: usize, limit: Duration) -> Question {
        let mut question = Question::get(target, most, limit);
        if let Some(value) = &self.authorization {
            question.headers.push(("Authorization".to_owned(), value.clone().into_bytes()));
        }
        question
    }

    async fn get_of(
        &self,
        number: usize,
        target: String,
        most: usize,
        limit: Duration,
    ) -> Result<Answer, String> {
        let question = self.question(target, most, limit);
        self.origin(number).ask(&question).await.map_err(|error| error.to_string())
    }

    /// Has each asked once, from the current one on, until `judge` makes something of what it says. Those
    /// that did not do are left, for others that ask meanwhile, too.
    async fn first<A, T>(
        &self,
        ask: impl AsyncFn(&Upstream) -> Result<A, AskError>,
        mut judge: impl FnMut(Result<A, AskError>) -> ControlFlow<T>,
    ) -> Option<T> {
        let begin = self.current();
        for number in (begin..self.count()).chain(0..begin) {
            let outcome = ask(self.origin(number)).await;
            if let ControlFlow::Break(found) = judge(outcome) {
                return Some(found);
            }
            self.leave(number);
        }
        None
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
                let last = answer.number("ChangeAgent-Log-Last").map(ChangeId);
                Ok((cluster, Said::Piece(Piece { frames: answer.body, applied, last, age })))
            }
            (410, Some(purged)) => Ok((cluster, Said::Purged(purged))),
            _ => Ok((cluster, Said::Refused(refusal(&answer)))),
        }
    }

    /// How the one of that number stands to a copy that has the history `own` up to `last`, where no
    /// entry is longer than `longest` bytes.
    pub(super) async fn look(
        &self,
        number: usize,
        (own, last): (ClusterId, Option<LogId>),
        longest: usize,
    ) -> Stands {
        let (end, tenants) = (last.map_or(0, |last| last.index), &self.tenants);
        let target = format!("/cluster/log?from={}&to={end}{tenants}", end + 1);
        let Ok(answer) = self.get_of(number, target, NOTHING_BYTES_MAX, COPY_LOOK).await else {
            return Stands::Unknown;
        };
        match (cluster(&answer), answer.status) {
            (Err(_), _) => return Stands::Unknown,
            (Ok(found), 200 | 410) if found != own => return Stands::Elsewhere,
            (Ok(found), _) if found != own => {
                return self.look_at_first(number, own, longest).await;
            }
            (Ok(_), 410) => return Stands::Elsewhere,
            (Ok(_), 200) => {}
            (Ok(_), _) => return Stands::Own { has_more: false },
        }
        let has_more = answer.number("ChangeAgent-Log-Applied").is_some_and(|it| it > end);
        let Some(last) = last else { return Stands::Own { has_more } };
        // It may be another there.
        let target = format!("/cluster/log?from={end}&to={end}{tenants}");
        let most = longest.saturating_add(PIECE_OVERHEAD_BYTES);
        let Ok(answer) = self.get_of(number, target, most, COPY_LOOK).await else {
            return Stands::Unknown;
        };
        let found = match answer.status {
            200 => Frames::read(answer.body, end).and_then(|frames| frames.ids.first().copied()),
            _ => purged(&answer),
        };
        match found {
            Some(found) if found != last => Stands::Elsewhere,
            _ => Stands::Own { has_more },
        }
    }

    /// The same of one that gives nothing behind `last` and says that it has another history than `own`:
    /// that may be shorter, and is one only where it has any entries.
    async fn look_at_first(&self, number: usize, own: ClusterId, longest: usize) -> Stands {
        let target = format!("/cluster/log?from=0&to=0{}", self.tenants);
        let most = longest.saturating_add(PIECE_OVERHEAD_BYTES);
        let answer = self.get_of(number, target, most, COPY_LOOK).await;
        match answer.as_ref().map(|answer| (cluster(answer), answer.status)) {
            Ok((Ok(found), 200 | 410)) if found != own => Stands::Elsewhere,
            _ => Stands::Unknown,
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
        let question = self.question(target, NOTHING_BYTES_MAX, COPY_STRONG);
        let judge = |outcome: Result<Answer, AskError>| match outcome {
            Ok(answer) if answer.status == 200 && cluster(&answer) == Ok(own) => {
                ControlFlow::Break(answer.number("ChangeAgent-Log-Applied"))
            }
            _ => ControlFlow::Continue(()),
        };
        self.first(async |origin| origin.ask(&question).await, judge).await.flatten()
    }

    /// Hands a read on, as it came, to the first whose answer `is_good`. As its body comes, `hold` is told how many
    /// bytes of memory it takes, and may refuse them: then no other is asked.
    ///
    /// # Errors
    /// What the last one says.
    pub async fn hand_on_read(
        &self,
        question: &Question,
        hold: &dyn Fn(usize) -> io::Result<()>,
        is_good: impl Fn(&Answer) -> Result<(), String>,
    ) -> Result<Answer, String> {
        let (mut last, is_full) = (String::new(), Cell::new(false));
        let hold = |bytes: usize| hold(bytes).inspect_err(|_| is_full.set(true));
        let judge = |outcome: Result<Answer, AskError>| {
            let answer = outcome.map_err(|error| error.to_string());
            match answer.and_then(|answer| is_good(&answer).map(|()| answer)) {
                Err(error) if !is_full.get() => {
                    last = error;
                    ControlFlow::Continue(())
                }
                // The answer of another would have no more room.
                outcome => ControlFlow::Break(outcome),
            }
        };
        let ask = async |origin: &Upstream| origin.ask_holding(question, &hold).await;
        self.first(ask, judge).await.unwrap_or(Err(last))
    }

    /// The same with what may have no end: where the head of the answer says so to `goes_on`, its body is taken
    /// as it comes.
    ///
    /// # Errors
    /// What the last one says.
    pub async fn hand_on_stream(
        &self,
        question: &Question,
        goes_on: impl Fn(&Answer) -> bool,
        is_good: impl Fn(&Answer) -> Result<(), String>,
    ) -> Result<Opened, String> {
        let mut last = String::new();
        let judge = |outcome: Result<Opened, AskError>| {
            let opened = outcome.map_err(|error| error.to_string());
            match opened.and_then(|opened| is_good(opened.head()).map(|()| opened)) {
                Ok(opened) => ControlFlow::Break(opened),
                Err(error) => {
                    last = error;
                    ControlFlow::Continue(())
                }
            }
        };
        let found = self.first(async |origin| origin.open(question, &goes_on).await, judge).await;
        found.ok_or(last)
    }

    /// Hands a write on, as it came, to the first that can be reached and takes it: the answer of one that says, as
    /// far as `is_refusal` knows, that the write did not happen for now is given where no other did
    /// better. As the body of an answer comes, `hold` is told how many bytes of memory it takes, and may refuse
    /// them: what came of the write is not known then.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn hand_on(
        &self,
        question: &Question,
        hold: &dyn Fn(usize) -> io::Result<()>,
        is_refusal: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, AskError> {
        let (mut refused, mut failed) = (None, AskError::NotSent(String::new()));
        let judge = |outcome: Result<Answer, AskError>| match outcome {
            Ok(answer) if is_refusal(&answer) => {
                // One that may take it later says more than one that never will.
                if refused.as_ref().is_none_or(|before: &Answer| before.status != 503) {
                    refused = Some(answer);
                }
                ControlFlow::Continue(())
            }
            Err(error) if matches!(error, AskError::NotSent(_)) || planted!(HandOnAgain) => {
                failed = error;
                ControlFlow::Continue(())
            }
            outcome => ControlFlow::Break(outcome),
        };
        let ask = async |origin: &Upstream| origin.ask_holding(question, hold).await;
        match self.first(ask, judge).await {
            Some(outcome) => outcome,
            None => refused.ok_or(failed),
        }
    }
}

/// What is read of a tenant.
#[derive(Deserialize)]
struct Tenant {
    tenant: Uuid,
}

#[cfg(test)]
#[path = "origins_tests.rs"]
mod tests;
