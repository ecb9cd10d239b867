//! What the operating system allows this process.

/// Descriptors that are not connections: rings, segments, listeners, and what
/// the blocking threads open.
const DESCRIPTORS_RESERVED: u64 = 256;

/// Raises the limit of open files as far as it goes and cuts `wanted`
/// connections to what it leaves, `refusals` beyond them included.
pub fn connections(wanted: usize, refusals: usize) -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1_024);
    let most = files.saturating_sub(DESCRIPTORS_RESERVED + refusals as u64).max(1);
    if wanted as u64 <= most {
        return wanted;
    }
    tracing::warn!(wanted, allowed = most, "fewer connections: the limit of open files is low");
    usize::try_from(most).unwrap_or(wanted)
}
