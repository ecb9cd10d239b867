//! The part of a batch that comes before one of its changes.

use bytes::{Bytes, BytesMut};

use super::{
    Batch,
    command::{Action, Append, Command},
    encode::encode,
};

/// The version of which a refusal for want of a tenant or collection is remembered.
const REMEMBERING: u8 = 2;

impl Batch {
    /// What comes before its change number `change`, accepted or not: the commands before that of
    /// the change, and of that one the changes before. Nothing when there is none. Each command is
    /// decided as it was in the whole batch, since that follows from what is before it alone; one
    /// that is cut was accepted because all of its changes could be, so those that are left are.
    ///
    /// # Panics
    /// If there is no such change.
    #[must_use]
    pub fn before(&self, change: u32) -> Option<Self> {
        assert!(change < self.changes(), "change {change} of {}", self.changes());
        let (mut at, mut kept) = (0, Vec::new());
        for command in self.to_commands() {
            let changes = command.changes();
            if change < at + changes {
                kept.extend(first_changes(command, change - at));
                break;
            }
            at += changes;
            kept.push(command);
        }
        if kept.is_empty() {
            return None;
        }
        let mut bytes = BytesMut::from(&*encode(&kept, self.at()));
        if self.remembers_missing()
            && let Some(version) = bytes.first_mut()
        {
            *version = REMEMBERING;
        }
        Self::parse(Bytes::from(bytes)).ok()
    }
}

/// The first `count` changes of a command.
fn first_changes(command: Command, count: u32) -> Option<Command> {
    let Action::Append(Append { mut spans, suffixes, conditions }) = command.action else {
        return None;
    };
    spans.truncate(count as usize);
    let end = spans.last()?.end as usize;
    let append = Append { spans, suffixes: suffixes.slice(..end), conditions };
    Some(Command { action: Action::Append(append), idempotency: command.idempotency })
}
