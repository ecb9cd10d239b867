//! Programs that are started for a comparison, each in a directory of its own, and ended by their process id.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::base::stop;

/// How long a program may take to begin, and to end before it is killed.
const START_TIME: Duration = Duration::from_secs(30);
const END_TIME: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);
/// Where programs are that are not in `PATH` of everybody.
const FURTHER_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// What a program wrote is told as far as this.
const TOLD_BYTES_MAX: usize = 400;

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it in `directory`, with what it writes in a file there.
    pub(super) fn start(mut command: Command, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let log = directory.join("output");
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, log })
    }

    /// Waits until `is_ready`, as long as the program runs.
    pub(super) fn await_ready(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + START_TIME;
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", self.told());
            }
            ensure!(!stop::requested(), "interrupted");
            ensure!(Instant::now() < deadline, "it was not ready in time: {}", self.told());
            std::thread::sleep(WATCH_INTERVAL);
        }
        Ok(())
    }

    /// The end of what the program wrote.
    fn told(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(TOLD_BYTES_MAX);
        String::from_utf8_lossy(text.get(from..).unwrap_or_default()).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(process, Signal::TERM);
        }
        let deadline = Instant::now() + END_TIME;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(WATCH_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that is removed with all that is in it.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A new directory in `parent`.
    pub(super) fn new(parent: Option<&Path>) -> Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = parent.join(format!("loadgen-peers-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize().context("no such directory")?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where a program of this name is, if it is installed.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path);
    let further = FURTHER_DIRECTORIES.iter().map(PathBuf::from);
    directories.chain(further).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// What a program says of its version, in its first line.
pub(super) fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).stdin(Stdio::null()).output() else {
        return "of unknown version".to_owned();
    };
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned()
}

/// A loopback address that nobody listens at.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    listener.local_addr().context("no free port")
}

/// Whether somebody listens there.
pub(super) fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}
