//! Streams and listeners on sockets of the operating system.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use glommio::io::{PollState, PollableFd};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::io::{
    cores::{self, in_time},
    net::Callers,
};

/// A peer that is silent for this long is asked whether it lives.
pub(in crate::io) const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
/// How often it is.
pub(in crate::io) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
/// Bytes sent that are not acknowledged for this long end the connection.
pub(in crate::io) const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// How long to wait after accepting failed, as it does without descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes read from a connection at once.
pub(in crate::io) const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// What is read passes through here, so that a connection that waits for bytes
    /// holds no memory for them.
    static PASSAGE: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A connection. One task may read while another writes.
pub(in crate::io) struct Stream(PollableFd<TcpStream>);

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
            stream.0.writable().await?;
            if let Some(error) = stream.0.get_ref().take_error()? {
                return Err(error);
            }
        }
        Ok(stream)
    }

    fn new(stream: TcpStream, callers: Callers) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        if callers == Callers::Nodes {
            let socket = SockRef::from(&stream);
            socket.set_tcp_keepalive(&KEEPALIVE)?;
            socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        }
        Ok(Self(PollableFd::new(stream)?))
    }

    pub(in crate::io) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.readable().await?;
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
            let outcome = PASSAGE.with_borrow_mut(|passage| {
                let room = most.min(passage.len());
                let read = self.try_read(&mut passage[..room])?;
                buffer.extend_from_slice(&passage[..read]);
                Ok(read)
            });
            match outcome {
                Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {
                    self.0.readable().await?;
                }
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) async fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.try_write(parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.writable().await?;
                }
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.get_ref().read(buffer))
    }

    pub(in crate::io) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = self.0.get_ref();
        uninterrupted(|| match parts {
            [one] => socket.write(one),
            several => socket.write_vectored(several),
        })
    }

    pub(in crate::io) fn poll_readable(
        &self,
        cx: &mut Context<'_>,
        watch: &mut Watch,
    ) -> Poll<io::Result<()>> {
        self.0.poll_readable(cx, watch).map_err(io::Error::from)
    }

    pub(in crate::io) fn poll_writable(
        &self,
        cx: &mut Context<'_>,
        watch: &mut Watch,
    ) -> Poll<io::Result<()>> {
        self.0.poll_writable(cx, watch).map_err(io::Error::from)
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

/// Where one wait keeps that the kernel was asked.
pub(in crate::io) type Watch = PollState;

/// Tries again for as long as a signal is in the way.
fn uninterrupted<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// What a name stands for, or why that is not known.
type Found = Result<Rc<[SocketAddr]>, (io::ErrorKind, String)>;

thread_local! {
    /// Names that are being looked up: one at a time for each, since a name server
    /// that does not answer would hold a thread for every try to connect.
    static LOOKUPS: RefCell<HashMap<String, Shared<LocalBoxFuture<'static, Found>>>> =
        RefCell::default();
}

/// The addresses of `host:port`.
async fn resolve(address: &str) -> io::Result<Rc<[SocketAddr]>> {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Ok([address].into());
    }
    let under_way = LOOKUPS.with_borrow(|lookups| lookups.get(address).cloned());
    let lookup = under_way.unwrap_or_else(|| {
        let name = address.to_owned();
        let lookup = look_up(name.clone()).boxed_local().shared();
        LOOKUPS.with_borrow_mut(|lookups| lookups.insert(name.clone(), lookup.clone()));
        let ended = lookup.clone();
        // It goes on when nobody waits any more.
        cores::spawn(async move {
            // Whoever waits hears it too.
            let _ = ended.await;
            LOOKUPS.with_borrow_mut(|lookups| lookups.remove(&name));
        });
        lookup
    });
    lookup.await.map_err(|(kind, text)| io::Error::new(kind, text))
}

async fn look_up(name: String) -> Found {
    let told = name.clone();
    let look_up = move || name.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let found = cores::on_own_thread("resolve", look_up).await.and_then(|found| found);
    match found {
        Ok(found) if found.is_empty() => {
            Err((io::ErrorKind::NotFound, format!("{told} has no address")))
        }
        Ok(found) => Ok(found.into()),
        Err(error) => Err((error.kind(), error.to_string())),
    }
}

/// Where connections come in.
pub(in crate::io) struct Listener {
    socket: PollableFd<TcpListener>,
    callers: Callers,
}

impl Listener {
    pub(in crate::io) fn new(listener: TcpListener, callers: Callers) -> io::Result<Self> {
        Ok(Self { socket: PollableFd::new(listener)?, callers })
    }

    pub(in crate::io) async fn accept(&self) -> Stream {
        loop {
            match self.try_accept() {
                Ok(stream) => return stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.acceptable().await.is_err() {
                        cores::sleep(ACCEPT_PAUSE).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection of a node");
                    cores::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    pub(in crate::io) fn try_accept(&self) -> io::Result<Stream> {
        let (stream, _) = uninterrupted(|| self.socket.get_ref().accept())?;
        stream.set_nonblocking(true)?;
        Stream::new(stream, self.callers)
    }

    pub(in crate::io) async fn acceptable(&self) -> io::Result<()> {
        Ok(self.socket.readable().await?)
    }
}
