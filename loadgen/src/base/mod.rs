//! What everything else stands on: the stop that Ctrl-C asks for, and chance.

pub(crate) mod random;
pub(crate) mod stop;
