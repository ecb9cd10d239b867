//! HTTP/1.1 as a client speaks it: many connections driven by one loop, or one that blocks.

pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod engine;
pub(crate) mod response;
pub(crate) mod target;
pub(crate) mod wire;
pub(crate) mod workload;
