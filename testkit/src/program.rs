//! The program as a client: its commands, run to their end or watched.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
};

use super::{PATIENCE, Restriction, node::end_of};

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// What it printed, when all went well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The same, and what it said on standard error.
    pub fn ok_saying(self, words: &[&str]) -> String {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
        self.ok()
    }

    /// Checks exit code 1 and one line on standard error that has all of `words`, besides those that say
    /// that something is tried again.
    pub fn fails_saying(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let told = self.stderr.lines().filter(|line| !line.contains("; trying again "));
        assert_eq!(told.count(), 1, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
    }
}

/// Where the tests that run were built: `target/debug`.
pub(crate) fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // The tests themselves stand in `deps`, documentation tests elsewhere.
    let deps = test.ancestors().find(|place| place.ends_with("deps")).unwrap();
    deps.parent().unwrap().to_owned()
}

/// The program that was built with the tests.
pub fn executable() -> PathBuf {
    built().join("changeagent")
}

/// What whoever runs the tests may set, for the program as it is for a node: what it runs on.
const EXECUTOR: &str = "CHANGEAGENT_EXECUTOR";
/// With this in the environment of the tests io_uring is refused to every program that they start.
const DENY_URING: &str = "TESTKIT_DENY_IO_URING";

/// Takes all settings from the program but those that are meant for all tests.
pub(crate) fn set_up(command: &mut Command) {
    let settings = std::env::vars().map(|(name, _)| name);
    let settings = settings.filter(|name| name.starts_with("CHANGEAGENT_") && name != EXECUTOR);
    for name in settings {
        command.env_remove(name);
    }
    if std::env::var_os(DENY_URING).is_some() {
        Restriction::Denied { call: libc::SYS_io_uring_setup, error: libc::EPERM }.impose(command);
    }
}

/// A command of the program; the node is named in the environment.
pub fn program<S: AsRef<OsStr>>(url: &str, arguments: &[S]) -> Command {
    let mut command = Command::new(executable());
    set_up(&mut command);
    command.args(arguments).env("CHANGEAGENT_URL", url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub fn run<S: AsRef<OsStr>>(url: &str, arguments: &[S]) -> Ended {
    run_with(url, arguments, "")
}

/// Runs a command that reads `input`.
pub fn run_with<S: AsRef<OsStr>>(url: &str, arguments: &[S], input: &str) -> Ended {
    let mut command = program(url, arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Written beside the reading, or both would wait for ever.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A command that fails need not read all of it.
    let _ = writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A command that runs, line by line; killed when dropped.
pub struct Watched {
    child: Child,
    lines: Receiver<String>,
}

impl Watched {
    pub fn start(url: &str, arguments: &[&str]) -> Self {
        let mut child = program(url, arguments).stderr(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line, which must come.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line")
    }

    /// What else it has printed, after it was killed.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs while the test holds its output.
pub struct Held {
    child: Child,
    pub stdout: Option<BufReader<ChildStdout>>,
}

impl Held {
    pub fn start<S: AsRef<OsStr>>(url: &str, arguments: &[S]) -> Self {
        let mut child = program(url, arguments).spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn ends(mut self) -> Ended {
        let status = end_of(&mut self.child, PATIENCE);
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ended { code: status.code(), stdout: String::new(), stderr }
    }
}

/// Writes a file in a directory and gives back its path.
pub fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Lines of NDJSON without their times, which differ from one history to the
/// other.
pub fn without_times(text: &str) -> String {
    let mut parts = text.split("\"_ts\":");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\"_ts\":0");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}
