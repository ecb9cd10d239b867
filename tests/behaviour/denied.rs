//! Systems that do not grant what io_uring needs: a node runs without, or, when it must not, says so in one
//! line, at once, and has touched nothing; signals stop it in any state.

use std::time::{Duration, Instant};

use testkit::{Failed, Node, NodeBuilder, PATIENCE, Restriction, eventually};

/// Within so long a start that cannot be ends.
const SOON: Duration = Duration::from_secs(2);
/// Within so long a signal stops a node.
const STOP_MAX: Duration = Duration::from_secs(11);

/// A start that must fail soon and make no data directory.
fn fails(builder: &NodeBuilder) -> Failed {
    let begin = Instant::now();
    let failed = builder.fails();
    let took = begin.elapsed();
    assert!(took < SOON, "{took:?}: {failed:?}");
    let data = builder.directory().path().join("data");
    assert!(!data.exists(), "it made its data directory");
    failed
}

#[test]
fn io_uring_that_is_denied_is_named() {
    for (name, call) in [
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_register", libc::SYS_io_uring_register),
        ("io_uring_enter", libc::SYS_io_uring_enter),
    ] {
        for error in [libc::EPERM, libc::ENOSYS] {
            let denied = Restriction::Denied { call, error };
            for cores in ["1", "2"] {
                let flags = ["--cores", cores, "--executor", "io-uring"];
                let builder = NodeBuilder::new().flags(&flags).restricted(denied);
                let number = format!("os error {error}");
                let hints = [name, &number, "Docker", "kernel.io_uring_disabled"];
                fails(&builder).says(&hints);
            }
        }
    }
}

#[test]
fn a_small_limit_of_locked_memory_is_named_with_what_is_needed() {
    for (kib, cores, words) in [
        (64, "1", ["locked memory", "64 KiB", "512 KiB", "ulimit -l"]),
        (512, "16", ["locked memory", "512 KiB", "768 KiB", "ulimit -l"]),
    ] {
        let limited = Restriction::LockedMemory(kib << 10);
        let flags = ["--cores", cores, "--executor", "io-uring"];
        fails(&NodeBuilder::new().flags(&flags).restricted(limited)).says(&words);
    }
}

