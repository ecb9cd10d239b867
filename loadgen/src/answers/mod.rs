//! What the bodies of answers say. Pure: they are fed bytes and know nothing of connections.

pub(crate) mod acknowledgement;
pub(crate) mod json;
pub(crate) mod page;
pub(crate) mod problem;
pub(crate) mod stream;
