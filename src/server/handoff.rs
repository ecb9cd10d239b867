//! A node that goes on as another: the process replaces itself by its own
//! program and hands on its listening sockets and the lock of its directory, so
//! that nobody outside sees more than a pause.

use std::{
    env, io,
    net::TcpListener,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use crate::io::lock::DirectoryLock;

/// What the successor finds its descriptors by: the process id, then one
/// descriptor for the lock, one for the cluster port or `-`, and the others for
/// clients.
const VARIABLE: &str = "CHANGEAGENT_INHERITED";

/// What goes from a process to its successor.
pub(super) struct Handoff {
    pub(super) lock: DirectoryLock,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) cluster: Option<TcpListener>,
}

impl Handoff {
    /// What this process was left by its predecessor, if it has one.
    pub(super) fn take() -> Option<Self> {
        let text = env::var(VARIABLE).ok()?;
        let mut words = text.split(' ');
        // Else it was left to somebody else.
        let own = words.next()?.parse() == Ok(std::process::id());
        let lock = words.next().filter(|_| own)?.parse().ok()?;
        let cluster = words.next()?.parse().ok();
        let listeners = words.map(str::parse).collect::<Result<Vec<RawFd>, _>>().ok()?;
        // Started by another path, it would be named after that.
        // SAFETY: a plain system call on a text that ends with a zero.
        unsafe { libc::prctl(libc::PR_SET_NAME, c"changeagent".as_ptr()) };
        Some(Self {
            lock: owned(lock).ok()?.into(),
            cluster: cluster.map(|fd| owned(fd).map(TcpListener::from)).transpose().ok()?,
            listeners: listeners
                .into_iter()
                .map(|fd| owned(fd).map(TcpListener::from))
                .collect::<io::Result<_>>()
                .ok()?,
        })
    }

    /// Replaces this process by its successor. Returns only when that fails.
    pub(super) fn hand_on(self) -> io::Error {
        let fds = || {
            let sockets = self.listeners.iter().map(AsRawFd::as_raw_fd);
            let cluster = self.cluster.as_ref().map(AsRawFd::as_raw_fd);
            (self.lock.as_raw_fd(), cluster, sockets)
        };
        let (lock, cluster, sockets) = fds();
        let cluster_text = cluster.map_or_else(|| "-".to_owned(), |fd| fd.to_string());
        let mut text = format!("{} {lock} {cluster_text}", std::process::id());
        for fd in sockets.clone() {
            text.push_str(&format!(" {fd}"));
        }
        for fd in sockets.chain(cluster).chain([lock]) {
            if let Err(error) = keep_over_exec(fd) {
                return error;
            }
        }
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        // The program that runs, even if another was put in its place.
        Command::new("/proc/self/exe").arg0(name).args(arguments).env(VARIABLE, text).exec()
    }
}

/// Takes over a descriptor that was left to this process.
fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain system calls, which check what they are given.
    let status = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as the call before has shown, and was left to this
    // process, in which nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn keep_over_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that is open.
    let status = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
