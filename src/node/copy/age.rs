//! How old what a copy shows may be.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::of::CopyOf;
use crate::{
    base::{
        ids::{ChangeId, ClusterId},
        planted::planted,
        tenants::Tenants,
    },
    io::{Files, cores, put_file, sync_directory},
};

/// Remembers over restarts when the copy was last known to be whole.
const FILE: &str = "caught-up";
const TEMPORARY: &str = "caught-up.tmp";

/// How old what a copy shows may be. Written by the Raft core, read by every core.
#[derive(Debug)]
pub struct CopyAge {
    of: CopyOf,
    /// The tenants that it is of, where it is not of all.
    tenants: Option<Tenants>,
    id: Uuid,
    /// The history that takes the place of this one.
    replaced: OnceLock<ClusterId>,
    /// What is damaged of it, and cannot be mended.
    given_up: OnceLock<String>,
    /// The newest change that an origin said to have, 0 before.
    newest: AtomicU64,
    /// At this moment what the copy has was at most so old.
    known: Mutex<Option<(Instant, Duration)>>,
}

impl CopyAge {
    /// Of a copy that was never known to be whole.
    #[must_use]
    pub fn new(of: CopyOf, tenants: Option<Tenants>) -> Self {
        let (id, replaced, given_up) = (cores::uuid(), OnceLock::new(), OnceLock::new());
        let (newest, known) = (AtomicU64::new(0), Mutex::default());
        Self { of, tenants, id, replaced, given_up, newest, known }
    }

    /// The tenants that it is of; nothing where it is of a whole history.
    #[must_use]
    pub fn tenants(&self) -> Option<&Tenants> {
        self.tenants.as_ref()
    }

    /// Of what it is a copy.
    #[must_use]
    pub fn of(&self) -> &CopyOf {
        &self.of
    }

    /// What tells this process from other copies, where requests are handed on.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The history that is about to take the place of the one that is served, if one is.
    #[must_use]
    pub fn replaced_by(&self) -> Option<ClusterId> {
        self.replaced.get().copied()
    }

    /// Notes that; once.
    pub fn replace_by(&self, other: ClusterId) {
        let _ = self.replaced.set(other);
    }

    /// Says that a file of the copy is damaged and cannot be mended: it is to begin anew.
    pub fn give_up(&self, file: &str) {
        let _ = self.given_up.set(file.to_owned());
    }

    /// The file that was said of, if one was.
    #[must_use]
    pub fn given_up(&self) -> Option<&str> {
        self.given_up.get().map(String::as_str)
    }

    /// Notes the newest change of an origin.
    pub(super) fn note_newest(&self, newest: ChangeId) {
        self.newest.fetch_max(newest.0, Ordering::Relaxed);
    }

    /// The newest change that an origin said to have, if one was asked.
    #[must_use]
    pub fn newest_of_origin(&self) -> Option<ChangeId> {
        Some(ChangeId(self.newest.load(Ordering::Relaxed)))
            .filter(|newest| *newest > ChangeId::ZERO)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Duration)>> {
        // A panic under the lock ends the process, so poison is never seen.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that what the copy has was at most `age` old at `moment`. What was known before stands
    /// where it says more.
    pub fn note(&self, moment: Instant, age: Duration) {
        let mut known = self.lock();
        let now = cores::now();
        let at = |(moment, age): (Instant, Duration)| age + now.saturating_duration_since(moment);
        if known.is_none_or(|known| at((moment, age)) < at(known)) {
            *known = Some((moment, age));
        }
    }

    /// How old what the copy has is at most; nothing when that is not known.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let (moment, age) = (*self.lock())?;
        Some(age.saturating_add(cores::elapsed(moment)))
    }

    /// When the copy is too old to be read, where nothing more is known until then and that is after `now`.
    #[must_use]
    pub fn stale_at(&self, now: Instant) -> Option<Instant> {
        let (moment, age) = (*self.lock())?;
        let at = moment.checked_add(self.of.stale_max.saturating_sub(age))?;
        Some(at).filter(|at| *at > now)
    }

    /// Why nothing is read from the copy, if it is too old for that.
    #[must_use]
    pub fn staleness(&self) -> Option<String> {
        match self.age() {
            None => Some("this copy has not caught up with its origin yet".to_owned()),
            Some(age) if age >= self.of.stale_max => Some(format!(
                "this copy last had all of its origin {} s ago, above --max-stale",
                age.as_secs()
            )),
            Some(_) => None,
        }
    }
}

/// Writes down how old the copy of `cluster` is, and nothing of another. Waits for the disk.
pub(super) fn remember(files: &impl Files, cluster: ClusterId, age: Duration) -> io::Result<()> {
    put_file(files, TEMPORARY, FILE, line(cluster, age).as_bytes())
}

