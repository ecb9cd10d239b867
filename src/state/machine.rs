//! The replicated state: a pure function of the committed batches, in order,
//! and so the same on every node.

use std::{collections::VecDeque, sync::Arc};

use super::{
    applied::Applied,
    index::Index,
    open::{Naming, Noted},
    position::Position,
    writer::Writer,
};
use crate::base::{
    batch::{Batch, NumberedBatch, Previous, Skips},
    ids::{ChangeId, Timestamp},
    quota::TenantQuota,
    retention::TenantRetention,
    tokens::Scope,
};

/// The state after some prefix of the log.
#[derive(Debug, Default)]
pub struct State {
    position: Position,
    index: Arc<Index>,
    /// What was noted of segments that have no index file yet. Invariant: they ascend; batches
    /// that are applied lie in the last one.
    noted: VecDeque<Noted>,
}

impl State {
    /// A state without tenants and collections at that position.
    #[must_use]
    pub fn at(position: Position) -> Self {
        let state = Self { position, ..Self::default() };
        state.index.begin(position.last);
        state
    }

    /// Says that the next batches lie in that segment of the log. They may never go back.
    pub fn begin_segment(&mut self, segment: u64) {
        if self.noted.back().is_some_and(|noted| noted.segment == segment) {
            return;
        }
        assert!(
            self.noted.back().is_none_or(|noted| noted.segment < segment),
            "segments are begun in order"
        );
        self.close_segment();
        let noted = Noted::new(segment, self.position);
        self.index.begin_segment(Arc::clone(&noted.tail));
        self.noted.push_back(noted);
    }

    /// Completes what is noted of the newest segment.
    fn close_segment(&mut self) {
        if let Some(newest) = self.noted.back_mut() {
            newest.position = self.position;
            newest.known = self.index.idempotency().len();
        }
    }

    /// Gives away what was noted of a segment, which no further batch lies in; nothing when no
    /// batch did. Those before are forgotten.
    pub fn take_noted(&mut self, segment: u64) -> Option<Noted> {
        if self.noted.back().is_some_and(|noted| noted.segment == segment) {
            self.close_segment();
        }
        while self.noted.front().is_some_and(|noted| noted.segment <= segment) {
            let noted = self.noted.pop_front();
            if noted.as_ref().is_some_and(|noted| noted.segment == segment) {
                return noted;
            }
        }
        None
    }

    /// Takes over what a name stands for.
    pub(super) fn name(&self, naming: Naming) -> Result<(), &'static str> {
        let (catalog, tokens) = (&self.index.catalog, &self.index.tokens);
        match naming {
            Naming::Tenant(id, name) => catalog.add_tenant(id, &name),
            Naming::Collection(id, tenant, name) => {
                let tenant =
                    catalog.tenant(tenant).ok_or("a collection of a tenant that is none")?;
                catalog.add_collection(id, &tenant, &name);
            }
            Naming::NoTenant(id) => {
                tokens.remove_within(Scope::Tenant(id));
                drop(catalog.remove_tenant(id));
            }
            Naming::NoCollection(id) => {
                if let Some(collection) = catalog.remove_collection(id) {
                    tokens.remove_within(collection.scope());
                }
            }
            Naming::Retention(id, bytes) => {
                catalog.set_retention(id, TenantRetention::from_bytes(bytes));
            }
            Naming::Begins(id, first) => catalog.begin_at(id, first),
            Naming::Token(token) if tokens.get(token.id).is_some() => {
                return Err("a token that is there already");
            }
            Naming::Token(token) => tokens.add(*token),
            Naming::NoToken(id) => {
                tokens.remove(id);
            }
            Naming::Anonymous(rights) => tokens.set_anonymous(rights),
            Naming::Quota(id, bytes) => catalog.set_quota(id, TenantQuota::from_bytes(bytes)),
        }
        Ok(())
    }

    /// Takes over how far the list goes.
    pub(super) fn go_on_at(&mut self, position: Position) {
        self.position = position;
        self.index.begin(position.last);
    }

    /// Decides the commands of `batch` in order, gives accepted changes their
    /// ids and brings the index up to date.
    ///
    /// # Panics
    /// If the batch is older than one applied before: whoever stamps batches
    /// must not go back, and readers rely on it.
    pub fn apply<B: AsRef<[u8]>>(&mut self, batch: Batch<B>) -> Applied<B> {
        assert!(
            batch.at() >= self.position.last_at,
            "a batch stamped {} follows one stamped {}",
            batch.at().0,
            self.position.last_at.0
        );
        let first = self.position.last.next();
        self.position.last_at = batch.at();
        if batch.is_plain() {
            self.position.last.0 += u64::from(batch.changes());
            self.index.begin(self.position.last);
            let batch = NumberedBatch {
                first,
                batch,
                skips: Skips::default(),
                previous: Previous::default(),
            };
            return Applied { batch, decisions: None, removed: Vec::new() };
        }
        let ids = u64::from(batch.changes()) + u64::from(batch.passed());
        self.index.begin(ChangeId(self.position.last.0 + ids));
        if self.noted.is_empty() {
            // Nobody says where batches lie.
            self.begin_segment(0);
        }
        let Some(noted) = self.noted.back_mut() else { unreachable!("one was begun") };
        let mut writer = Writer {
            noted,
            index: &self.index,
            at: batch.at(),
            remembers_missing: batch.remembers_missing(),
            tells_previous: batch.tells_previous(),
            is_part: batch.is_part(),
            first,
            appended: 0,
            replaced: Vec::new(),
            last: self.position.last,
            tenant: None,
            collection: None,
            removed: Vec::new(),
        };
        let (mut decisions, mut accepted, mut at) = (Vec::new(), Vec::new(), 0);
        for command in batch.commands() {
            let changes = at..at + command.changes;
            let changes = changes.map(|n| (batch.change(n), batch.passed_before(n)));
            let decision = writer.decide(&command, changes);
            at += command.changes;
            let is_accepted = decision.result.is_ok() && !decision.replayed;
            accepted.push((command.changes, is_accepted));
            decisions.push(decision);
        }
        let Writer { mut last, appended, removed, replaced, .. } = writer;
        if batch.is_part() {
            last = ChangeId(self.position.last.0 + u64::from(appended + batch.passed()));
        }
        assert!(last >= self.position.last, "ids are given once, in order");
        self.position.last = last;
        self.index.begin(last);
        let previous = match batch.is_part() {
            true => batch.replaced(),
            false => Previous::of(replaced),
        };
        let batch = NumberedBatch { first, batch, skips: Skips::of(accepted), previous };
        assert_eq!(batch.last(), last, "each accepted change has got one id");
        Applied { batch, decisions: Some(decisions), removed }
    }

    /// How far the list goes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The newest id given; [`ChangeId::ZERO`] before the first change.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.position.last
    }

    /// The timestamp of the newest change.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.position.last_at
    }

    /// What readers find changes by.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
