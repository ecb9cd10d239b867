//! What every kind of load is made of: threads and connections, when requests are due, what is
//! written, and the proof that it is there.

pub(crate) mod fleet;
pub(crate) mod pace;
pub(crate) mod payload;
pub(crate) mod sampler;
pub(crate) mod sends;
pub(crate) mod sweep;
pub(crate) mod turn;
pub(crate) mod verify;
