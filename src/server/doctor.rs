//! Whether this machine is fit for a node: what is wrong with it, and what to do.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::executors;
use crate::io::real::{
    executor::{try_ring, try_uring},
    trial::{Trial, try_disk},
};

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Good,
    /// A node runs, but not as well as it could.
    Doubtful,
    /// A node does not run, or not for long.
    Bad,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; empty where nothing is.
    pub remedy: String,
}

impl Finding {
    /// It is as it should be.
    #[must_use]
    pub fn good(what: &'static str, seen: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, seen: seen.into(), remedy: String::new() }
    }

    /// It is not, and that is to be done.
    #[must_use]
    pub fn wrong(
        what: &'static str,
        verdict: Verdict,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { what, verdict, seen: seen.into(), remedy: remedy.into() }
    }
}

/// The kernel that docs/install.md asks for.
const KERNEL_MIN: (u64, u64) = (5, 11);
/// Files that a node with many clients has open.
const OPEN_FILES_USUAL: u64 = 16_384;
const OPEN_FILES_MIN: u64 = 512;
/// A durable write that is usually slower than this slows every write of clients.
const WRITE_USUAL: Duration = Duration::from_millis(10);
/// One that takes so long delays heartbeats, and at last costs a leader its office.
const WRITE_SELDOM: Duration = Duration::from_millis(150);
/// How long the disk is tried, and how often at most.
const TRIAL: Duration = Duration::from_secs(2);
const TRIAL_WRITES_MAX: usize = 1_000;
/// Less room would soon be full.
const ROOM_BYTES_MIN: u64 = 1 << 30;

/// Looks at everything of this machine that a node on `data` depends on.
#[must_use]
pub fn examine(data: &Path) -> Vec<Finding> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let limits = read("/proc/self/limits");
    let place = existing(data);
    let mounts = read("/proc/self/mounts");
    let mut findings = vec![
        kernel(&read("/proc/sys/kernel/osrelease")),
        io_uring(),
        open_files(limit(&limits, "Max open files")),
        clock(),
        file_system(&place, &mounts),
    ];
    if data.exists() && !data.is_dir() {
        let seen = format!("{} is no directory", data.display());
        findings.push(Finding::wrong("data", Verdict::Bad, seen, "mend --data"));
    } else {
        findings.extend(disk(&place));
    }
    findings
}

/// The directory itself, or the nearest one above it that is there.
fn existing(data: &Path) -> PathBuf {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let there = absolute.ancestors().find(|path| path.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

fn kernel(release: &str) -> Finding {
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    let (major, minor) = KERNEL_MIN;
    match numbers.next().zip(numbers.next()) {
        Some(version) if version >= KERNEL_MIN => Finding::good("kernel", release),
        Some(_) => Finding::wrong(
            "kernel",
            Verdict::Doubtful,
            release,
            format!("use Linux {major}.{minor} or later"),
        ),
        None => Finding::wrong("kernel", Verdict::Doubtful, "its version is not known", "uname -r"),
    }
}

fn io_uring() -> Finding {
    let Err(why) = try_uring(executors::usual_count()) else {
        return Finding::good("io_uring", "it is allowed");
    };
    let instead = match try_ring(executors::usual_count()) {
        Ok(()) => "a node runs on epoll, with io_uring for files",
        Err(_) => "a node runs on epoll, and on threads for files",
    };
    let remedy = "allow its three calls (packaging/container/seccomp), set kernel.io_uring_disabled=0, or \
                  raise LimitMEMLOCK";
    Finding::wrong("io_uring", Verdict::Doubtful, format!("{instead}: {why}"), remedy)
}

/// The hard limit of that name in `/proc/self/limits`, to which a node raises the soft one.
fn limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn open_files(limit: Option<u64>) -> Finding {
    let remedy = "raise it: ulimit -Hn, LimitNOFILE= of systemd, docker run --ulimit nofile";
    match limit {
        None => {
            Finding::wrong("open files", Verdict::Doubtful, "the limit is not known", "ulimit -Hn")
        }
        Some(u64::MAX) => Finding::good("open files", "no limit"),
        Some(limit) if limit >= OPEN_FILES_USUAL => Finding::good("open files", limit.to_string()),
        Some(limit) => {
            let verdict = if limit < OPEN_FILES_MIN { Verdict::Bad } else { Verdict::Doubtful };
            Finding::wrong("open files", verdict, format!("{limit} at most"), remedy)
        }
    }
}

/// Whether something keeps the clock right, as the kernel was told.
fn clock() -> Finding {
    let remedy =
        "run chronyd, ntpd or systemd-timesyncd: stamps, times to live and tokens go by the clock";
    match crate::io::real::clock::is_synchronized() {
        Ok(true) => Finding::good("clock", "it is synchronized"),
        Ok(false) => Finding::wrong("clock", Verdict::Doubtful, "nothing synchronizes it", remedy),
        Err(error) => Finding::wrong("clock", Verdict::Doubtful, error.to_string(), remedy),
    }
}

/// The type of the file system that `place` is on, by the longest mount point.
fn type_of<'m>(place: &Path, mounts: &'m str) -> Option<&'m str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        // Spaces stand there as \\040.
        let point = words.next()?.replace("\\040", " ");
        place.starts_with(&point).then_some((point.len(), words.next()?))
    });
    // Of several at one place the last one counts.
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn file_system(place: &Path, mounts: &str) -> Finding {
    let kind = type_of(place, mounts).unwrap_or("not known");
    let seen = format!("{kind}, of {}", place.display());
    let is_of_network = ["nfs", "cifs", "smb", "9p", "fuse"].iter().any(|it| kind.starts_with(it));
    match kind {
        "tmpfs" | "ramfs" => {
            let remedy = "it is lost with the machine's power: use a disk";
            Finding::wrong("file system", Verdict::Bad, seen, remedy)
        }
        _ if is_of_network => {
            let remedy = "use a local disk with ext4 or XFS: what a server far away calls durable may not be";
            Finding::wrong("file system", Verdict::Doubtful, seen, remedy)
        }
        _ => Finding::good("file system", seen),
    }
}

