//! Starts that fail.

use std::{io::Read, process::ExitStatus, sync::mpsc::RecvTimeoutError};

use crate::{Node, NodeBuilder, PATIENCE, node::end_of};

/// A start that failed: what the program said, and how it ended.
#[derive(Debug)]
pub struct Failed {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Failed {
    /// Checks exit code 1 and one line on standard error that has all of
    /// `words`.
    pub fn says(&self, words: &[&str]) {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
    }
}

impl NodeBuilder {
    /// Starts the node, or gives what it said when it ended instead, with what starts it again.
    pub fn try_start(self) -> Result<Node, Box<(Failed, Self)>> {
        let mut node = self.launch();
        match node.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                node.listens(&line);
                Ok(node)
            }
            Err(RecvTimeoutError::Timeout) => panic!("the node neither listens nor ends"),
            Err(RecvTimeoutError::Disconnected) => {
                let stderr = node.stderr.clone();
                let (status, builder) = node.ends_within(PATIENCE);
                let stderr = std::fs::read_to_string(stderr).unwrap();
                Err(Box::new((Failed { status, stdout: String::new(), stderr }, builder)))
            }
        }
    }

    /// Runs the program, which must end by itself.
    pub fn fails(&self) -> Failed {
        let stderr = self.stderr_path();
        let mut child = self.spawn(&stderr);
        let status = end_of(&mut child, PATIENCE);
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        Failed { status, stdout, stderr: std::fs::read_to_string(stderr).unwrap() }
    }
}
