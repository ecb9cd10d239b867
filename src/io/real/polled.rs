//! Sockets that the poller of their core watches.

use std::{io, os::fd::AsFd, rc::Rc};

use super::{
    poller::{Poller, Readiness},
    portable, uring,
};

/// A socket of this core, and whether it is ready.
pub(super) struct Polled<T: AsFd> {
    socket: T,
    readiness: Rc<Readiness>,
    poller: Rc<Poller>,
    /// Its place among the sockets of the poller.
    index: usize,
}

impl<T: AsFd> Polled<T> {
    /// Watches `socket`, which must be non-blocking, from now on. It is taken to have room for bytes,
    /// and nothing to read.
    pub(super) fn new(socket: T) -> io::Result<Self> {
        let poller = match portable::cores::is_here() {
            true => portable::cores::poller(),
            false => uring::epoll::poller()?,
        };
        let (index, readiness) = poller.enter(&socket)?;
        Ok(Self { socket, readiness, poller, index })
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.socket
    }

    /// Takes it out of the epoll before it is dropped, which does that only for the last descriptor
    /// of a socket.
    pub(super) fn leave(&self) {
        self.poller.take_out(&self.socket);
    }

    /// In which direction it is ready.
    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

impl<T: AsFd> Drop for Polled<T> {
    fn drop(&mut self) {
        // A system call less for each connection than to take it out.
        self.poller.leave(self.index);
    }
}
