//! Proves that a run is stored as it was acknowledged. The list is read back from the newest id
//! before the run, and each change compared: acknowledged ones stand at their ids, byte for byte;
//! those without an acknowledgement may be there once or not at all; ids have no gap and time
//! does not go back. The comparing part is pure and is fed pages.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::answers::page::{self, Change};
use crate::http::control::Control;
use crate::load::payload::{Origin, Payload};
use crate::measure::verification::{Verification, Violation};

/// Changes in one page that is read back.
const PAGE_CHANGES_MAX: u32 = 10_000;

/// The changes of one request: consecutive from `first`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) first: Origin,
    pub(crate) count: u16,
}

impl Sent {
    fn origins(self) -> impl Iterator<Item = Origin> {
        let worker = self.first.worker;
        (self.first.sequence..)
            .take(usize::from(self.count))
            .map(move |sequence| Origin { worker, sequence })
    }
}

/// A request whose changes were acknowledged under consecutive ids: 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    first_id: u64,
    sequence: u32,
    worker: u16,
    count: u16,
}

impl Acknowledged {
    /// The changes of `sent` got the ids from `first_id` on.
    pub(crate) fn new(first_id: u64, sent: Sent) -> Self {
        let Origin { worker, sequence } = sent.first;
        Self { first_id, sequence, worker, count: sent.count }
    }
}

/// All that a run knows of what it sent.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Requests whose outcome is not known: an error, a time-out, a broken connection.
    pub(crate) unknown: Vec<Sent>,
    /// How many changes each worker has sent.
    pub(crate) sent: Vec<(u16, u32)>,
}

impl Ledger {
    /// Adds what another thread knows.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.acknowledged.append(&mut other.acknowledged);
        self.unknown.append(&mut other.unknown);
        self.sent.append(&mut other.sent);
    }
}

/// Where the next page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) last: u64,
    pub(crate) at_end: bool,
}

/// Reads back everything behind `base` and compares. A server that is just starting again after a
/// crash is waited for.
pub(crate) fn verify(
    control: &mut Control,
    payload: &Payload,
    ledger: Ledger,
    base: u64,
) -> Result<Verification> {
    let newest = control.newest_when_up("/changes")?;
    let mut verifier = Verifier::new(payload, ledger, base);
    let mut since = base;
    while since < newest {
        let path = format!("/changes?since={since}&limit={PAGE_CHANGES_MAX}");
        let position = verifier.page(control.get(&path)?).with_context(|| format!("GET {path}"))?;
        if position.at_end || position.last <= since {
            break;
        }
        since = position.last;
    }
    Ok(verifier.finish())
}

/// Compares pages, fed in order, with a ledger.
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    payload: &'a Payload,
    /// By id.
    acknowledged: Vec<Acknowledged>,
    /// Index of the request, and of the change within it, that is expected next.
    expected: (usize, u16),
    /// Whether each change of unknown outcome has been seen.
    unknown: HashMap<Origin, bool>,
    sent: HashMap<u16, u32>,
    id: u64,
    ts: u64,
    scratch: Vec<u8>,
    result: Verification,
}

impl<'a> Verifier<'a> {
    /// A verifier of the changes behind `base`.
    pub(crate) fn new(payload: &'a Payload, ledger: Ledger, base: u64) -> Self {
        let Ledger { mut acknowledged, unknown, sent } = ledger;
        acknowledged.sort_unstable_by_key(|request| request.first_id);
        let unknown: HashMap<Origin, bool> =
            unknown.into_iter().flat_map(Sent::origins).map(|origin| (origin, false)).collect();
        let mut verifier = Self {
            payload,
            expected: (0, 0),
            sent: sent.into_iter().collect(),
            id: base,
            ts: 0,
            scratch: Vec::new(),
            result: Verification {
                acknowledged: acknowledged.iter().map(|request| u64::from(request.count)).sum(),
                unknown: unknown.len() as u64,
                ..Verification::default()
            },
            acknowledged,
            unknown,
        };
        verifier.check_acknowledgements(base);
        verifier
    }

    /// Ids may not be acknowledged twice, nor belong to the time before the run.
    fn check_acknowledgements(&mut self, base: u64) {
        let mut free = base + 1;
        for index in 0..self.acknowledged.len() {
            let request = self.acknowledged[index];
            if request.first_id < free {
                let id = request.first_id;
                self.violate(Violation::AcknowledgedTwice, || {
                    format!("id {id} was acknowledged to two requests, or was taken before the run")
                });
            }
            free = free.max(request.first_id.saturating_add(u64::from(request.count)));
        }
    }

