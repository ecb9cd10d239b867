//! One executor on a thread of its own, and the queues that its tasks run in.

use std::{future::Future, time::Duration};

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
const AWAKE_IDLE: Duration = Duration::from_millis(10);
/// Tasks run between two looks that make an executor busy: more than looking
/// itself and housekeeping take.
const BUSY_TASKS: u64 = 8;

/// Starts an executor that runs `main` in a queue of its own and then idles
/// until the process ends: taking it down would panic a blocking call that is
/// still under way.
///
/// glommio has a fault that the queues and slices here are chosen around: an
/// executor whose slice has run out before it looked at its tasks, because its
/// thread was off the processor, takes them for done and sleeps until the next
/// event. So the first slice is too long for that to happen before anything
/// else could wake it, and from then on a timer does.
///
/// # Errors
/// When the thread or its rings cannot be made.
pub fn start<F>(
    name: &'static str,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<(), ServerError>
where
    F: Future<Output = ()> + 'static,
{
    LocalExecutorBuilder::new(Placement::Unbound)
        .name(name)
        .io_memory(IO_MEMORY)
        .preempt_timer(FIRST_SLICE)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
        .spawn(move || async move {
            let queue = queue(name);
            for task in [spawn_into(stay_awake(), queue), spawn_into(main(), queue)] {
                task.expect("a queue that was just made takes tasks").detach();
            }
            std::future::pending::<()>().await;
        })
        .map(drop)
        .map_err(|error| ServerError::Executor(error.to_string()))
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

async fn stay_awake() {
    loop {
        // Counted since the last call.
        let busy = glommio::executor().executor_stats().tasks_executed() > BUSY_TASKS;
        Timer::new(if busy { AWAKE_BUSY } else { AWAKE_IDLE }).await;
    }
}
