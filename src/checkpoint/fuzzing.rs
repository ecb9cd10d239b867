//! Checkpoints that other nodes and the disk send: whatever they hold, the state
//! that comes of them can be written and read again.

use bytes::Bytes;

use super::format::{Checkpoint, read, write};
use crate::base::ids::{ChangeId, ClusterId};

/// A checkpoint without its last line, which has the checksum; with any other
/// byte than a brace in front it is read as it is.
///
/// # Panics
/// When one that is accepted is another once it was written again.
pub fn checkpoint(input: &[u8]) {
    if !input.starts_with(b"{") {
        let _ = read(input);
        return;
    }
    let bytes = sealed(input);
    let Ok(Checkpoint { head, state, lines }) = read(&bytes) else { return };
    let change = |id: ChangeId| {
        let line = lines.iter().rfind(|line| line.id == id);
        let line = line.map(|line| &bytes[line.offset as usize..][..line.bytes as usize]);
        line.map(<[u8]>::to_vec).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let (mut written, raft) = (Vec::new(), head.raft.clone());
    let cluster = ClusterId(head.cluster);
    if let Err(error) = write(&mut written, &state, cluster, head.log_id(), raft, change) {
        panic!("it cannot be written again: {error}");
    }
    match read(&written) {
        Ok(again) => {
            assert_eq!(again.head.position(), head.position());
            assert_eq!(again.state.index().catalog.counts(), state.index().catalog.counts());
        }
        Err(error) => panic!("it cannot be read again: {error}"),
    }
}

/// The lines of a checkpoint with the last one, which has their checksum.
pub(crate) fn sealed(lines: &[u8]) -> Bytes {
    let mut bytes = lines.to_vec();
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    let end = format!("{{\"crc32c\":{}}}\n", crc32c::crc32c(&bytes));
    bytes.extend_from_slice(end.as_bytes());
    bytes.into()
}
