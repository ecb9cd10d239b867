//! The bytes of a segment: how its header and its groups are written and how
//! they are told from damage. Pure; the whole account, with recovery, is in
//! `docs/disk-format.md`. All integers are little-endian, all layouts stable.
//!
//! ```text
//! segment   | header | group | group | group | zeros ...            |
//!           0        4096    each starts and ends at a block        segment_bytes
//!
//! group     | head, 96 bytes | frame | frame | ... | zeros to block |
//! frame     | head, 32 bytes | payload |
//! ```
//!
//! - *Sync.* A group is one aligned durable write, with one in flight at a
//!   time; a block that holds acknowledged data is never written again.
//! - *Recovery.* Each group names its place, its number and the checksum of the
//!   group before it, so a group that fails its checks can only be the torn
//!   last write, or damage; what stands behind it tells which.
//! - *Purging.* The purge mark is made durable in a group, then whole segments
//!   are removed, oldest first.

mod frame;
mod group;
mod header;

#[cfg(test)]
mod tests;

pub use frame::{
    FRAME_HEAD_BYTES, Frame, FrameRef, checked_payload, decode_frame, entry_head, frame_range,
};
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use group::put_group;
pub use group::{
    GROUP_HEAD_BYTES, Group, GroupFault, GroupPlace, HardState, claimed_bytes, claimed_group,
    decode_group, decode_group_of, encode_group, group_bytes,
};
pub use header::{HeaderBlock, REWRITTEN_VERSION, Rewritten, SegmentHeader};
