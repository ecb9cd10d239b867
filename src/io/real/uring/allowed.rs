//! Whether this system lets the process use io_uring, asked before anything
//! depends on it: inside an executor a refusal would be found too late to say
//! what is wrong.

use std::io;

use io_uring::{IoUring, Probe, opcode};

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
    let limit = raise_limit();
    let count = executors as u64 * RINGS;
    let needed = LIMIT_BYTES_MIN.max(count * ring_bytes(DEPTH));
    let make = || {
        IoUring::new(DEPTH).map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => UringError::LockedMemory { limit, needed },
            _ => UringError::Denied { call: "io_uring_setup", error },
        })
    };
    let mut first = make()?;
    exercise(&mut first)?;
    if limit < LIMIT_BYTES_MIN {
        return Err(UringError::LockedMemory { limit, needed });
    }
    // All at once, as they will be.
    let mut rings = vec![first];
    while (rings.len() as u64) < count {
        rings.push(make()?);
    }
    Ok(())
}

/// Uses each system call on a ring.
fn exercise(ring: &mut IoUring) -> Result<(), UringError> {
    let denied = |call| move |error| UringError::Denied { call, error };
    let registered = ring.submitter().register_probe(&mut Probe::new());
    registered.map_err(denied("io_uring_register"))?;
    // SAFETY: the operation refers to no memory.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    assert!(pushed.is_ok(), "a ring that was just made has room");
    ring.submit_and_wait(1).map_err(denied("io_uring_enter"))?;
    Ok(())
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
