//! Where connections come in.

use std::{io, net::TcpListener, time::Duration};

use super::stream::{Stream, uninterrupted};
use crate::io::{callers::Callers, cores, real::polled::Polled};

/// How long to wait after accepting failed, as it does without descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come in.
pub(in crate::io) struct Listener {
    socket: Polled<TcpListener>,
    callers: Callers,
}

impl Listener {
    pub(in crate::io) fn new(listener: TcpListener, callers: Callers) -> io::Result<Self> {
        Ok(Self { socket: Polled::new(listener)?, callers })
    }

    pub(in crate::io) async fn accept(&self) -> Stream {
        loop {
            match self.try_accept() {
                Ok(stream) => return stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.acceptable().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection of a node");
                    cores::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    pub(in crate::io) fn try_accept(&self) -> io::Result<Stream> {
        let accepted = uninterrupted(|| self.socket.get_ref().accept());
        if let Err(error) = &accepted
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.socket.readiness().drained();
        }
        let (stream, _) = accepted?;
        stream.set_nonblocking(true)?;
        Stream::new(stream, self.callers)
    }

    pub(in crate::io) async fn acceptable(&self) {
        self.socket.readiness().readable().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Each core that accepts has a descriptor of its own of the same socket.
        self.socket.leave();
    }
}
