//! What the operating system says of this process.

use std::{fs, io};

/// What the process uses of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time, in user and kernel mode, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is in place.
    pub resident_bytes: u64,
    /// Memory that is mapped.
    pub virtual_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// The most files that may be open.
    pub open_files_max: u64,
    /// When it was started, in seconds since 1970-01-01 UTC.
    pub started_at_seconds: f64,
}

/// Ticks of the counters under `/proc` in a second: the same on all machines that
/// Linux runs on today.
const TICKS_A_SECOND: f64 = 100.0;

/// Asks the operating system; may take some milliseconds with many open files.
///
/// # Errors
/// Without a usable `/proc`.
pub fn usage() -> io::Result<Usage> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let status = fs::read_to_string("/proc/self/status")?;
    let machine = fs::read_to_string("/proc/stat")?;
    // The name of the program stands in parentheses and may hold anything.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, fields)| fields.split_whitespace().map(|field| field.parse().unwrap_or(0)))
        .into_iter()
        .flatten()
        .collect();
    let ticks = |field: usize| fields.get(field).copied().unwrap_or(0) as f64 / TICKS_A_SECOND;
    let kibibytes = |name: &str| number_after(&status, name).unwrap_or(0) * 1024;
    let booted = number_after(&machine, "btime").unwrap_or(0) as f64;
    Ok(Usage {
        cpu_seconds: ticks(11) + ticks(12),
        resident_bytes: kibibytes("VmRSS:"),
        virtual_bytes: kibibytes("VmSize:"),
        open_files: fs::read_dir("/proc/self/fd")?.count() as u64,
        open_files_max: rlimit::getrlimit(rlimit::Resource::NOFILE)?.0,
        started_at_seconds: booted + ticks(19),
    })
}

/// The number behind `name` at the start of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let Usage { resident_bytes, virtual_bytes, open_files, open_files_max, .. } =
            usage().unwrap();
        assert!((1 << 20..1 << 40).contains(&resident_bytes), "{resident_bytes}");
        assert!(virtual_bytes >= resident_bytes);
        assert!((3..=open_files_max).contains(&open_files));
        let started = usage().unwrap().started_at_seconds;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!((0.0..86_400.0).contains(&(now.as_secs_f64() - started)), "{started}");
    }
}
