//! Streams and listeners on sockets of the operating system.

mod listener;
mod names;
mod peer;
mod stream;
#[cfg(test)]
mod tests;

pub use self::peer::{Network, Peer};
#[cfg(test)]
pub(in crate::io) use self::stream::{KEEPALIVE_INTERVAL, KEEPALIVE_TIME, UNACKNOWLEDGED};
pub(in crate::io) use self::{
    listener::Listener,
    stream::{READ_BYTES, Stream, through_passage},
};
