//! A connection that is made again whenever it breaks.

use std::net::SocketAddr;

use crate::{Answer, Client, cluster::SILENCE};

/// A client's connection to one node, made again whenever it breaks.
pub(super) struct Door {
    address: SocketAddr,
    client: Option<Client>,
}

/// What became of a request.
pub(super) enum Heard {
    Answer(Answer),
    /// The node was not there.
    NotSent,
    /// The connection broke, or the node fell silent.
    Broken,
}

impl Door {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, client: None }
    }

    pub(super) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Heard {
        if self.client.is_none() {
            self.client = Client::try_connect(self.address, SILENCE);
        }
        let Some(client) = &mut self.client else { return Heard::NotSent };
        let answer = client.try_request(method, target, headers, body.as_bytes());
        if answer.as_ref().is_none_or(|answer| answer.header("connection") == Some("close")) {
            self.client = None;
        }
        answer.map_or(Heard::Broken, Heard::Answer)
    }
}
