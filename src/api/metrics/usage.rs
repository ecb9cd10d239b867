//! What every program tells Prometheus of its process.

use std::fmt::Write as _;

use crate::io::process::Usage;

/// Appends it, under the names that are usual.
pub(super) fn put_usage(out: &mut String, usage: &Usage) {
    let gauges = [
        ("resident_memory_bytes", "Resident memory", usage.resident_bytes as f64),
        ("virtual_memory_bytes", "Virtual memory", usage.virtual_bytes as f64),
        ("open_fds", "Open file descriptors", usage.open_files as f64),
        ("max_fds", "The most file descriptors that may be open", usage.open_files_max as f64),
        ("start_time_seconds", "When the process started, since 1970", usage.started_at_seconds),
    ];
    let cpu = ("cpu_seconds_total", "Processor time", usage.cpu_seconds);
    let all = gauges.map(|gauge| (gauge, "gauge")).into_iter().chain([(cpu, "counter")]);
    for ((name, help, value), kind) in all {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "# HELP process_{name} {help}.\n# TYPE process_{name} {kind}\nprocess_{name} {value}"
        );
    }
}
