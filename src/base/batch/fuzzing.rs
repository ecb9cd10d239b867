//! Any bytes as a batch, which other nodes and the disk send.

use bytes::Bytes;

use super::{ActionRef, Batch, Command, encode};

/// Bytes that may be a batch.
///
/// # Panics
/// When one that is accepted cannot be read, or is another once it was taken apart
/// and put together again.
pub fn batch(input: &[u8]) -> Option<Batch> {
    let batch = Batch::parse(Bytes::copy_from_slice(input)).ok()?;
    read_all(&batch);
    let commands = batch.to_commands();
    if commands.is_empty() {
        return Some(batch);
    }
    let written = encode(&commands, batch.at());
    let bytes: usize = commands.iter().map(Command::encoded_bytes).sum();
    assert_eq!(written.len(), super::layout::HEADER_BYTES + bytes);
    let Ok(again) = Batch::parse(written.clone()) else { panic!("it cannot be written again") };
    assert_eq!(again.to_commands(), commands);
    assert_eq!(encode(&again.to_commands(), again.at()), written);
    Some(batch)
}

/// Looks at everything in a batch.
pub(crate) fn read_all(batch: &Batch) {
    let mut changes = 0;
    for command in batch.commands() {
        changes += command.changes;
        if let ActionRef::CreateTenant(_, name) | ActionRef::CreateCollection(_, _, name) =
            command.action
        {
            assert!(name.len() < batch.bytes().len());
        }
    }
    assert_eq!(changes, batch.changes());
    let mut suffix_bytes = 0;
    for n in 0..batch.changes() {
        let change = batch.change(n);
        let _ = (change.is_plain(), change.tenant(), change.collection(), change.key());
        assert!(change.tags.len() <= change.suffix.len());
        suffix_bytes += change.suffix.len();
    }
    let last = batch.changes().checked_sub(1).map(|n| batch.change(n));
    let last = last.filter(|change| !change.is_redacted()).map_or(&b""[..], |last| last.suffix);
    assert!(batch.bytes().ends_with(last));
    assert!(suffix_bytes <= batch.bytes().len());
}
