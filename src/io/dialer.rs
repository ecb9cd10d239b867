//! How nodes reach each other.

use std::{fmt, io, sync::Arc, time::Duration};

use super::{
    net::{Stream, host_of},
    tls::{NodeTls, speaks_no_tls},
};

/// How a node connects to others, and lets them in: by TLS, or as it comes. Clones share what they know.
#[derive(Clone, Default)]
pub struct Dialer(Option<Arc<NodeTls>>);

impl Dialer {
    /// By TLS, if there is any.
    #[must_use]
    pub const fn new(tls: Option<Arc<NodeTls>>) -> Self {
        Self(tls)
    }

    /// Connects to another node.
    ///
    /// # Errors
    /// As [`Stream::connect_secured`].
    pub async fn connect(&self, address: &str, limit: Duration) -> io::Result<Stream> {
        let Some(tls) = &self.0 else { return Stream::connect(address, limit).await };
        match Stream::connect_secured(address, limit, &tls.caller()).await {
            Err(error) if tls.is_optional() && speaks_no_tls(&error) => {
                Stream::connect(address, limit).await
            }
            outcome => outcome,
        }
    }

    /// Takes a node that has connected for one that speaks TLS, if nodes are to. It has yet to
    /// [come to terms](Self::come_to_terms).
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn admit(&self, stream: Stream) -> io::Result<Stream> {
        match &self.0 {
            Some(tls) => stream.begun(tls.entrance()),
            None => Ok(stream),
        }
    }

    /// Has the handshake done with a node that was admitted. Each of its steps is computed when `turn` has
    /// come, and while what that gives is held.
    ///
    /// # Errors
    /// As [`Stream::secured`].
    pub async fn come_to_terms<T>(
        &self,
        stream: &Stream,
        turn: impl AsyncFn() -> T,
    ) -> io::Result<()> {
        match (&self.0, stream.session()) {
            (Some(tls), Some(session)) if tls.is_optional() => {
                session.shake_or_be_plain(turn).await
            }
            (_, Some(session)) => session.shake(turn).await,
            _ => Ok(()),
        }
    }

    /// Whether the other end may be the node at `address`, as far as that is known, by the certificate that it
    /// showed; without TLS anybody may.
    #[must_use]
    pub fn may_be_at(&self, stream: &Stream, address: Option<&str>) -> bool {
        match (&self.0, stream.session()) {
            (Some(tls), Some(session)) => {
                let name = tls.name().or(address.map(host_of));
                name.is_none_or(|name| session.is_of(name))
            }
            _ => true,
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.0.is_some()).finish()
    }
}
