//! What the executors of this process run on.

use super::values::ExecutorChoice;
use crate::io::real::{core::Kind, executor::try_uring, uring::allowed::UringError};

/// What so many executors run on. When it is not io_uring although that was free to be, a line of the log
/// says why.
///
/// # Errors
/// When it must be io_uring, and cannot.
pub(super) fn choose(choice: ExecutorChoice, executors: usize) -> Result<Kind, UringError> {
    match choice {
        ExecutorChoice::Portable => Ok(Kind::Portable),
        ExecutorChoice::IoUring => try_uring(executors).map(|()| Kind::Uring),
        ExecutorChoice::Auto => Ok(match try_uring(executors) {
            Ok(()) => Kind::Uring,
            Err(why) => {
                tracing::info!(%why, "cores run on epoll and threads (--executor portable)");
                Kind::Portable
            }
        }),
    }
}
