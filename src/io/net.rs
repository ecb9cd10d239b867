//! Byte streams between nodes, and between them and their clients. Everything above
//! speaks to [`Stream`] and [`Listener`] alone, so that what carries the bytes can
//! change: sockets of the operating system, TLS on these, the network of a simulation.

use std::{
    io::{self, IoSlice},
    net::TcpListener,
    task::{Context, Poll},
    time::Duration,
};

#[cfg(test)]
use super::simulated;
use super::{
    cores::in_time,
    real,
    tls::{Caller, Entrance as TlsEntrance, Session, UnderWay},
};

pub use super::{
    callers::Callers,
    real::net::{Network, Peer},
};

/// Bytes read from a connection at once.
pub const READ_BYTES: usize = real::net::READ_BYTES;

/// A connection. One task may read while another writes. It ends when it is dropped.
pub struct Stream(Carrier);

/// What carries the bytes.
enum Carrier {
    Real(real::net::Stream),
    /// Apart, since it is large.
    Secured(Box<Session>),
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

    /// Connects to `address` and speaks TLS there, as `caller` says, all within `limit`.
    ///
    /// # Errors
    /// What the network reports; `InvalidData` where the other end is not to be trusted, or does not
    /// trust this one.
    pub async fn connect_secured(
        address: &str,
        limit: Duration,
        caller: &Caller,
    ) -> io::Result<Self> {
        let connect = async {
            let stream = real::net::Stream::connect(address, limit).await?;
            let session = Box::new(Session::connected(stream, caller, host_of(address))?);
            session.shake(async || ()).await?;
            Ok(Self(Carrier::Secured(session)))
        };
        in_time(limit, connect).await
    }

    /// Speaks TLS with who has connected, from now on. Each step of the handshake is computed when `turn` has come,
    /// and while what that gives is held.
    ///
    /// # Errors
    /// What the network reports; `InvalidData` where the other end does not speak TLS, or must not come in.
    pub async fn secured<T>(
        self,
        entrance: &TlsEntrance,
        turn: impl AsyncFn() -> T,
    ) -> io::Result<Self> {
        match self.0 {
            Carrier::Real(stream) => {
                let session = Box::new(Session::accepted(stream, entrance)?);
                session.shake(turn).await?;
                Ok(Self(Carrier::Secured(session)))
            }
            Carrier::Secured(_) => Err(io::Error::other("it speaks TLS already")),
            #[cfg(test)]
            Carrier::Simulated(_) => Err(io::Error::other("nothing is secured in a simulation")),
        }
    }

    /// The same with the handshake to be done by [`session`](Self::session).
    pub(super) fn begun(self, entrance: &TlsEntrance) -> io::Result<Self> {
        match self.0 {
            Carrier::Real(stream) => {
                Ok(Self(Carrier::Secured(Box::new(Session::accepted(stream, entrance)?))))
            }
            carrier => Ok(Self(carrier)),
        }
    }

