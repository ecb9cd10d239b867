//! Listening sockets: one for each serving core, all on one port.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, for each socket.
const BACKLOG: i32 = 4096;

/// Opens `count` sockets on `address`; the kernel spreads connections over
/// them. Port 0 picks a free one for all.
///
/// # Errors
/// Also when another process listens there, which sharing the port would hide.
pub fn listen(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // The first socket claims the port for itself alone, which is certain once
    // it listens; only then is sharing allowed, and only within this user.
    let first = socket(address)?;
    first.bind(&address.into())?;
    first.listen(BACKLOG)?;
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
    Ok((address, sockets.into_iter().map(TcpListener::from).collect()))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections still linger may be taken again at once.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Accepts a connection, if one waits, ready for use.
///
/// # Errors
/// What accepting reports; `WouldBlock` when none waits.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_shared_among_the_cores_and_with_nobody_else() {
        let (address, sockets) = listen(([127, 0, 0, 1], 0).into(), 3).unwrap();
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        let taken = listen(address, 2).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        listen(address, 2).unwrap();
    }
}