    /// Compares one page.
    pub(crate) fn page(&mut self, body: &[u8]) -> Result<Position> {
        let page = page::parse(body).context("not a page of changes")?;
        for change in &page.changes {
            self.change(change);
        }
        Ok(Position { last: page.last, at_end: page.at_end })
    }

    /// The result, when all pages were fed.
    pub(crate) fn finish(mut self) -> Verification {
        while let Some((id, origin)) = self.next_expected() {
            self.lose(id, origin);
        }
        self.result.conclude()
    }

    fn change(&mut self, change: &Change<'_>) {
        let (id, ts) = (change.id, change.ts);
        self.result.changes_read += 1;
        let before = std::mem::replace(&mut self.id, id);
        if before.checked_add(1) != Some(id) {
            self.violate(Violation::IdGap, || format!("id {id} follows id {before}"));
        }
        if ts < self.ts {
            let before = self.ts;
            self.violate(Violation::TimeWentBack, || {
                format!("id {id} has _ts {ts}, the change before it {before}")
            });
        }
        self.ts = ts;
        let data = change.data();
        // What was acknowledged under ids that the list has passed over is lost.
        while let Some((expected_id, origin)) = self.next_expected() {
            match expected_id.cmp(&id) {
                std::cmp::Ordering::Less => self.lose(expected_id, origin),
                std::cmp::Ordering::Equal => {
                    self.advance();
                    return self.check_acknowledged(id, origin, data);
                }
                std::cmp::Ordering::Greater => break,
            }
        }
        self.check_unexpected(id, data);
    }

    fn check_acknowledged(&mut self, id: u64, origin: Origin, data: &[u8]) {
        if self.payload.matches(data, origin, &mut self.scratch) {
            self.result.found += 1;
            return;
        }
        match self.payload.origin(data) {
            Some(other) if other != origin => self.violate(Violation::Misplaced, || {
                format!("id {id} was acknowledged to {origin:?}, but holds {other:?}")
            }),
            _ => self.violate(Violation::Altered, || {
                format!("id {id} does not hold what {origin:?} sent")
            }),
        }
    }

    /// A change at an id that was acknowledged to nobody here.
    fn check_unexpected(&mut self, id: u64, data: &[u8]) {
        let Some(origin) = self.payload.origin(data) else {
            self.result.foreign += 1;
            return;
        };
        match self.unknown.get_mut(&origin) {
            Some(seen) if !*seen => {
                *seen = true;
                self.result.unknown_found += 1;
                if !self.payload.matches(data, origin, &mut self.scratch) {
                    self.violate(Violation::Altered, || {
                        format!("id {id} does not hold what {origin:?} sent")
                    });
                }
            }
            None if self.sent.get(&origin.worker).is_none_or(|sent| origin.sequence >= *sent) => {
                self.violate(Violation::Invented, || format!("id {id}: {origin:?} was never sent"));
            }
            // Sent and not unknown means acknowledged, under an id of its own.
            Some(_) | None => self.violate(Violation::Duplicated, || {
                format!("id {id}: {origin:?} is in the list more than once")
            }),
        }
    }

    fn next_expected(&self) -> Option<(u64, Origin)> {
        let (index, offset) = self.expected;
        let request = self.acknowledged.get(index)?;
        let id = request.first_id.saturating_add(u64::from(offset));
        let sequence = request.sequence.wrapping_add(u32::from(offset));
        Some((id, Origin { worker: request.worker, sequence }))
    }

    fn advance(&mut self) {
        let (index, offset) = self.expected;
        let count = self.acknowledged.get(index).map_or(0, |request| request.count);
        self.expected = if offset + 1 < count { (index, offset + 1) } else { (index + 1, 0) };
    }

    fn lose(&mut self, id: u64, origin: Origin) {
        self.advance();
        self.violate(Violation::Lost, || {
            format!("id {id}, acknowledged to {origin:?}, is not there")
        });
    }

    fn violate(&mut self, violation: Violation, describe: impl FnOnce() -> String) {
        self.result.violate(violation, describe);
    }
}

#[cfg(test)]
mod tests;
