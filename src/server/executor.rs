//! One executor on a thread of its own, and the queues that its tasks run in.

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use glommio::{
    Latency, LocalExecutorBuilder, Placement, PoolPlacement, Shares, Task, TaskQueueHandle,
    timer::Timer,
};

use super::run::ServerError;

/// Memory registered with the kernel for each executor: little, so that the
/// usual limit on locked memory is enough for many.
const IO_MEMORY: usize = 1 << 20;
/// Threads of each executor for what would block it: cold reads, large bodies,
/// directory operations.
const BLOCKING_THREADS: usize = 4;
/// How long a queue runs before the executor looks at timers and other queues.
const SLICE: Duration = Duration::from_millis(1);
/// The same for the first queue, which only starts the others.
const FIRST_SLICE: Duration = Duration::from_secs(10);
/// The longest that an executor sleeps without looking at its tasks, while it
/// is busy and while it is idle.
const AWAKE_BUSY: Duration = Duration::from_millis(1);
const AWAKE_IDLE: Duration = Duration::from_millis(40);
/// Tasks run between two looks that make an executor busy: more than looking
/// itself and housekeeping take.
const BUSY_TASKS: u64 = 8;

/// Starts an executor that runs `main` in a queue of its own and then idles
/// until the process ends: taking it down would panic a blocking call that is
/// still under way. Whoever starts it has to [`watch`](Watch::look) it.
///
/// glommio has faults by which an executor may sleep although it has work. One
/// is understood: when its slice has run out before it looked at its tasks,
/// because its thread was off the processor, it takes them for done. The first
/// slice is therefore too long for that to happen before there is a timer, and
/// from then on a timer wakes it. Now and then a timer is lost, too; then the
/// watch wakes it.
///
/// # Errors
/// When the thread or its rings cannot be made.
pub fn start<F>(
    name: &'static str,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<Watch, ServerError>
where
    F: Future<Output = ()> + 'static,
{
    let pulse = Arc::new(Pulse::default());
    let watch = Watch { name, pulse: Arc::clone(&pulse), seen: 0 };
    LocalExecutorBuilder::new(Placement::Unbound)
        .name(name)
        .io_memory(IO_MEMORY)
        .preempt_timer(FIRST_SLICE)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
        .spawn(move || async move {
            let queue = queue(name);
            for task in [spawn_into(stay_awake(pulse), queue), spawn_into(main(), queue)] {
                task.expect("a queue that was just made takes tasks").detach();
            }
            std::future::pending::<()>().await;
        })
        .map_err(|error| ServerError::Executor(error.to_string()))?;
    Ok(watch)
}

/// The sign of life of an executor.
#[derive(Default)]
struct Pulse {
    beats: AtomicU64,
    thread: OnceLock<libc::pthread_t>,
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
            unsafe { libc::pthread_kill(thread, WAKE_SIGNAL) };
        }
        self.seen = beats;
    }
}

/// Interrupts the system call that an executor sleeps in.
const WAKE_SIGNAL: libc::c_int = libc::SIGURG;

/// Makes the signal that wakes executors interrupt and do nothing else.
///
/// # Errors
/// What the system reports.
pub fn prepare_wake_signal() -> io::Result<()> {
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

/// A queue of this executor, equal to its others.
#[must_use]
pub fn queue(name: &str) -> TaskQueueHandle {
    glommio::executor().create_task_queue(Shares::Static(1000), Latency::Matters(SLICE), name)
}

/// Starts a task in `queue`; what it starts stays there.
///
/// # Errors
/// When there is no such queue.
pub fn spawn_into<T: 'static>(
    task: impl Future<Output = T> + 'static,
    queue: TaskQueueHandle,
) -> Result<Task<T>, ServerError> {
    glommio::spawn_local_into(task, queue).map_err(|error| ServerError::Executor(error.to_string()))
}

async fn stay_awake(pulse: Arc<Pulse>) {
    // SAFETY: it has no preconditions.
    pulse.thread.get_or_init(|| unsafe { libc::pthread_self() });
    loop {
        pulse.beats.fetch_add(1, Ordering::Relaxed);
        // Counted since the last call.
        let busy = glommio::executor().executor_stats().tasks_executed() > BUSY_TASKS;
        Timer::new(if busy { AWAKE_BUSY } else { AWAKE_IDLE }).await;
    }
}
