//! Cores that glommio runs, on io_uring.

pub mod allowed;
pub mod cores;
pub(super) mod epoll;
pub mod executor;
pub(super) mod file;
