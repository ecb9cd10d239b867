//! The end of a connection as its process holds it.

use std::{
    io::{self, IoSlice},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    Network,
    connection::{Broken, Connection, Side},
};
use crate::io::cores;

/// One end of a connection, which it closes when it is dropped.
pub struct Stream {
    connection: Rc<Connection>,
    side: Side,
}

impl Stream {
    pub(super) fn new(connection: Rc<Connection>, side: Side) -> Self {
        Self { connection, side }
    }

    pub async fn connect(address: &str, limit: Duration) -> io::Result<Self> {
        cores::in_time(limit, Network::current().connect(address)).await
    }

    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.arrived(buffer.len()).await?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    pub async fn read_onto(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let bytes = self.arrived(most).await?;
        buffer.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    async fn arrived(&self, most: usize) -> io::Result<Bytes> {
        let readable = &self.connection.end(self.side).readable;
        woken_until(readable, || self.connection.read(self.side, most)).await
    }

    pub async fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let writable = &self.connection.end(self.side).writable;
        woken_until(writable, || self.connection.write(self.side, parts)).await
    }

    pub fn close(&self) {
        self.connection.close(self.side);
    }

    /// Ends the connection by a reset.
    pub(super) fn reset(self) {
        let how = Broken::Here(io::ErrorKind::ConnectionAborted);
        self.connection.break_end(self.side, how);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.connection.end(self.side).has_unread() {
            let how = Broken::Here(io::ErrorKind::ConnectionAborted);
            self.connection.break_end(self.side, how);
        }
        self.connection.close(self.side);
    }
}

/// Tries until there is an outcome, each time after it was woken.
async fn woken_until<T>(woken: &Notify, mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(outcome) = attempt() {
            return outcome;
        }
        woken.notified().await;
    }
}
