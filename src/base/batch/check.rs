//! Whether bytes are a batch.

use super::{
    Batch, BatchError,
    change_ref::fits,
    command::flag,
    command_ref::{ActionRef, CommandRef},
    read::u32_at,
};

impl<B: AsRef<[u8]>> Batch<B> {
    /// Checks that the tables fit, and each change its members.
    pub(super) fn check(&self) -> Result<(), BatchError> {
        let raw = self.bytes.as_ref();
        let tables = self.commands as u64 * self.command_bytes() as u64
            + self.changes as u64 * self.change_bytes() as u64
            + u64::from(self.argument_bytes);
        if (raw.len() as u64) < self.header_bytes() as u64 + self.part_bytes() + tables {
            return Err(BatchError::Damaged("shorter than its tables"));
        }
        self.check_part()?;
        let (mut changes, mut arguments) = (0u64, 0u64);
        for n in 0..self.commands {
            let at = self.commands_at() + n as usize * self.command_bytes();
            changes += u64::from(u32_at(raw, at + 4));
            if self.version > 1 {
                arguments += u64::from(u32_at(raw, at + 8));
            }
        }
        if changes != u64::from(self.changes) {
            return Err(BatchError::Damaged("commands and changes differ in number"));
        }
        if arguments != u64::from(self.argument_bytes) {
            return Err(BatchError::Damaged("commands and their arguments differ in length"));
        }
        if self.read_commands().any(|command| command.is_none()) {
            return Err(BatchError::Damaged("a command cannot be read"));
        }
        if self.commands().any(|command| !self.knows(command.action.version())) {
            return Err(BatchError::Damaged("a command that its version does not know"));
        }
        let (mut end, mut ttls) = (0, false);
        for n in 0..self.changes {
            let span = self.span(n);
            ttls |= span.flags & flag::TTL != 0;
            let Some(suffix_bytes) = span.end.checked_sub(end) else {
                return Err(BatchError::Damaged("a change ends before it starts"));
            };
            if !fits(span, suffix_bytes) || span.flags & !self.flags_known() != 0 {
                return Err(BatchError::Damaged("a change is shorter than its members"));
            }
            end = span.end;
        }
        if raw.len() != self.suffixes_at() + end as usize {
            return Err(BatchError::Damaged("suffixes and their table differ in length"));
        }
        if ttls && (0..self.changes).any(|n| self.change(n).lacks_ttl()) {
            return Err(BatchError::Damaged("a time to live cannot be read"));
        }
        Ok(())
    }

    /// Checks that what only a part has is sound, and that nothing in it is still to be decided.
    fn check_part(&self) -> Result<(), BatchError> {
        if !self.is_part() {
            return Ok(());
        }
        let (mut before, mut passed) = (None, 0);
        for gap in self.gaps() {
            let ascends = before.is_none_or(|before| gap.before > before) && gap.passed > passed;
            if !ascends || gap.before > self.changes {
                return Err(BatchError::Damaged("the gaps of a part do not ascend"));
            }
            (before, passed) = (Some(gap.before), gap.passed);
        }
        if passed.checked_add(self.changes).is_none() {
            return Err(BatchError::Damaged("a part has too many ids"));
        }
        let mut replaced = (0..self.replaced).map(|n| self.replaced_at(n).0);
        if !replaced.clone().is_sorted_by(|a, b| a < b) || replaced.any(|n| n >= self.changes) {
            return Err(BatchError::Damaged("what the changes of a part replaced is in no order"));
        }
        let decides = |command: CommandRef<'_>| match command.action {
            ActionRef::Append(conditions) => {
                command.idempotency.is_some() || !conditions.is_empty()
            }
            _ => false,
        };
        match self.plain || self.read_commands().flatten().any(decides) {
            true => Err(BatchError::Damaged("a part has something that is to be decided")),
            false => Ok(()),
        }
    }

    fn flags_known(&self) -> u16 {
        if self.version < 4 { flag::BEFORE_4 } else { flag::ALL }
    }
}