    /// What it has of TLS, if it speaks that.
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.0 {
            Carrier::Secured(session) => Some(session),
            _ => None,
        }
    }

    /// Who is at the other end, where that is known.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        match &self.0 {
            Carrier::Real(stream) => stream.peer(),
            Carrier::Secured(session) => session.peer(),
            #[cfg(test)]
            Carrier::Simulated(_) => None,
        }
    }

    /// What is on its way: under TLS bytes count as written once all of their records are with the
    /// socket.
    #[must_use]
    pub fn under_way(&self) -> UnderWay {
        match &self.0 {
            Carrier::Secured(session) => session.under_way(),
            _ => UnderWay::default(),
        }
    }

    /// Waits until something can be read, and looks at how it begins without taking it; 0 at the end.
    ///
    /// # Errors
    /// What the network reports; `Unsupported` for other streams than plain sockets.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Carrier::Real(stream) => stream.peek(buffer).await,
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Reads some bytes; 0 at the end of the stream.
    ///
    /// # Errors
    /// What the network reports.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Carrier::Real(stream) => stream.read(buffer).await,
            Carrier::Secured(session) => session.read(buffer).await,
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
            Carrier::Secured(session) => session.read_onto(buffer, most).await,
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
            Carrier::Secured(session) => session.write(parts).await,
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.write(parts).await,
        }
    }

    /// Reads what is there without waiting for more; 0 at the end of the stream.
    ///
    /// # Errors
    /// What the network reports; `WouldBlock` when there is nothing yet.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Carrier::Real(stream) => stream.try_read(buffer),
            Carrier::Secured(session) => session.try_read(buffer),
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.try_read(buffer),
        }
    }

    /// Writes of the parts, one after the other, what there is room for.
    ///
    /// # Errors
    /// What the network reports; `WouldBlock` when there is no room yet.
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Carrier::Real(stream) => stream.try_write(parts),
            Carrier::Secured(session) => session.try_write(parts),
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.try_write(parts),
        }
    }

    /// Ready when there may be something to read, be it the end. One task at a time waits for
    /// that.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0 {
            Carrier::Real(stream) => stream.poll_readable(cx),
            Carrier::Secured(session) => session.poll_readable(cx),
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.poll_readable(cx),
        }
    }

    /// Ready when there may be room for more, or nothing can be written any longer. One task at a
    /// time waits for that.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0 {
            Carrier::Real(stream) => stream.poll_writable(cx),
            Carrier::Secured(session) => session.poll_writable(cx),
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.poll_writable(cx),
        }
    }

    /// Tells the other end that nothing more comes. It may go on to send.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn close_write(&self) -> io::Result<()> {
        match &self.0 {
            Carrier::Real(stream) => stream.close_write(),
            Carrier::Secured(session) => session.close_write(),
            #[cfg(test)]
            Carrier::Simulated(stream) => {
                stream.close_write();
                Ok(())
            }
        }
    }

    /// Has the other end see a reset once this is dropped, and what is still on its way
    /// there be thrown away, or not; whether that is so.
    pub fn reset_on_drop(&self, resets: bool) -> bool {
        match &self.0 {
            Carrier::Real(stream) => stream.reset_on_drop(resets),
            Carrier::Secured(session) => session.reset_on_drop(resets),
            #[cfg(test)]
            Carrier::Simulated(stream) => {
                stream.reset_on_drop(resets);
                true
            }
        }
    }

    /// Ends both directions: reads and writes under way end too.
    pub fn close(&self) {
        match &self.0 {
            Carrier::Real(stream) => stream.close(),
            Carrier::Secured(session) => session.close(),
            #[cfg(test)]
            Carrier::Simulated(stream) => stream.close(),
        }
    }
}

/// The host of `host:port`.
pub(super) fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Where connections come in.
pub struct Listener(Entrance);

enum Entrance {
    Real(real::net::Listener),
    #[cfg(test)]
    Simulated(simulated::net::Listener),
}

impl Listener {
    /// Accepts `callers` on `listener`, which must be non-blocking.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn new(listener: TcpListener, callers: Callers) -> io::Result<Self> {
        real::net::Listener::new(listener, callers).map(Entrance::Real).map(Self)
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

    /// A connection that waits to be accepted.
    ///
    /// # Errors
    /// What the network reports; `WouldBlock` when none waits.
    pub fn try_accept(&self) -> io::Result<Stream> {
        match &self.0 {
            Entrance::Real(listener) => listener.try_accept().map(Carrier::Real).map(Stream),
            #[cfg(test)]
            Entrance::Simulated(listener) => {
                listener.try_accept().map(Carrier::Simulated).map(Stream)
            }
        }
    }

    /// Waits until a connection may be there.
    pub async fn acceptable(&self) {
        match &self.0 {
            Entrance::Real(listener) => listener.acceptable().await,
            #[cfg(test)]
            Entrance::Simulated(listener) => listener.acceptable().await,
        }
    }
}
