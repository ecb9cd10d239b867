//! One node: the program as a process of its own, with its data directory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    rc::Rc,
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use super::{
    Client, PATIENCE, Restriction, eventually,
    program::{built, executable, set_up},
};

/// Small files and bodies, so that preparing segments takes no time.
const SMALL: [&str; 6] = ["--segment-size", "2MiB", "--max-body", "1MiB", "--max-batch", "1000"];

/// Flags for segments so short that a test goes through several.
pub const SHORT_SEGMENTS: [&str; 8] = [
    "--segment-size",
    "256KiB",
    "--max-body",
    "64KiB",
    "--max-data",
    "64KiB",
    "--max-batch",
    "100",
];

/// A directory that is removed with its last user.
pub type Temporary = Rc<tempfile::TempDir>;

/// Makes a directory of its own for a test.
pub fn temporary() -> Temporary {
    let inside = built().join("tmp");
    std::fs::create_dir_all(&inside).unwrap();
    Rc::new(tempfile::TempDir::new_in(inside).unwrap())
}

/// How to start a node.
pub struct NodeBuilder {
    directory: Temporary,
    data: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// The command that stands before the flags.
    command: Option<String>,
    /// A program and its arguments that start the node in another place.
    launcher: Vec<String>,
    restriction: Option<Restriction>,
    /// Another program than that of the tests.
    program: Option<PathBuf>,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeBuilder {
    /// A node on `data`, with nothing but a free port set.
    pub fn bare(directory: &Temporary, data: &Path) -> Self {
        Self {
            directory: Rc::clone(directory),
            data: data.to_owned(),
            flags: Vec::new(),
            environment: Vec::new(),
            command: None,
            launcher: Vec::new(),
            restriction: None,
            program: None,
        }
        .flags(&["--listen", "127.0.0.1:0"])
    }

    /// A node with small limits on a fresh directory.
    pub fn new() -> Self {
        let directory = temporary();
        let data = directory.path().join("data");
        Self::bare(&directory, &data).flags(&SMALL)
    }

    /// With these flags; a flag given again takes the place of the earlier one.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        for pair in flags.chunks(2) {
            if let Some(at) = self.flags.iter().position(|flag| flag == pair[0]) {
                self.flags.drain(at..at + 2);
            }
            self.flags.extend(pair.iter().map(ToString::to_string));
        }
        self
    }

    /// Without a flag.
    pub fn without(mut self, flag: &str) -> Self {
        if let Some(at) = self.flags.iter().position(|other| other == flag) {
            self.flags.drain(at..at + 2);
        }
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn command(mut self, command: &str) -> Self {
        self.command = Some(command.into());
        self
    }

    pub fn launcher(mut self, words: &[&str]) -> Self {
        self.launcher = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Without something that the system usually grants.
    pub fn restricted(mut self, restriction: Restriction) -> Self {
        self.restriction = Some(restriction);
        self
    }

    /// Another program than that of the tests.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_owned());
        self
    }

    pub fn directory(&self) -> &Temporary {
        &self.directory
    }

    pub(crate) fn spawn(&self, stderr: &Path) -> Child {
        let program = self.program.clone().unwrap_or_else(executable);
        let mut command = match self.launcher.split_first() {
            None => Command::new(&program),
            Some((launcher, words)) => {
                let mut command = Command::new(launcher);
                command.args(words).arg(&program);
                command
            }
        };
        set_up(&mut command);
        if let Some(restriction) = self.restriction {
            restriction.impose(&mut command);
        }
        // Whoever runs the tests in the background has it ignored, and what is ignored when a
        // program begins is lost until the program says otherwise.
        // SAFETY: between fork and exec only a system call is made.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        // What tests that write their requests by hand call the node.
        command.env("CHANGEAGENT_ALLOW_HOST", "a,h");
        if self.founds() {
            command.env("CHANGEAGENT_FOUND", "true");
        }
        command.args(&self.command);
        if !self.environment.iter().any(|(name, _)| name == "CHANGEAGENT_DATA") {
            command.arg("--data").arg(&self.data);
        }
        command
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(stderr).unwrap())
            .spawn()
            .expect("the program starts")
    }

    /// Whether it is told to found a cluster: it has a port for other nodes, and nothing says how it comes to
    /// belong to one.
    fn founds(&self) -> bool {
        let has = |wanted: &str| self.flags.iter().any(|flag| flag == wanted);
        has("--cluster-listen") && !has("--join") && !has("--bootstrap-expect")
    }

    pub(crate) fn stderr_path(&self) -> PathBuf {
        let name = format!("stderr-{}", uuid::Uuid::new_v4());
        self.directory.path().join(name)
    }

    /// Starts the node and waits until it says that it listens.
    pub fn start(self) -> Node {
        let mut node = self.launch();
        node.listening();
        node
    }

    /// Starts the program and waits for nothing.
    pub fn launch(self) -> Node {
        let stderr = self.stderr_path();
        let mut child = self.spawn(&stderr);
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Node { builder: Some(self), child, lines, address: None, is_secured: false, stderr }
    }
}

