//! The part of a batch that concerns some tenants, for a copy of nothing else: what was accepted of
//! their changes, with the ids that these have among all.
//!
//! ```text
//! 24  u32  number of gaps
//! 28  u32  number of changes that replaced a version of their key, as far as that is shown
//! 32  gaps: u32 changes of this part before it, u32 changes of others up to its end   8 bytes each
//!  .  replaced: u32 number of the change in this part, u64 id of that version        12 bytes each
//!  .  commands, and what follows them in any batch
//! ```
//!
//! All that is in it is accepted: it was decided where the whole batch is. So its commands have neither
//! conditions nor idempotency keys, and it says itself what its changes replaced. Where the lists of a
//! tenant begin is taken as it stands, whatever that tenant is to keep.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::{
    Batch, Previous, Skips,
    command::{Action, ChangeSpan, Command},
    command_ref::ActionRef,
    encode::{put_head, put_span},
    gaps::Gap,
    layout::{
        CHANGE_BYTES, COMMAND_BYTES, GAP_BYTES, PART_HEADER_BYTES, REPLACED_BYTES, VERSION, kind,
        part_version,
    },
};
use crate::base::{ids::ChangeId, planted::planted};

/// What a part of a batch is made of.
pub trait Selection {
    /// Whether the changes of that tenant are in it.
    fn has_tenant(&self, tenant: Uuid) -> bool;

    /// What stands in it for a command that is no append, if anything does. It is carried out
    /// wherever the part is applied, so it must say what came of the command, not what was asked for.
    fn action(&self, action: &ActionRef<'_>) -> Option<Action>;
}

impl<B: AsRef<[u8]>> Batch<B> {
    /// The part of it that `selection` has, where `skips` says what was refused, and `previous` what
    /// its changes replaced. The part of a part is one, too.
    #[must_use]
    pub fn part(&self, skips: &Skips, previous: &Previous, selection: &impl Selection) -> Bytes {
        let mut part = Part::default();
        let ids = self.changes() - skips.refused() + self.passed();
        // The number of the next accepted change, and of its id.
        let mut accepted = (0..ids).filter_map(|id| match self.is_part() {
            true => self.change_with_id(id).map(|change| (change, id)),
            false => Some((skips.place(id), id)),
        });
        let (mut next, mut end) = (accepted.next(), 0);
        for command in self.commands() {
            end += command.changes;
            if !matches!(command.action, ActionRef::Append(_)) {
                if let Some(action) = selection.action(&command.action) {
                    part.command(&action.into());
                }
                continue;
            }
            while let Some((change, id)) = next.filter(|(change, _)| *change < end) {
                let tenant = self.change(change).tenant();
                if tenant.is_some_and(|tenant| selection.has_tenant(tenant)) {
                    let at = if planted!(NumberPartAnew) { part.spans.len() as u32 } else { id };
                    part.change(self.span(change), self.suffix(change), at, previous.get(id));
                }
                next = accepted.next();
            }
        }
        part.finish(self, ids)
    }
}

/// A part on its way.
#[derive(Default)]
struct Part {
    gaps: Vec<Gap>,
    /// Which of its changes replaced what.
    replaced: Vec<(u32, ChangeId)>,
    /// The heads of its commands, but for the last one if that appends.
    heads: Vec<u8>,
    arguments: Vec<u8>,
    spans: Vec<ChangeSpan>,
    suffixes: Vec<u8>,
    commands: u32,
    /// Changes that the last command appends.
    appended: u32,
    /// The version of a batch that its commands need, 0 before the first.
    version: u8,
}

impl Part {
    /// Adds a change of that suffix, erased or not, which has the `id`-th id of the batch.
    fn change(&mut self, span: ChangeSpan, suffix: &[u8], id: u32, replaced: ChangeId) {
        self.pass(id);
        if replaced > ChangeId::ZERO {
            self.replaced.push((self.spans.len() as u32, replaced));
        }
        self.suffixes.extend_from_slice(suffix);
        self.spans.push(ChangeSpan { end: self.suffixes.len() as u32, ..span });
        self.appended += 1;
    }

    /// Notes that all ids from the last change to before `id` went to others.
    fn pass(&mut self, id: u32) {
        let before = self.spans.len() as u32;
        let passed = id - before;
        if passed > self.gaps.last().map_or(0, |gap| gap.passed) {
            self.gaps.push(Gap { before, passed });
        }
    }

    fn command(&mut self, command: &Command) {
        self.end_append();
        self.version = self.version.max(command.action.version());
        put_head(&mut self.heads, &mut self.arguments, command);
        self.commands += 1;
    }

    fn end_append(&mut self) {
        if self.appended > 0 {
            self.heads.extend_from_slice(&[kind::APPEND, 0, 0, 0]);
            self.heads.extend_from_slice(&self.appended.to_le_bytes());
            self.heads.extend_from_slice(&[0; 4]);
            self.appended = 0;
            self.commands += 1;
        }
    }

    fn finish<B: AsRef<[u8]>>(mut self, whole: &Batch<B>, ids: u32) -> Bytes {
        self.end_append();
        self.pass(ids);
        assert_eq!(self.heads.len(), self.commands as usize * COMMAND_BYTES, "each has its head");
        let own = self.gaps.len() * GAP_BYTES + self.replaced.len() * REPLACED_BYTES;
        let tables = self.heads.len() + self.spans.len() * CHANGE_BYTES + self.arguments.len();
        let bytes = PART_HEADER_BYTES + own + tables + self.suffixes.len();
        let mut out = BytesMut::with_capacity(bytes);
        out.put_u8(part_version(self.version.max(VERSION)));
        out.put_bytes(0, 3);
        out.put_u32_le(self.commands);
        out.put_u32_le(self.spans.len() as u32);
        out.put_u32_le(self.arguments.len() as u32);
        out.put_u64_le(whole.at().0);
        out.put_u32_le(self.gaps.len() as u32);
        out.put_u32_le(self.replaced.len() as u32);
        for gap in &self.gaps {
            out.put_u32_le(gap.before);
            out.put_u32_le(gap.passed);
        }
        for (change, version) in &self.replaced {
            out.put_u32_le(*change);
            out.put_u64_le(version.0);
        }
        out.extend_from_slice(&self.heads);
        self.spans.iter().for_each(|span| put_span(&mut out, span, span.end));
        out.extend_from_slice(&self.arguments);
        out.extend_from_slice(&self.suffixes);
        assert_eq!(out.len(), bytes, "a part has the length of what is in it");
        out.freeze()
    }
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
