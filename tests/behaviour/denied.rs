//! Systems that do not grant what executors need: the program says so in one
//! line, at once, and has touched nothing; signals stop it in any state.

use std::time::{Duration, Instant};

use testkit::{Failed, NodeBuilder, PATIENCE, Restriction, eventually};

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
                let builder = NodeBuilder::new().flags(&["--cores", cores]).restricted(denied);
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
        fails(&NodeBuilder::new().flags(&["--cores", cores]).restricted(limited)).says(&words);
    }
}

#[test]
fn the_least_of_locked_memory_is_enough() {
    for (kib, cores) in [(512, "1"), (512, "3")] {
        let limited = Restriction::LockedMemory(kib << 10);
        let node = NodeBuilder::new().flags(&["--cores", cores]).restricted(limited).start();
        assert_eq!(node.client().append(r#"{"data":1}"#), 1);
        node.holds(1);
        node.stop();
    }
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
    let thread = freeze(node.process(), "raft");
    node.signal(libc::SIGTERM);
    let begin = Instant::now();
    await_end(thread);
    let (status, _) = node.ends_within(PATIENCE);
    assert_eq!(status.code(), Some(1));
    let took = begin.elapsed();
    assert!(took < STOP_MAX, "{took:?}");
}
