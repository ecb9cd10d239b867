//! HTTP/1.1 as a client speaks it: many connections driven by one loop, or one that blocks. The loop also speaks to
//! Redis, so that the same client drives both.

pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod engine;
pub(crate) mod resp;
pub(crate) mod response;
pub(crate) mod target;
pub(crate) mod wire;
pub(crate) mod workload;
