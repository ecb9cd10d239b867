//! What a test takes from the program before it starts.

use std::{io, os::unix::process::CommandExt, process::Command};

/// Something that the system does not grant to the program.
#[derive(Clone, Copy, Debug)]
pub enum Restriction {
    /// A seccomp filter answers this system call by an error.
    Denied { call: libc::c_long, error: libc::c_int },
    /// A seccomp filter ends whoever makes this system call.
    Killed { call: libc::c_long },
    /// A limit of locked memory in bytes, which also binds a privileged user.
    LockedMemory(u64),
}

impl Restriction {
    /// Has it take effect in the process of `command`.
    pub fn impose(self, command: &mut Command) {
        let take = move || match self {
            Self::Denied { call, error } => {
                filter(call, libc::SECCOMP_RET_ERRNO | error.unsigned_abs())
            }
            Self::Killed { call } => filter(call, libc::SECCOMP_RET_KILL_PROCESS),
            Self::LockedMemory(bytes) => limit_locked_memory(bytes),
        };
        // SAFETY: only system calls are made between fork and exec.
        unsafe { command.pre_exec(take) };
    }
}

/// Has a system call answered by `refusal`.
fn filter(call: libc::c_long, refusal: u32) -> io::Result<()> {
    let call = u32::try_from(call).map_err(|_| io::ErrorKind::InvalidInput)?;
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let compare = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut filter = [
        // The number of the call is what the data begins with.
        statement(load, 0, 0, 0),
        statement(compare, 0, 1, call),
        statement(answer, 0, 0, refusal),
        statement(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: plain system calls; the program is valid until they return.
    unsafe {
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        checked(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program))
    }
}

fn limit_locked_memory(bytes: u64) -> io::Result<()> {
    /// The capability to lock memory without a limit, in all of Linux.
    const CAP_IPC_LOCK: libc::c_ulong = 14;
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: plain system calls. Whoever may not drop the capability has none.
    unsafe {
        checked(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit))?;
        libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
    }
    Ok(())
}

fn checked(outcome: libc::c_int) -> io::Result<()> {
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
