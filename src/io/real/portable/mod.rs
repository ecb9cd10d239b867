//! Cores that do without io_uring: tasks in queues of the thread, sockets in its epoll, timers in a tree, and a
//! few threads for what waits for the disk. Where it is allowed, files are read and written by a small ring.

mod core;
pub mod cores;
pub mod executor;
pub(super) mod file;
mod inbox;
pub(super) mod ring;
mod threads;
mod timers;
