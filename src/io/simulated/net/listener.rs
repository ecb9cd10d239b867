//! Where connections come in, by the name that they are called at.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, time::Duration};

use tokio::sync::Notify;

use super::{Entry, Network, Stream, connection::Connection};
use crate::io::{
    cores,
    simulated::{
        executor::{Executor, Process, SURROUNDINGS, spawn_in},
        tally::{Event, count},
    },
};

/// Connections that wait to be accepted; further ones are not answered.
const BACKLOG: usize = 128;
/// What is not answered is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// What an address leads to.
pub(super) struct Entrance {
    pub(super) process: Process,
    waiting: RefCell<VecDeque<Stream>>,
    arrived: Notify,
}

/// A listener. It is gone when it is dropped, and when its process ends.
pub struct Listener {
    address: String,
    entrance: Rc<Entrance>,
    network: Network,
}

impl Listener {
    /// Accepts what is called at `address`, for the process of the caller.
    ///
    /// # Errors
    /// `AddrInUse`
    pub fn bind(address: &str) -> io::Result<Self> {
        let (network, process) = (Network::current(), Executor::current().process());
        let mut listeners = network.0.listeners.borrow_mut();
        if listeners.contains_key(address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (waiting, arrived) = (RefCell::default(), Notify::new());
        let entrance = Rc::new(Entrance { process, waiting, arrived });
        listeners.insert(address.to_owned(), Rc::clone(&entrance));
        network.0.owners.borrow_mut().insert(address.to_owned(), process);
        drop(listeners);
        Ok(Self { address: address.to_owned(), entrance, network })
    }

    /// The next connection.
    pub async fn accept(&self) -> Stream {
        loop {
            match self.try_accept() {
                Ok(stream) => return stream,
                Err(_) => self.acceptable().await,
            }
        }
    }

    pub fn try_accept(&self) -> io::Result<Stream> {
        let next = self.entrance.waiting.borrow_mut().pop_front();
        next.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    pub async fn acceptable(&self) {
        if self.entrance.waiting.borrow().is_empty() {
            self.entrance.arrived.notified().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.network.0.listeners.borrow_mut();
        let own = listeners.get(&self.address);
        if own.is_some_and(|entrance| Rc::ptr_eq(entrance, &self.entrance)) {
            listeners.remove(&self.address);
        }
        drop(listeners);
        self.entrance.waiting.take().into_iter().for_each(Stream::reset);
    }
}

impl Network {
    /// Connects the process of the caller to whoever listens at `address`.
    pub(super) async fn connect(&self, address: &str) -> io::Result<Stream> {
        let from = Executor::current().process();
        let to = loop {
            let owner = self.0.owners.borrow().get(address).copied();
            let entry = self.0.entries.borrow().get(address).copied().unwrap_or_default();
            let Some(to) = owner.filter(|_| entry != Entry::Refused) else {
                count(Event::ConnectIsRefused);
                cores::sleep(self.delay((from, from))).await;
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            self.travel((from, to)).await;
            let entrance = self.0.listeners.borrow().get(address).cloned();
            match entrance {
                _ if entry == Entry::Silent => {
                    count(Event::ConnectIsUnanswered);
                    cores::sleep(RETRY).await;
                }
                Some(entrance) if entrance.waiting.borrow().len() >= BACKLOG => {
                    cores::sleep(RETRY).await;
                }
                Some(entrance) => break entrance.process,
                None => {
                    self.travel((to, from)).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
            }
        };
        self.travel((to, from)).await;
        let (stream, other) = Connection::establish(self, from, to);
        let (network, address) = (self.clone(), address.to_owned());
        drop(spawn_in(SURROUNDINGS, async move {
            network.travel((from, to)).await;
            let entrance = network.0.listeners.borrow().get(&address).cloned();
            match entrance.filter(|entrance| entrance.process == to) {
                Some(entrance) => {
                    entrance.waiting.borrow_mut().push_back(other);
                    entrance.arrived.notify_one();
                }
                // It went away meanwhile.
                None => other.reset(),
            }
        }));
        Ok(stream)
    }
}
