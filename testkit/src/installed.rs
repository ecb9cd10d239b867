//! Programs of the system that some tests need.

use std::{io::Write, path::PathBuf};

/// Where a program is. Where it is not installed, says so and gives nothing, so
/// that the test is skipped; with `CI=true` in the environment it fails instead.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not everybody's path has the programs of administrators.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} is not installed");
        // Past the capture of the test's output: this is for whoever ran it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name} is not installed");
    }
    found
}