#[test]
fn the_least_of_locked_memory_is_enough() {
    for (kib, cores) in [(512, "1"), (512, "3")] {
        let limited = Restriction::LockedMemory(kib << 10);
        let flags = ["--cores", cores, "--executor", "io-uring"];
        let node = NodeBuilder::new().flags(&flags).restricted(limited).start();
        assert_eq!(node.client().append(r#"{"data":1}"#), 1);
        node.holds(1);
        node.stop();
    }
}

/// As Docker's default profile does.
const DOCKER: Restriction =
    Restriction::Denied { call: libc::SYS_io_uring_setup, error: libc::EPERM };

/// As some profiles of systemd do.
const KILLING: Restriction = Restriction::Killed { call: libc::SYS_io_uring_setup };

/// Rings of io_uring that a node has open.
fn rings_of(node: &Node) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", node.process())).unwrap();
    let named = open.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    named.filter(|name| name.to_string_lossy() == "anon_inode:[io_uring]").count()
}

#[test]
fn without_io_uring_a_node_runs_on_epoll_and_says_why() {
    let no_such_call =
        Restriction::Denied { call: libc::SYS_io_uring_register, error: libc::ENOSYS };
    let locked_memory = |kib: u64| Restriction::LockedMemory(kib << 10);
    for (restriction, cores, rings, why) in [
        (DOCKER, "1", 0, ["io_uring_setup", "os error 1", "Docker"]),
        (DOCKER, "3", 0, ["io_uring_setup", "os error 1", "Docker"]),
        (KILLING, "1", 0, ["epoll and threads", "seccomp", "ends whoever asks"]),
        (no_such_call, "1", 1, ["io_uring_register", "os error 38", "the kernel is too old"]),
        (locked_memory(64), "1", 1, ["locked memory", "64 KiB", "for files alone"]),
        (locked_memory(4), "1", 0, ["locked memory", "4 KiB", "epoll and threads"]),
    ] {
        let flags = ["--cores", cores, "--executor", "auto"];
        let node = NodeBuilder::new().flags(&flags).restricted(restriction).start();
        assert_eq!(node.client().append(r#"{"data":1}"#), 1);
        let node = node.kill().start();
        node.holds(1);
        assert_eq!(node.client().append(r#"{"data":2}"#), 2);
        node.holds(2);
        assert_eq!(rings_of(&node), rings, "{restriction:?}");
        let said = node.stderr();
        let lines: Vec<_> =
            said.lines().filter(|line| line.contains("--executor portable")).collect();
        let [line] = &lines[..] else { panic!("{said}") };
        for word in why {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert!(said.contains("executor=portable"), "{said}");
        assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
        node.stop();
    }
}

#[test]
fn a_portable_node_has_a_ring_for_the_files_of_each_core_where_it_may() {
    for (restriction, rings, words) in [
        (None, 2, "executor=portable files=\"io_uring\""),
        (Some(DOCKER), 0, "files are read and written on threads (--executor portable)"),
        (Some(KILLING), 0, "a seccomp filter ends whoever asks for it"),
    ] {
        let builder = NodeBuilder::new().flags(&["--cores", "2"]);
        let builder = builder.environment("CHANGEAGENT_EXECUTOR", "portable");
        let node = match restriction {
            Some(restriction) => builder.restricted(restriction).start(),
            None => builder.start(),
        };
        assert_eq!(node.client().append(r#"{"data":1}"#), 1);
        let node = node.kill().start();
        node.holds(1);
        assert_eq!(rings_of(&node), rings, "{restriction:?}");
        let said = node.stderr();
        let files = if rings == 0 { "files=\"threads\"" } else { "files=\"io_uring\"" };
        assert!(said.contains(words) && said.contains(files), "{said}");
        assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
        node.stop();
    }
}

#[test]
fn commands_that_work_on_files_do_without_io_uring_too() {
    let node = NodeBuilder::new().start();
    assert_eq!(node.client().append(r#"{"data":1}"#), 1);
    let data = node.data();
    let builder = node.stop();
    let run = |arguments: &[&str]| {
        let mut command = testkit::program("", arguments);
        command.arg("--data").arg(&data);
        DOCKER.impose(&mut command);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text, String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, error, told) = run(&["check"]);
    assert_eq!((code, &*error), (Some(0), ""));
    assert!(told.contains("is sound"), "{told}");
    let (code, error, _) = run(&["check", "--executor", "io-uring"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("io_uring_setup"), "{error}");
    let (code, error, _) = run(&["recover", "--yes"]);
    assert_eq!(code, Some(0), "{error}");
    let node = builder.start();
    node.holds(1);
    node.stop();
}

/// Stops one thread of a process for good.
fn freeze(process: libc::pid_t, thread: &str) -> libc::pid_t {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let is_meant = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread)
    };
    let task = tasks.map(|task| task.unwrap().path()).find(is_meant).expect("the thread is there");
    let id: libc::pid_t = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: plain system calls on a thread of a child.
    unsafe {
        assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, id, none, none), 0);
        assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, id, none, none), 0);
        let mut status = 0;
        assert_eq!(libc::waitpid(id, &raw mut status, libc::__WALL), id);
        assert!(libc::WIFSTOPPED(status));
    }
    id
}

/// Waits until a thread that was frozen is gone: before that its process has not
/// ended.
fn await_end(thread: libc::pid_t) {
    eventually("the frozen thread ends", || {
        let mut status = 0;
        // SAFETY: a plain system call on a thread that this one traces.
        let ended = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL | libc::WNOHANG) };
        ended == thread && (libc::WIFEXITED(status) || libc::WIFSIGNALED(status))
    });
}

#[test]
fn a_signal_ends_a_node_whose_core_hangs() {
    let node = NodeBuilder::new().flags(&["--cores", "2"]).start();
    // Whoever freezes it while it tells the main thread that the node is ready freezes a lock of both.
    assert_eq!(node.client().append(r#"{"data":1}"#), 1);
    let thread = freeze(node.process(), "raft");
    node.signal(libc::SIGTERM);
    let begin = Instant::now();
    await_end(thread);
    let (status, _) = node.ends_within(PATIENCE);
    assert_eq!(status.code(), Some(1));
    let took = begin.elapsed();
    assert!(took < STOP_MAX, "{took:?}");
}