fn disk(place: &Path) -> Vec<Finding> {
    let file = place.join(format!("doctor-{}.trial", std::process::id()));
    let Trial { is_direct, writes } = match try_disk(&file, TRIAL, TRIAL_WRITES_MAX) {
        Ok(trial) => trial,
        Err(error) => {
            let (seen, remedy) =
                (format!("{}: {error}", file.display()), "mend --data, or permissions");
            return vec![Finding::wrong("disk", Verdict::Bad, seen, remedy)];
        }
    };
    let direct = match is_direct {
        true => Finding::good("direct I/O", "the file system has it"),
        false => Finding::wrong(
            "direct I/O",
            Verdict::Doubtful,
            "the file system has none: writes go through the page cache",
            "use ext4 or XFS",
        ),
    };
    vec![direct, latency(&writes), room(place)]
}

/// What is to be said of durable writes that took so long, in ascending order.
fn latency(writes: &[Duration]) -> Finding {
    let at = |percent: usize| {
        let at = (writes.len() * percent / 100).min(writes.len().saturating_sub(1));
        writes.get(at).copied().unwrap_or_default()
    };
    let (usual, seldom) = (at(50), at(99));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (count, longest) = (writes.len(), at(100));
    let seen = format!(
        "{count} durable writes of 4 KiB, one by one: half within {:.2} ms, 99 % within {:.2} ms, all within {:.2} ms",
        ms(usual),
        ms(seldom),
        ms(longest)
    );
    if usual <= WRITE_USUAL && seldom <= WRITE_SELDOM {
        return Finding::good("disk writes", seen);
    }
    let remedy = "use a disk that nobody else keeps busy, best one with power-loss protection; where it must \
                  be this one, raise --heartbeat and --election-timeout";
    Finding::wrong("disk writes", Verdict::Doubtful, seen, remedy)
}

fn room(place: &Path) -> Finding {
    let free = match rustix::fs::statvfs(place) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            let seen = error.to_string();
            return Finding::wrong("room", Verdict::Doubtful, seen, "df shows it");
        }
    };
    let seen = format!("{} MiB are free", free >> 20);
    match free < ROOM_BYTES_MIN {
        true => {
            Finding::wrong("room", Verdict::Doubtful, seen, "make room, or set --retain-min-age")
        }
        false => Finding::good("room", seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_told() {
        for release in ["5.11.0", "6.1.0-13-amd64\n", "6.18.5+deb14-cloud"] {
            assert_eq!(kernel(release).verdict, Verdict::Good, "{release}");
        }
        for release in ["5.10.0-26-amd64", "4.19.0", "", "x"] {
            let Finding { verdict, remedy, .. } = kernel(release);
            assert_eq!(verdict, Verdict::Doubtful, "{release}");
            assert!(!remedy.is_empty());
        }
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 4096                 files     \n\
                    Max locked memory         8388608              unlimited            bytes     \n";
        assert_eq!(limit(text, "Max open files"), Some(4096));
        assert_eq!(limit(text, "Max locked memory"), Some(u64::MAX));
        assert_eq!(limit(text, "Max nothing"), None);
        let verdicts = [Some(u64::MAX), Some(65_536), Some(4_096), Some(100), None];
        let verdicts = verdicts.map(|limit| open_files(limit).verdict);
        let (good, doubtful) = (Verdict::Good, Verdict::Doubtful);
        assert_eq!(verdicts, [good, good, doubtful, Verdict::Bad, doubtful]);
    }

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n\
                      srv:/x /mnt/n\\040s nfs4 rw 0 0\n/dev/b /data xfs rw 0 0\n";
        for (place, kind, verdict) in [
            ("/var/lib", "ext4", Verdict::Good),
            ("/data/node", "xfs", Verdict::Good),
            ("/database", "ext4", Verdict::Good),
            ("/run/node", "tmpfs", Verdict::Bad),
            ("/mnt/n s/node", "nfs4", Verdict::Doubtful),
        ] {
            assert_eq!(type_of(Path::new(place), mounts), Some(kind), "{place}");
            assert_eq!(file_system(Path::new(place), mounts).verdict, verdict, "{place}");
        }
    }

    #[test]
    fn a_slow_disk_is_told_whether_it_is_always_slow_or_sometimes() {
        let ms = Duration::from_millis;
        assert_eq!(latency(&vec![ms(1); 100]).verdict, Verdict::Good);
        assert_eq!(latency(&vec![ms(11); 100]).verdict, Verdict::Doubtful);
        let mut some = vec![ms(1); 98];
        some.extend([ms(200), ms(300)]);
        let Finding { verdict, seen, .. } = latency(&some);
        assert_eq!(verdict, Verdict::Doubtful);
        assert!(seen.contains("half within 1.00 ms, 99 % within 300.00 ms"), "{seen}");
    }
}