/// A running node; killed when dropped.
pub struct Node {
    builder: Option<NodeBuilder>,
    child: Child,
    pub(crate) lines: Receiver<String>,
    address: Option<SocketAddr>,
    /// Clients speak TLS.
    is_secured: bool,
    /// The file of its standard error.
    pub stderr: PathBuf,
}

impl Node {
    /// A node with small limits on a fresh directory.
    pub fn start() -> Self {
        NodeBuilder::new().start()
    }

    /// The same with further flags.
    pub fn with(flags: &[&str]) -> Self {
        NodeBuilder::new().flags(flags).start()
    }

    fn listening(&mut self) {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("the node does not listen ({error}): {}", self.stderr()),
        };
        self.listens(&line);
    }

    /// Takes the line that says where it listens.
    pub(crate) fn listens(&mut self, line: &str) {
        let url = line.strip_prefix("listening ").expect("the line of its address");
        let (scheme, address) = url.split_once("://").expect("a URL");
        self.is_secured = scheme == "https";
        self.address = Some(address.parse().unwrap());
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("a node that listens")
    }

    /// How the program's commands name it.
    pub fn url(&self) -> String {
        let scheme = if self.is_secured { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.builder.as_ref().expect("a node that runs").data.clone()
    }

    /// What it wrote to standard error.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// Bytes of memory of its own, file pages aside.
    pub fn memory(&self) -> usize {
        self.bytes_of("RssAnon:")
    }

    /// The most bytes of memory that it ever had, file pages included.
    pub fn memory_peak(&self) -> usize {
        self.bytes_of("VmHWM:")
    }

    fn bytes_of(&self, what: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// The number of its process.
    pub fn process(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: a plain system call on a child that has not been waited for.
        let outcome = unsafe { libc::kill(self.process(), signal) };
        assert_eq!(outcome, 0);
    }

    /// Sets how many descriptors it may have, and gives back how many it might before.
    pub fn limit_descriptors(&self, count: libc::rlim_t) -> libc::rlim_t {
        let id = libc::pid_t::try_from(self.child.id()).unwrap();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let call = |new: *const libc::rlimit, old: *mut libc::rlimit| {
            // SAFETY: both are null or valid, and the child was not waited for.
            assert_eq!(unsafe { libc::prlimit(id, libc::RLIMIT_NOFILE, new, old) }, 0);
        };
        call(std::ptr::null(), &raw mut limit);
        let before = limit.rlim_cur;
        limit.rlim_cur = count;
        call(&raw const limit, std::ptr::null_mut());
        before
    }

    /// Kills it; what starts again on its directory is given back.
    pub fn kill(mut self) -> NodeBuilder {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.builder.take().expect("killed once")
    }

    /// Waits for its end, with what starts again on its directory.
    pub fn ends_within(mut self, time: Duration) -> (ExitStatus, NodeBuilder) {
        let status = end_of(&mut self.child, time);
        (status, self.builder.take().expect("ended once"))
    }

    /// Stops it gracefully.
    pub fn stop(self) -> NodeBuilder {
        self.signal(libc::SIGTERM);
        let stderr = self.stderr.clone();
        let (status, builder) = self.ends_within(PATIENCE);
        assert_eq!(status.code(), Some(0), "{}", std::fs::read_to_string(stderr).unwrap());
        builder
    }

    /// Checks that it lives and holds exactly the changes up to `last`.
    pub fn holds(&self, last: u64) {
        let mut client = self.client();
        assert_eq!(client.get("/health").status, 200);
        let list = client.list("?limit=10000");
        let ids: Vec<u64> = list["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| change["_id"].as_u64().unwrap())
            .collect();
        assert!(ids.iter().copied().eq(1..=last), "{ids:?} is not 1 to {last}");
        assert_eq!(list["atEnd"], true);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.builder.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            if std::thread::panicking() {
                eprintln!("the node said:\n{}", self.stderr());
            }
        }
    }
}

pub(super) fn end_of(child: &mut Child, time: Duration) -> ExitStatus {
    let end = Instant::now() + time;
    let mut status = None;
    eventually("the program ends", || {
        status = child.try_wait().unwrap();
        if status.is_none() && Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the program did not end within {time:?}");
        }
        status.is_some()
    });
    status.expect("ended")
}

/// Every file below `directory` with its bytes.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}
