//! What the operating system allows this process.

use super::error::ServerError;
use crate::{
    base::limits::{HANDED_ON_MAX, Limits},
    serving::Places,
    upstream::IDLE_MAX,
};

/// Descriptors that are no clients' connections: rings, segments, listeners,
/// connections of other nodes, and what the blocking threads open.
const DESCRIPTORS_RESERVED: u64 = 256;
/// With fewer open files a node would have too few for itself beside its clients'.
const OPEN_FILES_MIN: u64 = 2 * DESCRIPTORS_RESERVED;
/// Connections of one core beyond the limit that are told so.
const REFUSALS_MAX: u64 = 256;

/// Raises the limit of open files as far as it goes and cuts the connections of `limits` to what it
/// leaves beside those that each of `cores` refuses, and those to the `origins` of a copy: so much as
/// each core may hand on to these at once is put into `limits`, too.
///
/// # Errors
/// [`ServerError::OpenFiles`]
pub(super) fn places(
    limits: &mut Limits,
    cores: usize,
    origins: usize,
) -> Result<Places, ServerError> {
    let wanted = limits.connections;
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1_024);
    let too_few = ServerError::OpenFiles { allowed: files, needed: needed(cores, origins) };
    let (places, handed_on) = share(files, wanted, cores, origins).ok_or(too_few)?;
    if places.connections < wanted {
        let allowed = places.connections;
        tracing::warn!(wanted, allowed, "fewer connections: the limit of open files is low");
    }
    (limits.connections, limits.handed_on) = (places.connections, handed_on);
    Ok(places)
}

/// The fewest descriptors with which a node runs: a quarter of those that are not its own is
/// enough for each of `cores` to hand on one request at once, and to keep a connection to each of the `origins`.
fn needed(cores: usize, origins: usize) -> u64 {
    let upstreams = if origins == 0 { 0 } else { upstreams(1, origins as u64) };
    OPEN_FILES_MIN.max(DESCRIPTORS_RESERVED + 4 * upstreams * cores.max(1) as u64)
}

/// How `files` descriptors are shared out, where they are enough.
fn share(files: u64, wanted: usize, cores: usize, origins: usize) -> Option<(Places, usize)> {
    let is_enough = files >= needed(cores, origins);
    let left = is_enough.then(|| files - DESCRIPTORS_RESERVED)?;
    let cores = cores.max(1) as u64;
    // A quarter at most is for those that are refused.
    let refusals = (left / 4 / cores).clamp(1, REFUSALS_MAX);
    // Another for what is handed on, each request on a connection of its own.
    let handed_on = if origins == 0 { 0 } else { handed_on(left / 4 / cores, origins as u64) };
    let others = (refusals + upstreams(handed_on, origins as u64)) * cores;
    let connections = left.saturating_sub(others).min(wanted as u64);
    let places = Places {
        connections: usize::try_from(connections).unwrap_or(wanted),
        refusals: usize::try_from(refusals).unwrap_or(1),
    };
    Some((places, usize::try_from(handed_on).unwrap_or(1)))
}

/// Connections of one core to so many origins, where it hands on so many requests at once: those on
/// which one is under way, and of each origin those that are kept, which all were once.
fn upstreams(handed_on: u64, origins: u64) -> u64 {
    handed_on + handed_on.min(IDLE_MAX as u64) * origins
}

/// How many requests one core may hand on at once, where it has so many descriptors for that.
fn handed_on(descriptors: u64, origins: u64) -> u64 {
    let kept = IDLE_MAX as u64 * origins;
    let most = match descriptors.checked_sub(kept) {
        Some(left) if left >= IDLE_MAX as u64 => left,
        _ => descriptors / (1 + origins),
    };
    most.clamp(1, HANDED_ON_MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::ORIGINS_MAX;

    #[test]
    fn the_node_keeps_descriptors_for_itself_whatever_clients_hold() {
        assert!(share(OPEN_FILES_MIN - 1, 100, 1, 0).is_none());
        for files in [OPEN_FILES_MIN, 600, 1_024, 4_096, 1 << 20] {
            for cores in [1, 2, 16, 64] {
                let Some((places, handed_on)) = share(files, 16_384, cores, 0) else {
                    panic!("{files} are enough");
                };
                let Places { connections, refusals } = places;
                assert!(connections >= 128 && refusals >= 1, "{files}, {cores}");
                assert_eq!(handed_on, 0, "only a copy hands anything on");
                let all = (connections + refusals * cores) as u64;
                assert!(all + DESCRIPTORS_RESERVED <= files, "{files}, {cores}: {all}");
            }
        }
        let plenty = share(1 << 20, 16_384, 1, 0);
        assert!(plenty.is_some_and(|(it, _)| it.connections == 16_384 && it.refusals == 256));
    }

    #[test]
    fn a_copy_keeps_descriptors_for_what_it_hands_on() {
        for files in [OPEN_FILES_MIN, 1_024, 4_096, 1 << 20] {
            for cores in [1, 2, 16] {
                for origins in [1, 2, 3, ORIGINS_MAX] {
                    let needed = needed(cores, origins);
                    assert!(share(needed - 1, 16_384, cores, origins).is_none());
                    let shared = share(files.max(needed), 16_384, cores, origins);
                    let (places, handed_on) = shared.unwrap();
                    let Places { connections, refusals } = places;
                    assert!((1..=HANDED_ON_MAX).contains(&handed_on));
                    let each = refusals as u64 + upstreams(handed_on as u64, origins as u64);
                    let all = connections as u64 + each * cores as u64;
                    assert!(connections >= 64, "{files}, {cores}, {origins}: {connections}");
                    let files = files.max(needed);
                    assert!(all + DESCRIPTORS_RESERVED <= files, "{files}, {cores}: {all}");
                }
            }
        }
        let (places, handed_on) = share(1 << 20, 16_384, 2, 2).unwrap();
        assert_eq!((places.connections, handed_on), (16_384, HANDED_ON_MAX));
    }
}
