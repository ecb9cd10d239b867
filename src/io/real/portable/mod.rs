//! Cores that run where io_uring is not allowed: tasks in queues of the thread, sockets in its epoll, timers
//! in a tree, and a few threads for what waits for the disk.

mod core;
pub mod cores;
pub mod executor;
pub(super) mod file;
mod inbox;
mod threads;
mod timers;
