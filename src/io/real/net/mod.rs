//! Streams and listeners on sockets of the operating system.

mod listener;
mod names;
mod poller;
mod stream;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::io) use self::stream::{KEEPALIVE_INTERVAL, KEEPALIVE_TIME, UNACKNOWLEDGED};
pub(in crate::io) use self::{
    listener::Listener,
    stream::{READ_BYTES, Stream},
};

use std::io;

/// Tries again for as long as a signal is in the way.
fn uninterrupted<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
