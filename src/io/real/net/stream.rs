//! Connections.

use std::{
    cell::RefCell,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    task::{Context, Poll},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{names::resolve, peer::Peer};
use crate::io::{callers::Callers, cores::in_time, real::polled::Polled};

/// A peer that is silent for this long is asked whether it lives.
pub(in crate::io) const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
/// How often it is.
pub(in crate::io) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
/// Bytes sent that are not acknowledged for this long end the connection.
pub(in crate::io) const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Bytes read from a connection at once.
pub(in crate::io) const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// What is read passes through here, so that a connection that waits for bytes
    /// holds no memory for them.
    static PASSAGE: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A connection. One task may read while another writes.
pub(in crate::io) struct Stream(Polled<TcpStream>);

impl Stream {
    /// A name is looked up each time; of several addresses each has its part of
    /// the time.
    pub(in crate::io) async fn connect(address: &str, limit: Duration) -> io::Result<Self> {
        let connect = async {
            let addresses = resolve(address).await?;
            let part = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
            let mut outcome = Err(io::ErrorKind::NotFound.into());
            for address in addresses.iter() {
                outcome = in_time(part, Self::connect_to(*address)).await;
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        };
        in_time(limit, connect).await
    }

    async fn connect_to(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        let under_way = match socket.connect(&address.into()) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
            Err(error) => return Err(error),
        };
        let stream = Self::new(socket.into(), Callers::Nodes)?;
        if under_way {
            stream.0.readiness().filled();
            stream.0.readiness().writable().await;
            if let Some(error) = stream.0.get_ref().take_error()? {
                return Err(error);
            }
        }
        Ok(stream)
    }

    pub(super) fn new(stream: TcpStream, callers: Callers) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        if callers == Callers::Nodes {
            let socket = SockRef::from(&stream);
            socket.set_tcp_keepalive(&KEEPALIVE)?;
            socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        }
        Ok(Self(Polled::new(stream)?))
    }

    pub(in crate::io) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readiness().readable().await;
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readiness().readable().await;
            match uninterrupted(|| self.0.get_ref().peek(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.readiness().drained();
                }
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) async fn read_onto(
        &self,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> io::Result<usize> {
        loop {
            self.0.readiness().readable().await;
            match through_passage(buffer, most, |part| self.try_read(part)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) async fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            self.0.readiness().writable().await;
            match self.try_write(parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = uninterrupted(|| self.0.get_ref().read(buffer));
        // Of a stream there is no more when it gives less than it was asked for, epoll(7).
        if uses_up(&outcome, buffer.len()) {
            self.0.readiness().drained();
        }
        outcome
    }

    pub(in crate::io) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = self.0.get_ref();
        let outcome = uninterrupted(|| match parts {
            [one] => socket.write(one),
            several => socket.write_vectored(several),
        });
        if uses_up(&outcome, parts.iter().map(|part| part.len()).sum()) {
            self.0.readiness().filled();
        }
        outcome
    }

    pub(in crate::io) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.readiness().poll_readable(cx)
    }

    pub(in crate::io) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.readiness().poll_writable(cx)
    }

    /// Nothing where the connection has ended.
    pub(in crate::io) fn peer(&self) -> Option<Peer> {
        self.0.get_ref().peer_addr().ok().map(Peer::from)
    }

    pub(in crate::io) fn close_write(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Write)
    }

    pub(in crate::io) fn reset_on_drop(&self, resets: bool) -> bool {
        SockRef::from(self.0.get_ref()).set_linger(resets.then_some(Duration::ZERO)).is_ok()
    }

    pub(in crate::io) fn close(&self) {
        // It may be closed already.
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }
}

/// Has `read` put some bytes onto the end of `buffer`, `most` at most.
pub(in crate::io) fn through_passage(
    buffer: &mut Vec<u8>,
    most: usize,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    PASSAGE.with_borrow_mut(|passage| {
        let room = most.min(passage.len());
        let count = read(&mut passage[..room])?;
        buffer.extend_from_slice(&passage[..count]);
        Ok(count)
    })
}

/// Whether a socket that was to move so many bytes has no more of what it moved them by.
fn uses_up(outcome: &io::Result<usize>, wanted: usize) -> bool {
    match outcome {
        Ok(moved) => *moved < wanted,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Tries again for as long as a signal is in the way.
pub(super) fn uninterrupted<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
