//! Threads of a core for calls that wait.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

type Work = Box<dyn FnOnce() + Send>;

/// A few threads, which are started when they are needed and end with this.
pub(super) struct Threads {
    name: &'static str,
    /// The most of them.
    most: usize,
    pool: Arc<Pool>,
}

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    come: Condvar,
}

#[derive(Default)]
struct State {
    /// Bounded by who gives work: each waits for it, or does it rarely.
    waiting: VecDeque<Work>,
    /// Threads that wait for work.
    idle: usize,
    started: usize,
    has_ended: bool,
}

impl Threads {
    /// So many threads at most, one of which is there at once: where there can be no more, it does all.
    ///
    /// # Errors
    /// When there can be none.
    pub(super) fn new(name: &'static str, most: usize) -> io::Result<Self> {
        let threads = Self { name, most, pool: Arc::default() };
        threads.start(&mut threads.pool.lock())?;
        Ok(threads)
    }

    fn start(&self, state: &mut State) -> io::Result<()> {
        let pool = Arc::clone(&self.pool);
        thread::Builder::new().name(self.name.into()).spawn(move || pool.run())?;
        state.started += 1;
        Ok(())
    }

    /// Has a thread do `work`, in turn.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = self.pool.lock();
        state.waiting.push_back(Box::new(work));
        if state.waiting.len() > state.idle && state.started < self.most {
            // Else another does it.
            let _ = self.start(&mut state);
        }
        drop(state);
        self.pool.come.notify_one();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.pool.lock().has_ended = true;
        self.pool.come.notify_all();
    }
}

impl Pool {
    /// Nothing can be wrong with it: no work is done while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                drop(state);
                work();
                state = self.lock();
            } else if state.has_ended {
                return;
            } else {
                state.idle += 1;
                state = self.come.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn as_many_do_work_at_once_as_there_may_be_and_all_is_done() {
        let threads = Threads::new("test", 3).unwrap();
        let (begun, told) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        for number in 0..5 {
            let (begun, gate) = (begun.clone(), Arc::clone(&gate));
            threads.run(move || {
                begun.send(number).unwrap();
                gate.lock().unwrap().recv_timeout(LIMIT).unwrap();
            });
        }
        let mut seen: Vec<_> = (0..3).map(|_| told.recv_timeout(LIMIT).unwrap()).collect();
        assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "a fourth thread");
        (0..5).for_each(|_| go.send(()).unwrap());
        seen.extend((0..2).map(|_| told.recv_timeout(LIMIT).unwrap()));
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn work_that_was_given_is_done_before_the_threads_end() {
        let (done, told) = mpsc::channel();
        let threads = Threads::new("test", 1).unwrap();
        for number in 0..100 {
            let done = done.clone();
            threads.run(move || done.send(number).unwrap());
        }
        drop((threads, done));
        assert_eq!(told.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }
}
