//! Runs one kind of load on several threads: connects them all, starts them together, shows a
//! line of progress meanwhile and collects what each brought.

use std::io::IsTerminal;
use std::ops::Range;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::stop;
use crate::http::engine::Engine;
use crate::http::target::Targets;
use crate::http::workload::ConnectAll;
use crate::measure::generator::ThreadTime;
use crate::measure::progress::Progress;

/// File descriptors needed besides the connections' own.
const FILES_SPARE: u64 = 64;
/// How long connections are waited for, besides a share for each of them.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How often the line of progress is redrawn on a terminal, and printed elsewhere.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
const PRINT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the end of the threads is looked for.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// Which threads and connections there are.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Where the connections go.
    pub(crate) targets: Targets,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    /// What the line of progress begins with; none is shown when absent.
    pub(crate) label: Option<&'static str>,
}

/// One thread of a fleet, when its connections stand.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    pub(crate) thread: usize,
    /// Global indices of its connections.
    pub(crate) indices: Range<usize>,
    /// The common start of all threads.
    pub(crate) start: Instant,
    pub(crate) progress: &'a Progress,
    pub(crate) engine: Engine,
}

impl Fleet {
    /// Runs `work` on every thread and hands back what each returned, in order. The first error
    /// of a thread is the error of all.
    pub(crate) fn run<T: Send>(
        &self,
        work: impl Fn(Crew<'_>) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        ensure!(self.threads >= 1, "--threads must be at least 1");
        ensure!(
            self.connections >= self.threads,
            "--connections must be at least --threads: every thread needs one"
        );
        raise_file_limit(self.connections as u64 + FILES_SPARE)?;
        let progress: Vec<Progress> = (0..self.threads).map(|_| Progress::default()).collect();
        let gate = Gate::new(self.threads);
        std::thread::scope(|scope| {
            let handles: Vec<_> = progress
                .iter()
                .enumerate()
                .map(|(thread, progress)| {
                    let (gate, work) = (&gate, &work);
                    scope.spawn(move || self.run_thread(thread, progress, gate, work))
                })
                .collect();
            let mut line = self.label.map(Line::new);
            while !handles.iter().all(|handle| handle.is_finished()) {
                std::thread::sleep(WATCH_INTERVAL);
                if let Some(line) = &mut line {
                    line.show(&progress, Instant::now());
                }
            }
            if let Some(line) = line {
                line.bar.finish_and_clear();
            }
            handles
                .into_iter()
                .map(|handle| handle.join().map_err(|_| anyhow!("a thread panicked"))?)
                .collect()
        })
    }

    fn run_thread<T>(
        &self,
        thread: usize,
        progress: &Progress,
        gate: &Gate,
        work: &(impl Fn(Crew<'_>) -> Result<T> + Sync),
    ) -> Result<T> {
        // Timers to the microsecond matter to an open loop; without it they are late by 50.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let indices = share(self.connections, thread, self.threads);
        let connected = self.connect(indices.clone());
        // Every thread passes the gate, also one that failed: else the others would wait.
        let start = gate.pass(connected.as_ref().err())?;
        let time = ThreadTime::begin();
        let worked = work(Crew { thread, indices, start, progress, engine: connected? });
        time.end();
        worked
    }

    /// Makes the connections; an error when not a single one to one of the targets could be.
    fn connect(&self, indices: Range<usize>) -> Result<Engine> {
        let patience = CONNECT_TIME + Duration::from_millis(indices.len() as u64);
        let mut engine = Engine::new(&self.targets, indices, self.timeout)?;
        let mut connecting = ConnectAll::until(Instant::now() + patience);
        engine.run(&mut connecting)?;
        if let Some(address) = engine.unreached().filter(|_| !stop::requested()) {
            let reason = connecting.failure.unwrap_or_else(|| "no answer".to_owned());
            bail!("cannot connect to {address}: {reason}");
        }
        Ok(engine)
    }
}

/// Lets all threads start at one moment, or none when one of them cannot.
#[derive(Debug)]
struct Gate {
    barrier: Barrier,
    failure: Mutex<Option<String>>,
    start: Mutex<Option<Instant>>,
}

impl Gate {
    fn new(threads: usize) -> Self {
        Self { barrier: Barrier::new(threads), failure: Mutex::default(), start: Mutex::default() }
    }

    fn pass(&self, failure: Option<&anyhow::Error>) -> Result<Instant> {
        if let Some(failure) = failure {
            lock(&self.failure).get_or_insert_with(|| format!("{failure:#}"));
        }
        self.barrier.wait();
        match lock(&self.failure).clone() {
            Some(failure) => Err(anyhow!(failure)),
            None => Ok(*lock(&self.start).get_or_insert_with(Instant::now)),
        }
    }
}

/// Locks; what a panicked thread left is still the best there is for a report.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which of `total` connections belong to this of `threads`.
fn share(total: usize, thread: usize, threads: usize) -> Range<usize> {
    total * thread / threads..total * (thread + 1) / threads
}

/// Raises the limit of open files as far as this process may, and tells when that is too little.
fn raise_file_limit(needed: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    }
    if let Some(maximum) = limit.maximum {
        ensure!(
            maximum >= needed,
            "{needed} open files are needed, but the hard limit is {maximum} (ulimit -Hn)"
        );
    }
    Ok(())
}

/// The line of progress: redrawn on a terminal, printed once a second elsewhere.
#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    label: &'static str,
    begun: Instant,
    shown: Instant,
    last: [u64; 3],
    terminal: bool,
}

impl Line {
    fn new(label: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let begun = Instant::now();
        Self { bar, label, begun, shown: begun, last: [0; 3], terminal }
    }

    fn show(&mut self, progress: &[Progress], now: Instant) {
        let elapsed = now - self.shown;
        if elapsed < if self.terminal { DRAW_INTERVAL } else { PRINT_INTERVAL } {
            return;
        }
        let mut sum = [0; 3];
        for counts in progress.iter().map(Progress::read) {
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        let rate = |index: usize| (sum[index] - self.last[index]) as f64 / elapsed.as_secs_f64();
        let text = format!(
            "{} {:5.1} s  {:>9.0} requests/s  {:>9.0} changes/s  {} requests, {} errors",
            self.label,
            (now - self.begun).as_secs_f64(),
            rate(0),
            rate(1),
            sum[0],
            sum[2],
        );
        if self.terminal {
            self.bar.set_message(text);
            self.bar.tick();
        } else {
            eprintln!("{text}");
        }
        self.shown = now;
        self.last = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn every_connection_belongs_to_exactly_one_thread() {
        let mut all = Vec::new();
        for thread in 0..3 {
            let indices = share(10, thread, 3);
            assert!(indices.len() >= 3);
            all.extend(indices);
        }
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }
}
