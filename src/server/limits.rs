//! What the operating system allows this process.

use super::error::ServerError;
use crate::serving::Places;

/// Descriptors that are no clients' connections: rings, segments, listeners,
/// connections of other nodes, and what the blocking threads open.
const DESCRIPTORS_RESERVED: u64 = 256;
/// With fewer open files a node would have too few for itself beside its clients'.
const OPEN_FILES_MIN: u64 = 2 * DESCRIPTORS_RESERVED;
/// Connections of one core beyond the limit that are told so.
const REFUSALS_MAX: u64 = 256;

/// Raises the limit of open files as far as it goes and cuts `wanted` connections to
/// what it leaves beside those that each of `cores` refuses.
///
/// # Errors
/// [`ServerError::OpenFiles`]
pub(super) fn places(wanted: usize, cores: usize) -> Result<Places, ServerError> {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1_024);
    let too_few = ServerError::OpenFiles { allowed: files, needed: OPEN_FILES_MIN };
    let places = share(files, wanted, cores).ok_or(too_few)?;
    if places.connections < wanted {
        let allowed = places.connections;
        tracing::warn!(wanted, allowed, "fewer connections: the limit of open files is low");
    }
    Ok(places)
}

/// How `files` descriptors are shared out, where they are enough.
fn share(files: u64, wanted: usize, cores: usize) -> Option<Places> {
    let left = (files >= OPEN_FILES_MIN).then(|| files - DESCRIPTORS_RESERVED)?;
    let cores = cores.max(1) as u64;
    // A quarter at most is for those that are refused.
    let refusals = (left / 4 / cores).clamp(1, REFUSALS_MAX);
    let connections = left.saturating_sub(refusals * cores).min(wanted as u64);
    Some(Places {
        connections: usize::try_from(connections).unwrap_or(wanted),
        refusals: usize::try_from(refusals).unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_keeps_descriptors_for_itself_whatever_clients_hold() {
        assert!(share(OPEN_FILES_MIN - 1, 100, 1).is_none());
        for files in [OPEN_FILES_MIN, 600, 1_024, 4_096, 1 << 20] {
            for cores in [1, 2, 16, 64] {
                let Some(Places { connections, refusals }) = share(files, 16_384, cores) else {
                    panic!("{files} are enough");
                };
                assert!(connections >= 128 && refusals >= 1, "{files}, {cores}");
                let all = (connections + refusals * cores) as u64;
                assert!(all + DESCRIPTORS_RESERVED <= files, "{files}, {cores}: {all}");
            }
        }
        let plenty = share(1 << 20, 16_384, 1);
        assert!(plenty.is_some_and(|it| it.connections == 16_384 && it.refusals == 256));
    }
}
