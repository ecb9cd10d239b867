//! How many executors a process has, and what they run on.

use super::values::ExecutorChoice;
use crate::io::real::{
    core::{FileAccess, Kind},
    executor::{try_ring, try_uring},
    uring::allowed::UringError,
};

/// So many executors may be had on any machine, for trials.
const COUNT_MAX: usize = 64;

/// The most that there may be.
pub(super) fn count_max() -> usize {
    COUNT_MAX.max(processors())
}

/// One executor up to four processors; beyond, all but one.
pub(super) fn usual_count() -> usize {
    let processors = processors();
    if processors <= 4 { 1 } else { processors - 1 }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What so many executors run on. When io_uring cannot be used although that was free to be, a line of the
/// log says why.
///
/// # Errors
/// When it must be io_uring, and cannot.
pub(super) fn choose(choice: ExecutorChoice, executors: usize) -> Result<Kind, UringError> {
    match choice {
        ExecutorChoice::Portable => Ok(Kind::Portable(match try_ring(executors) {
            Ok(()) => FileAccess::Ring,
            Err(why) => {
                tracing::info!(%why, "files are read and written on threads (--executor portable)");
                FileAccess::Threads
            }
        })),
        ExecutorChoice::IoUring => try_uring(executors).map(|()| Kind::Uring),
        ExecutorChoice::Auto => Ok(match try_uring(executors) {
            Ok(()) => Kind::Uring,
            Err(why) => Kind::Portable(match try_ring(executors) {
                Ok(()) => {
                    tracing::info!(%why, "cores run on epoll, with io_uring for files alone (--executor portable)");
                    FileAccess::Ring
                }
                Err(_) => {
                    tracing::info!(%why, "cores run on epoll and threads (--executor portable)");
                    FileAccess::Threads
                }
            }),
        }),
    }
}
