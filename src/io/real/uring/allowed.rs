//! Whether this system lets the process use io_uring, asked before anything
//! depends on it: inside an executor a refusal would be found too late to say
//! what is wrong.

use std::{io, ptr};

use io_uring::{IoUring, Probe, opcode};

use crate::io::real::portable::ring::queue;

/// Rings that glommio makes for each executor.
const RINGS: u64 = 3;
/// Entries of a ring. Only files, timers and the epoll of the core use it, so few are in it at once.
pub const DEPTH: u32 = 128;
/// A limit below this is refused by glommio, whatever the process may do.
const LIMIT_BYTES_MIN: u64 = 512 << 10;

/// Why there can be no executors.
#[derive(Debug, thiserror::Error)]
pub enum UringError {
    /// A system call of io_uring is refused.
    #[error(
        "io_uring cannot be used: {call}: {error}; a seccomp profile forbids it (as Docker's \
         default does), or the sysctl kernel.io_uring_disabled{now}, or the kernel is too old",
        now = disabled().map_or(String::new(), |value| format!(" (now {value})"))
    )]
    Denied {
        /// The system call.
        call: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// Nobody may even ask.
    #[error("io_uring cannot be used: a seccomp filter ends whoever asks for it")]
    Ends,
    /// The rings do not fit into the limit of locked memory.
    #[error(
        "the limit of locked memory (RLIMIT_MEMLOCK) is {} KiB, and the rings of io_uring need {} \
         KiB beside what other processes of this user hold: raise it (ulimit -l, docker run \
         --ulimit memlock=-1, LimitMEMLOCK= of systemd) or use fewer --cores",
        .limit >> 10, .needed >> 10
    )]
    LockedMemory {
        /// The limit, in bytes.
        limit: u64,
        /// The least that does, in bytes.
        needed: u64,
    },
}

/// The value of the sysctl, where there is one.
fn disabled() -> Option<String> {
    let value = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    Some(value.trim().to_owned())
}

/// Raises the limit of locked memory as far as it goes, and finds out whether
/// rings for so many executors can be made and used.
///
/// # Errors
/// [`UringError`], when they cannot.
pub fn check(executors: usize) -> Result<(), UringError> {
    if ends_who_asks() {
        return Err(UringError::Ends);
    }
    let limit = raise_limit();
    let count = executors as u64 * RINGS;
    let needed = LIMIT_BYTES_MIN.max(count * ring_bytes(DEPTH));
    make_all(count, || {
        let mut ring = IoUring::new(DEPTH).map_err(|error| refused(error, limit, needed))?;
        let registered = ring.submitter().register_probe(&mut Probe::new());
        registered.map_err(denied("io_uring_register"))?;
        use_once(&mut ring)?;
        if limit < LIMIT_BYTES_MIN {
            return Err(UringError::LockedMemory { limit, needed });
        }
        Ok(ring)
    })
}

/// The same for the rings by which portable executors read and write files.
///
/// # Errors
/// [`UringError`], when they cannot be made and used.
pub fn check_for_files(executors: usize) -> Result<(), UringError> {
    if ends_who_asks() {
        return Err(UringError::Ends);
    }
    let limit = raise_limit();
    let count = executors as u64;
    let needed = count * ring_bytes(queue::DEPTH);
    make_all(count, || {
        let mut ring = queue::make().map_err(|error| refused(error, limit, needed))?;
        use_once(&mut ring)?;
        Ok(ring)
    })
}

/// Makes so many rings, all at once, as they will be.
fn make_all(count: u64, make: impl Fn() -> Result<IoUring, UringError>) -> Result<(), UringError> {
    (0..count).map(|_| make()).collect::<Result<Vec<_>, _>>().map(drop)
}

/// Why a ring cannot be made.
fn refused(error: io::Error, limit: u64, needed: u64) -> UringError {
    match error.kind() {
        io::ErrorKind::OutOfMemory => UringError::LockedMemory { limit, needed },
        _ => denied("io_uring_setup")(error),
    }
}

fn denied(call: &'static str) -> impl FnOnce(io::Error) -> UringError {
    move |error| UringError::Denied { call, error }
}

/// Has the kernel do something by a ring.
fn use_once(ring: &mut IoUring) -> Result<(), UringError> {
    // SAFETY: the operation refers to no memory.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    assert!(pushed.is_ok(), "a ring that was just made has room");
    ring.submit_and_wait(1).map_err(denied("io_uring_enter"))?;
    Ok(())
}

/// Whether a filter of system calls ends whoever asks for io_uring. Where there is a filter, a child finds out.
fn ends_who_asks() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut words = status.lines().filter_map(|line| line.strip_prefix("Seccomp:"));
    if words.all(|mode| mode.trim() != "2") {
        return false;
    }
    // SAFETY: a child of a process with several threads may make system calls, and makes no more than these. Memory
    // is referred to by the first and the last, and is there; the number of no ring is refused.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::prctl(libc::PR_SET_DUMPABLE, 0);
            let mut parameters = [0_u64; 16];
            let ring = libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr());
            libc::syscall(libc::SYS_io_uring_enter, ring, 0, 0, 0, ptr::null::<u8>(), 0);
            libc::syscall(libc::SYS_io_uring_register, ring, u32::MAX, ptr::null::<u8>(), 0);
            libc::_exit(0);
        }
        let mut status = 0;
        while child > 0 && libc::waitpid(child, &raw mut status, 0) != child {
            if *libc::__errno_location() != libc::EINTR {
                return true;
            }
        }
        // Without a child nobody knows.
        child < 0 || libc::WIFSIGNALED(status)
    }
}

/// Raises the soft limit to the hard one, and tells what it is then.
fn raise_limit() -> u64 {
    let Ok((soft, hard)) = rlimit::Resource::MEMLOCK.get() else { return u64::MAX };
    match rlimit::Resource::MEMLOCK.set(hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Locked memory of a ring: its submissions, twice as many completions, and the
/// array between them, in whole pages.
const fn ring_bytes(depth: u32) -> u64 {
    let depth = depth as u64;
    (depth * 64).next_multiple_of(4_096) + (depth * (2 * 16 + 4) + 64).next_multiple_of(4_096)
}
