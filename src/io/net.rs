//! Byte streams between nodes. Everything above speaks to [`Stream`] and
//! [`Listener`] alone, so that what carries the bytes can change: to sockets of the
//! operating system, to the network of a simulation, to TLS one day.

use std::{
    io::{self, IoSlice},
    net::TcpListener,
    time::Duration,
};

use super::real;
#[cfg(test)]
use super::simulated;

/// Bytes read from a connection at once.
pub const READ_BYTES: usize = real::net::READ_BYTES;

/// A connection. One task may read while another writes. It ends when it is dropped.
pub struct Stream(Carrier);

/// What carries the bytes. A shipped build has one kind, and so no cost of it.
enum Carrier {
    Real(real::net::Stream),
    #[cfg(test)]
    Simulated(simulated::net::Stream),
}

impl Stream {
    /// Connects to `address`, `host:port`, within `limit`.
    ///
    /// # Errors
    /// What the network reports, `TimedOut` among it.
    pub async fn connect(address: &str, limit: Duration) -> io::Result<Self> {
        #[cfg(test)]
        if simulated::cores::is_here() {
            let stream = simulated::net::Stream::connect(address, limit).await?;
            return Ok(Self(Carrier::Simulated(stream)));
        }
        real::net::Stream::connect(address, limit).await.map(Carrier::Real).map(Self)
    }

    /// Reads some bytes; 0 at the end of the stream.
    ///
    /// # Errors
    /// What the network reports.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Carrier::Real(stream) => stream.read(buffer).await,
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.read(buffer).await,
        }
    }

    /// Reads some bytes onto the end of `buffer`, `most` at most; 0 at the end of
    /// the stream.
    ///
    /// # Errors
    /// What the network reports.
    pub async fn read_onto(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        match &self.0 {
            Carrier::Real(stream) => stream.read_onto(buffer, most).await,
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.read_onto(buffer, most).await,
        }
    }

    /// Fills the buffer.
    ///
    /// # Errors
    /// What the network reports, and `UnexpectedEof`.
    pub async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => buffer = &mut buffer[read..],
            }
        }
        Ok(())
    }

    /// Writes some bytes of the parts, one after the other.
    ///
    /// # Errors
    /// What the network reports.
    pub async fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Carrier::Real(stream) => stream.write(parts).await,
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.write(parts).await,
        }
    }

    /// Ends both directions: reads and writes under way end too.
    pub fn close(&self) {
        match &self.0 {
            Carrier::Real(stream) => stream.close(),
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.close(),
        }
    }
}

/// Where connections come in.
pub struct Listener(Entrance);

enum Entrance {
    Real(real::net::Listener),
    #[cfg(test)]
    Simulated(simulated::net::Listener),
}

impl Listener {
    /// Accepts on `listener`, which must be non-blocking.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        real::net::Listener::new(listener).map(Entrance::Real).map(Self)
    }

    /// Accepts what is called at `address` in a simulation, for the process of the
    /// caller.
    ///
    /// # Errors
    /// `AddrInUse`
    #[cfg(test)]
    pub fn simulated(address: &str) -> io::Result<Self> {
        simulated::net::Listener::bind(address).map(Entrance::Simulated).map(Self)
    }

    /// The next connection.
    pub async fn accept(&self) -> Stream {
        match &self.0 {
            Entrance::Real(listener) => Stream(Carrier::Real(listener.accept().await)),
            #[cfg(test)]
            Entrance::Simulated(listener) => Stream(Carrier::Simulated(listener.accept().await)),
        }
    }
}
