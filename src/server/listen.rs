//! Listening sockets: one for each serving core, all on one port.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

/// How long a port may be in use by a process that has ended: the kernel takes
/// its rings down, and with them what they watched, only after it is gone.
const AFTERLIFE: Duration = Duration::from_secs(2);
/// How often to try meanwhile.
const RETRY: Duration = Duration::from_millis(10);

/// Connections that wait to be accepted, for each socket.
const BACKLOG: i32 = 4096;

/// Opens `count` sockets on `address`; the kernel spreads connections over
/// them. Port 0 picks a free one for all. Connections whose other end acknowledges nothing of
/// what was sent for `silence` are closed by the kernel: else a stream to a client that has
/// vanished would stand for a quarter of an hour, since what is sent on it fits the socket.
///
/// # Errors
/// Also when another process goes on listening there, which sharing the port
/// would hide.
pub fn listen(
    address: SocketAddr,
    count: usize,
    silence: Option<Duration>,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // The first socket claims the port for itself alone, which is certain once
    // it listens; only then is sharing allowed, and only within this user.
    let first = claim(address)?;
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    first.set_reuse_port(true)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        let next = socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&address.into())?;
        next.listen(BACKLOG)?;
        sockets.push(next);
    }
    for socket in &sockets {
        // Handed on to the connections that are accepted.
        socket.set_tcp_user_timeout(silence)?;
    }
    Ok((address, sockets.into_iter().map(TcpListener::from).collect()))
}

/// A socket that listens on `address` alone.
fn claim(address: SocketAddr) -> io::Result<Socket> {
    let end = Instant::now() + AFTERLIFE;
    loop {
        let socket = socket(address)?;
        match socket.bind(&address.into()).and_then(|()| socket.listen(BACKLOG)) {
            Ok(()) => return Ok(socket),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse || Instant::now() >= end => {
                return Err(error);
            }
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections still linger may be taken again at once.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_shared_among_the_cores_and_with_nobody_else() {
        let (address, sockets) = listen(([127, 0, 0, 1], 0).into(), 3, None).unwrap();
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        let taken = listen(address, 2, None).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        listen(address, 2, None).unwrap();
    }

    #[test]
    fn connections_to_clients_that_have_vanished_are_not_kept_for_long() {
        let silence = Some(Duration::from_secs(7));
        let (address, sockets) = listen(([127, 0, 0, 1], 0).into(), 1, silence).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let accepted = loop {
            match sockets[0].accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => break Socket::from(accepted.unwrap().0),
            }
        };
        assert_eq!(accepted.tcp_user_timeout().unwrap(), silence);
    }
}