/// Writes down how old the copy of `cluster` is that may take the place of the one that is there, of
/// which it stays written down. Waits for the disk.
pub(super) fn remember_beside(
    files: &impl Files,
    cluster: ClusterId,
    age: Duration,
) -> io::Result<()> {
    let text = files.read(FILE).unwrap_or_default();
    let own = String::from_utf8_lossy(&text).lines().next().map(|own| format!("{own}\n"));
    let text = own.unwrap_or_default() + &line(cluster, age);
    put_file(files, TEMPORARY, FILE, text.as_bytes())
}

fn line(cluster: ClusterId, age: Duration) -> String {
    let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
    format!("{cluster} {}\n", cores::wall_micros().saturating_sub(age))
}

/// Forgets what was written down of that. Durable on return. Waits for the disk.
pub(super) fn forget(files: &impl Files) -> io::Result<()> {
    match files.remove(FILE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_directory(files),
    }
}

/// How old the copy of `cluster` is at most, by what was written down. Nothing where it was never known
/// to be whole, or the time of day is before that by now. The stamp of its newest change would not say
/// it: another clock made that.
pub(super) fn remembered(files: &impl Files, cluster: ClusterId) -> Option<Duration> {
    let text = files.read(FILE).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let written = lines.find(|(of, _)| *of == cluster.to_string());
    let written: u64 = written.and_then(|(_, micros)| micros.parse().ok())?;
    if planted!(ForgetAgeOfCopy) {
        return Some(Duration::ZERO);
    }
    cores::wall_micros().checked_sub(written).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::simulated::{
        disk::SimDisk,
        executor::{Executor, run},
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_copy_is_as_old_as_the_moment_at_which_it_was_whole() {
        run(1, async {
            let origins = vec!["a:1".to_owned()];
            let (tenants, caller, token) = (Vec::new(), None, None);
            let of = CopyOf { origins, caller, tenants, stale_max: 10 * SECOND, token };
            let age = CopyAge::new(of, None);
            assert_eq!(age.age(), None);
            assert!(age.staleness().is_some());
            let first = cores::now();
            cores::sleep(4 * SECOND).await;
            age.note(first, 3 * SECOND);
            assert_eq!(age.age().unwrap().as_secs(), 7);
            age.note(cores::now(), 9 * SECOND);
            assert_eq!(age.age().unwrap().as_secs(), 7, "it was known to be younger");
            assert_eq!(age.staleness(), None);
            let at = age.stale_at(cores::now()).unwrap();
            assert_eq!(at, cores::now() + 3 * SECOND);
            cores::sleep(3 * SECOND).await;
            assert!(age.staleness().unwrap().contains("10 s ago"), "from that moment on");
            assert_eq!(age.stale_at(cores::now()), None, "it is over");
            cores::sleep(SECOND).await;
            assert!(age.staleness().unwrap().contains("11 s ago"));
            age.note(cores::now(), SECOND);
            assert_eq!((age.age().unwrap().as_secs(), age.staleness()), (1, None));
        });
    }

    #[test]
    fn its_age_is_known_after_a_restart_if_it_is_of_the_same_history() {
        use crate::io::Disk as _;
        run(2, async {
            let files = SimDisk::new(2).files();
            let (one, other) = (ClusterId(Uuid::from_u128(1)), ClusterId(Uuid::from_u128(2)));
            assert_eq!(remembered(&files, one), None, "it was never whole");
            remember(&files, one, 2 * SECOND).unwrap();
            assert_eq!(remembered(&files, one).unwrap().as_secs(), 2);
            assert_eq!(remembered(&files, other), None);
            cores::sleep(5 * SECOND).await;
            assert_eq!(remembered(&files, one).unwrap().as_secs(), 7);
            let executor = Executor::current();
            executor.change_clock(0, |clock, _| clock.step_wall(-3_000_000));
            assert_eq!(remembered(&files, one).unwrap().as_secs(), 4, "nobody could know");
            executor.change_clock(0, |clock, _| clock.step_wall(-5_000_000));
            assert_eq!(remembered(&files, one), None, "it was written later than now");
        });
    }

    #[test]
    fn it_is_known_while_another_history_is_taken_in_beside_it() {
        use crate::io::Disk as _;
        run(3, async {
            let files = SimDisk::new(3).files();
            let [one, other, third] = [1, 2, 3].map(|it| ClusterId(Uuid::from_u128(it)));
            remember(&files, one, 2 * SECOND).unwrap();
            remember_beside(&files, third, SECOND).unwrap();
            remember_beside(&files, other, SECOND).unwrap();
            assert_eq!(remembered(&files, one).unwrap().as_secs(), 2);
            assert_eq!(remembered(&files, other).unwrap().as_secs(), 1);
            assert_eq!(remembered(&files, third), None, "nothing came of it");
            remember(&files, other, SECOND).unwrap();
            assert_eq!(remembered(&files, one), None, "it is the other now");
        });
    }
}
