//! The rounds of all threads and servers, added up.

use anyhow::Result;

use super::{AtTarget, Round, Waited};
use crate::measure::results::{Findings, Part};
use crate::measure::span::Span;
use crate::measure::tally::Tally;

/// Rounds added up over threads, or over servers too: a round lasts until the last arrival on
/// any of them.
struct Sum {
    rounds: Vec<Round>,
    arrivals: Tally,
}

/// The figures of a run.
pub(super) fn findings(
    span: &Span,
    parts: Vec<Waited>,
    urls: &[String],
    appends: Tally,
) -> Result<Findings> {
    let count = |part: &Waited| part.targets.iter().map(|target| target.rounds.len()).min();
    let rounds = parts.iter().filter_map(count).min().unwrap_or_default();
    let early: u64 = parts.iter().map(|part| part.early).sum();
    let mut all = Sum::new(rounds)?;
    let mut by_target: Vec<Sum> = urls.iter().map(|_| Sum::new(rounds)).collect::<Result<_>>()?;
    for part in parts {
        all.arrivals.errors.merge(&part.errors);
        for (sum, target) in by_target.iter_mut().zip(part.targets) {
            sum.add(target)?;
        }
    }
    let mut findings = Findings::new(vec![part(span, "append", appends)?]);
    let is_single = by_target.len() == 1;
    let mut parts_by_target = Vec::new();
    for (url, sum) in urls.iter().zip(by_target) {
        all.add_rounds(&sum.rounds);
        if is_single {
            all.arrivals.merge(sum.arrivals)?;
            continue;
        }
        findings = sum.count(findings, &format!(" at {url}"));
        parts_by_target.push(part(span, &format!("last arrival at {url}"), sum.last(span)?)?);
        all.arrivals.merge(sum.arrivals.clone())?;
        parts_by_target.push(part(span, &format!("arrival at {url}"), sum.arrivals)?);
    }
    findings = all.count(findings, "").count("rounds", rounds).count("early", early);
    findings.passed = all.missing() == 0;
    let last = all.last(span)?;
    findings.parts.push(part(span, "arrival", all.arrivals)?);
    findings.parts.push(part(span, "last arrival", last)?);
    findings.parts.append(&mut parts_by_target);
    Ok(findings)
}

fn part(span: &Span, name: &str, tally: Tally) -> Result<Part> {
    Part::new(name, [tally], span.measure.elapsed(), span.interval)
}

impl Sum {
    fn new(rounds: usize) -> Result<Self> {
        Ok(Self { rounds: vec![Round::default(); rounds], arrivals: Tally::new()? })
    }

    fn add(&mut self, target: AtTarget) -> Result<()> {
        self.add_rounds(&target.rounds);
        self.arrivals.merge(target.arrivals)
    }

    fn add_rounds(&mut self, rounds: &[Round]) {
        for (sum, round) in self.rounds.iter_mut().zip(rounds) {
            sum.waiting += round.waiting;
            sum.arrived += round.arrived;
            sum.last = sum.last.max(round.last);
            sum.posted = sum.posted.or(round.posted);
        }
    }

    fn missing(&self) -> u64 {
        self.rounds.iter().map(|round| round.waiting.saturating_sub(round.arrived)).sum()
    }

    fn count(&self, findings: Findings, suffix: &str) -> Findings {
        let waiting = self.rounds.iter().map(|round| round.waiting).min().unwrap_or_default();
        findings
            .count(&format!("waiting_min{suffix}"), waiting)
            .count(&format!("missing{suffix}"), self.missing())
    }

    /// The last arrivals of all rounds.
    fn last(&self, span: &Span) -> Result<Tally> {
        let mut tally = Tally::new()?;
        for round in &self.rounds {
            if let Some(posted) = round.posted.filter(|_| round.arrived > 0) {
                tally.success(span, posted, posted + round.last, 0, 0);
            }
        }
        Ok(tally)
    }
}
