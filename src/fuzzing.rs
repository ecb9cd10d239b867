//! What fuzz targets call, one function for each kind of bytes that strangers,
//! other nodes or disks send. Each stands beside the code that it is about; none is
//! part of the program. How they are run says `docs/fuzzing.md`.

pub use crate::{
    api::fuzzing::{answer, change_body, json, small_body, target},
    checkpoint::fuzzing::checkpoint,
    http::fuzzing::http,
    log::fuzzing::{log_damage, log_recovery},
    raft::peer::fuzzing::{frames, hello},
    state::fuzzing::batch,
};

/// A fuzz target: its name, and what it does with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All there are.
pub const TARGETS: [Target; 12] = [
    ("answer", answer),
    ("batch", batch),
    ("change_body", change_body),
    ("checkpoint", checkpoint),
    ("frames", frames),
    ("hello", hello),
    ("http", http),
    ("json", json),
    ("log_damage", log_damage),
    ("log_recovery", log_recovery),
    ("small_body", small_body),
    ("target", target),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn directory() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
    }

    #[test]
    fn what_was_found_once_is_mended_for_good() {
        for (name, run) in TARGETS {
            let corpus = directory().join("corpus").join(name);
            let mut files = 0;
            for file in fs::read_dir(&corpus).unwrap_or_else(|_| panic!("{corpus:?}")) {
                let file = file.unwrap().path();
                println!("{}", file.display());
                run(&fs::read(file).unwrap());
                files += 1;
            }
            assert!(files > 0, "{name} has no corpus");
            run(b"");
        }
    }

    #[test]
    fn every_target_is_a_program_to_run() {
        let programs = fs::read_dir(directory().join("fuzz_targets")).unwrap();
        let mut names: Vec<_> = programs
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!(names, TARGETS.map(|(name, _)| name));
    }
}
