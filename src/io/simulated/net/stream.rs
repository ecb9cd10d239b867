//! The end of a connection as its process holds it.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Network,
    connection::Connection,
    end::{Broken, Side},
};
use crate::io::cores;

/// One end of a connection, which it closes when it is dropped.
pub struct Stream {
    connection: Rc<Connection>,
    side: Side,
    /// The other end is to see a reset then.
    resets: Cell<bool>,
}

impl Stream {
    pub(super) fn new(connection: Rc<Connection>, side: Side) -> Self {
        Self { connection, side, resets: Cell::default() }
    }

    pub async fn connect(address: &str, limit: Duration) -> io::Result<Self> {
        cores::in_time(limit, Network::current().connect(address)).await
    }

    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_readable(cx)).await;
        self.try_read(buffer)
    }

    pub async fn read_onto(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_readable(cx)).await;
        let bytes = self.arrived(most)?;
        buffer.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    pub async fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_writable(cx)).await;
        self.try_write(parts)
    }

    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.arrived(buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn arrived(&self, most: usize) -> io::Result<Bytes> {
        self.connection.read(self.side, most).unwrap_or_else(would_block)
    }

    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.write(self.side, parts).unwrap_or_else(would_block)
    }

    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.connection.is_readable(self.side) {
            return Poll::Ready(());
        }
        self.connection.end(self.side).readable.wait(cx);
        Poll::Pending
    }

    pub fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.connection.is_writable(self.side) {
            return Poll::Ready(());
        }
        self.connection.end(self.side).writable.wait(cx);
        Poll::Pending
    }

    pub fn close_write(&self) {
        self.connection.close_write(self.side);
    }

    pub fn reset_on_drop(&self, resets: bool) {
        self.resets.set(resets);
    }

    pub fn close(&self) {
        self.connection.close(self.side);
    }

    /// Ends the connection by a reset.
    pub(super) fn reset(self) {
        self.reset_on_drop(true);
    }
}

fn would_block<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.resets.get() || self.connection.end(self.side).has_unread() {
            let how = Broken::Here(io::ErrorKind::ConnectionAborted);
            self.connection.break_end(self.side, how);
        }
        self.connection.close(self.side);
    }
}
