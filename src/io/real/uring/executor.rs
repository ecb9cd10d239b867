//! One executor on a thread of its own, and the queues that its tasks run in.

use std::{
    future::Future,
    io, iter,
    mem::MaybeUninit,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures_util::future::select_all;
use glommio::{
    GlommioError, Latency, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, Shares,
    TaskQueueHandle, timer::Timer,
};

use super::allowed;
use crate::io::real::core::{BLOCKING_THREADS, ExecutorError, Purpose, SLICE};

/// Memory registered with each ring of an executor, for direct I/O: little, so
/// that the usual limit of locked memory is enough.
const LOG_IO_BYTES: usize = 1 << 20;
/// The same where there is none: the least that glommio takes.
const SERVE_IO_BYTES: usize = 64 << 10;
/// How often rings are tried before it is an error: the kernel counts the memory of
/// rings that were given up for a moment longer.
const RING_TRIES: u32 = 10;
/// The pause between two tries.
const RING_PAUSE: Duration = Duration::from_millis(10);
/// How long the first queue runs before the executor looks at timers and other queues:
/// it only starts the others.
const FIRST_SLICE: Duration = Duration::from_secs(10);
/// The longest that an executor sleeps without looking at its tasks, while it
/// is busy and while it is idle.
const AWAKE_BUSY: Duration = Duration::from_millis(1);
const AWAKE_IDLE: Duration = Duration::from_millis(40);
/// How much later it is woken again, if the task that was woken then did not run: each time
/// that is missed, too, the next one is left.
const AWAKE_AGAIN_MS: [u64; 5] = [1, 4, 16, 64, 256];
/// Tasks run between two looks that make an executor busy: more than looking
/// itself and housekeeping take.
const BUSY_TASKS: u64 = 8;

/// Starts an executor that runs `main` in a queue of its own and then idles
/// until the process ends: taking it down would panic a blocking call that is
/// still under way. Whoever starts it has to [`watch`](Watch::look) it.
///
/// glommio has a fault by which an executor sleeps although it has work: when its
/// slice has run out before it looked at its tasks, because its thread was off the
/// processor, or when anything else arrived just then, it takes them for done. The
/// first slice is therefore too long for that to happen before there are timers.
/// From then on timers wake it: whenever it sleeps, one is still to fire, unless
/// its thread was off the processor for longer than the last of them is away. Then
/// the watch wakes it.
///
/// # Errors
/// When the thread, its rings or the handler of the signal that wakes it cannot be
/// made.
pub fn start<F>(
    purpose: Purpose,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<Watch, ExecutorError>
where
    F: Future<Output = ()> + 'static,
{
    start_with(purpose, SLICE, main)
}

/// The same with queues that run for `slice`.
fn start_with<F>(
    purpose: Purpose,
    slice: Duration,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<Watch, ExecutorError>
where
    F: Future<Output = ()> + 'static,
{
    prepare_wake_signal()
        .map_err(|error| ExecutorError::System("cannot set a signal handler", error))?;
    let name = purpose.name();
    let pulse = Arc::new(Pulse::default());
    let watch = Watch { name, pulse: Arc::clone(&pulse), seen: 0 };
    let (made, outcome) = mpsc::sync_channel(1);
    let run = move || {
        let executor = match make(purpose) {
            Ok(executor) => executor,
            // It is waited for below.
            Err(error) => return drop(made.send(Err(error))),
        };
        let _ = made.send(Ok(()));
        executor.run(async move {
            let queue = queue_with(slice, name);
            let awake = glommio::spawn_local_into(stay_awake(pulse), queue);
            awake.expect("a queue that was just made takes tasks").detach();
            let main = glommio::spawn_local_into(main(), queue);
            main.expect("a queue that was just made takes tasks").detach();
            std::future::pending::<()>().await;
        });
    };
    let thread = thread::Builder::new().name(name.into()).spawn(run);
    thread.map_err(|error| ExecutorError::System("cannot start a thread", error))?;
    let ended = |_| ExecutorError::Make("its thread ended".into());
    outcome.recv().map_err(ended)??;
    Ok(watch)
}

/// Memory registered with its rings.
fn io_bytes(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Raft => LOG_IO_BYTES,
        Purpose::Serve => SERVE_IO_BYTES,
    }
}

/// Makes the executor of this thread.
fn make(purpose: Purpose) -> Result<LocalExecutor, ExecutorError> {
    let mut failure = String::new();
    for _ in 0..RING_TRIES {
        let made = LocalExecutorBuilder::new(Placement::Unbound)
            .name(purpose.name())
            .io_memory(io_bytes(purpose))
            .ring_depth(allowed::DEPTH as usize)
            .preempt_timer(FIRST_SLICE)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
            .make();
        match made {
            Ok(executor) => return Ok(executor),
            Err(error) if !is_out_of_memory(&error) => {
                return Err(ExecutorError::Make(error.to_string()));
            }
            Err(error) => failure = format!(": {error}"),
        }
        thread::sleep(RING_PAUSE);
    }
    Err(ExecutorError::Make(format!(
        "the limit of locked memory (RLIMIT_MEMLOCK) leaves no room for the rings of io_uring{failure}"
    )))
}

fn is_out_of_memory(error: &GlommioError<()>) -> bool {
    error.raw_os_error() == Some(libc::ENOMEM)
}

/// The sign of life of an executor.
#[derive(Default)]
struct Pulse {
    beats: AtomicU64,
    /// Its thread, a `pthread_t`: a number with glibc, an address with musl.
    thread: OnceLock<usize>,
}

/// Looks after an executor from another thread.
pub struct Watch {
    name: &'static str,
    pulse: Arc<Pulse>,
    seen: u64,
}

impl Watch {
    /// How often to look: longer than a living executor is ever silent.
    pub const PERIOD: Duration = Duration::from_millis(100);

    /// Wakes the executor if it gave no sign of life since the last look. One
    /// that is only busy takes no harm.
    pub fn look(&mut self) {
        let beats = self.pulse.beats.load(Ordering::Relaxed);
        if beats == self.seen
            && let Some(&thread) = self.pulse.thread.get()
        {
            tracing::debug!(executor = self.name, "woken by its watch");
            // SAFETY: executors live until the process ends, and so do their
            // threads.
            unsafe { libc::pthread_kill(thread as libc::pthread_t, WAKE_SIGNAL) };
        }
        self.seen = beats;
    }
}

/// Interrupts the system call that an executor sleeps in.
const WAKE_SIGNAL: libc::c_int = libc::SIGURG;

/// Makes the signal that wakes executors interrupt and do nothing else: by default
/// it does not even interrupt.
fn prepare_wake_signal() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a valid `sigaction`: no flags, so that calls are not
    // restarted, and an empty mask. The handler does nothing, which is safe at
    // any point.
    let status = unsafe {
        (*action.as_mut_ptr()).sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(WAKE_SIGNAL, action.as_ptr(), std::ptr::null_mut())
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn queue_with(slice: Duration, name: &str) -> TaskQueueHandle {
    glommio::executor().create_task_queue(Shares::Static(1000), Latency::Matters(slice), name)
}

/// Starts a task in a queue of its own, equal to the others; what it starts stays there.
pub fn spawn_apart(name: &str, task: impl Future<Output = ()> + 'static) {
    let started = glommio::spawn_local_into(task, queue_with(SLICE, name));
    started.expect("a queue that was just made takes tasks").detach();
}

async fn stay_awake(pulse: Arc<Pulse>) {
    // SAFETY: it has no preconditions.
    pulse.thread.get_or_init(|| unsafe { libc::pthread_self() } as usize);
    loop {
        pulse.beats.fetch_add(1, Ordering::Relaxed);
        // Counted since the last call.
        let busy = glommio::executor().executor_stats().tasks_executed() > BUSY_TASKS;
        let awake = if busy { AWAKE_BUSY } else { AWAKE_IDLE };
        // When this task is woken and does not run, the later timers are still there.
        let later = |ms: &u64| Timer::new(awake + Duration::from_millis(*ms));
        let timers = iter::once(Timer::new(awake)).chain(AWAKE_AGAIN_MS.iter().map(later));
        select_all(timers).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _};

    use super::*;

    /// An executor that never comes back to its tasks is in no other state than one that sleeps in a
    /// system call.
    #[test]
    fn the_watch_interrupts_the_system_call_that_an_executor_sleeps_in() {
        let (mut empty, _writer) = io::pipe().unwrap();
        let (done, outcome) = mpsc::channel();
        let (begun, sleeping) = mpsc::channel();
        let read = move |pipe: &mut PipeReader| pipe.read(&mut [0]).unwrap_err().kind();
        let mut watch = start(Purpose::Serve, move || async move {
            begun.send(()).unwrap();
            done.send(read(&mut empty)).unwrap();
        })
        .unwrap();
        sleeping.recv().unwrap();
        let woken = (0..100).find_map(|_| {
            watch.look();
            outcome.recv_timeout(Watch::PERIOD).ok()
        });
        assert_eq!(woken, Some(io::ErrorKind::Interrupted));
    }

    /// With a slice that often has run out before the executor looks at its tasks, as on a machine
    /// short of processors. Nobody looks after it from outside.
    #[test]
    fn an_executor_whose_slice_ran_out_too_early_comes_back_by_itself() {
        const ROUNDS: usize = 20_000;
        let (done, outcome) = mpsc::channel();
        let slice = Duration::from_micros(50);
        let watch = start_with(Purpose::Serve, slice, move || async move {
            for _ in 0..ROUNDS {
                glommio::executor().spawn_blocking(|| ()).await;
            }
            done.send(()).unwrap();
        });
        assert!(watch.is_ok());
        outcome.recv_timeout(Duration::from_secs(60)).expect("it sleeps for ever");
    }
}
