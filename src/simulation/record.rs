//! What happens in a run, in order: the trace for people, the history for the oracle.

use std::{
    cell::{Cell, Ref, RefCell},
    fmt::Write as _,
    io,
    rc::Rc,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::{
    coverage::Coverage,
    history::{Call, Moment},
};
use crate::io::simulated::executor::Executor;

thread_local! {
    /// The trace of the run on this thread.
    static TRACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The record of one run. Clones are the same.
#[derive(Clone, Default)]
pub struct Record(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// When each moment was.
    times: RefCell<Vec<Duration>>,
    label: Cell<u64>,
    history: RefCell<Vec<Call>>,
    coverage: RefCell<Coverage>,
}

impl Record {
    /// A moment after all that were given before.
    pub fn moment(&self) -> Moment {
        let time = Executor::try_current().map(|executor| executor.elapsed());
        let mut times = self.0.times.borrow_mut();
        times.push(time.unwrap_or_default());
        times.len() as Moment - 1
    }

    /// When each moment was, since the run began.
    pub fn times(&self) -> Ref<'_, Vec<Duration>> {
        self.0.times.borrow()
    }

    /// What tells a change from all others.
    pub fn label(&self) -> u64 {
        self.0.label.replace(self.0.label.get() + 1)
    }

    /// Notes what a client asked and was told.
    pub fn call(&self, call: Call) {
        note(&call.to_string());
        self.count(&format!("{}: {}", call.asked.kind(), call.told.outcome()));
        self.0.history.borrow_mut().push(call);
    }

    /// Notes that something happened once more.
    pub fn count(&self, name: &str) {
        self.0.coverage.borrow_mut().add(name, 1);
    }

    /// Takes out how often each thing happened.
    pub fn take_coverage(&self) -> Coverage {
        self.0.coverage.take()
    }

    /// Looks at all that was noted for the oracle so far.
    pub fn with_history<T>(&self, look: impl FnOnce(&[Call]) -> T) -> T {
        look(&self.0.history.borrow())
    }

    /// Takes out all that was noted for the oracle.
    pub fn take_history(&self) -> Vec<Call> {
        self.0.history.take()
    }
}

/// Adds a line to the trace.
pub fn note(text: &str) {
    let time = Executor::try_current().map(|executor| executor.elapsed());
    TRACE.with_borrow_mut(|trace| {
        let time = time.unwrap_or_default().as_secs_f64();
        writeln!(trace, "{time:11.6} {text}").unwrap();
    });
}

/// Takes out the trace.
pub fn take_trace() -> String {
    TRACE.take()
}

/// Has what nodes say to operators stand in the trace, while `run` goes on.
pub fn with_logs<T>(run: impl FnOnce() -> T) -> T {
    // More is said with `LOG`, as `LOG=debug` or `LOG=changeagent=debug,openraft=info`. What
    // openraft says bears the time of the machine, so that runs differ then.
    let filter = std::env::var("LOG").unwrap_or_else(|_| "changeagent=info".into());
    let subscriber = tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_env_filter(EnvFilter::new(filter))
        .with_target(false)
        .with_writer(Logs)
        .finish();
    tracing::subscriber::with_default(subscriber, run)
}

struct Logs;

impl<'w> MakeWriter<'w> for Logs {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        Self
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let process = Executor::try_current().map_or(0, |executor| executor.process());
        note(&format!("node {process}: {}", String::from_utf8_lossy(bytes).trim()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
