//! What the client needs of the executor that it runs on.

use std::{future::Future, io, time::Duration};

use futures_util::io::{AsyncRead, AsyncWrite};

/// Connects and sleeps: all that the client asks of an executor.
///
/// Its futures need to be `Send` only where those of the client are to be.
pub trait Connector {
    /// A connection, with TLS where that was asked for.
    type Connection: AsyncRead + AsyncWrite + Unpin;

    /// Opens a connection to a node; `tls` says that its address begins with `https`.
    ///
    /// # Errors
    /// What went wrong; `Unsupported` where there is no TLS.
    fn connect(
        &self,
        host: &str,
        port: u16,
        tls: bool,
    ) -> impl Future<Output = io::Result<Self::Connection>>;

    /// Ends after so long.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// Connects by tokio, without TLS, which `TokioTls` of the feature `tls` has: its runtime needs I/O and time.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

#[cfg(feature = "tokio")]
impl Connector for Tokio {
    type Connection = tokio_util::compat::Compat<tokio::net::TcpStream>;

    async fn connect(&self, host: &str, port: u16, tls: bool) -> io::Result<Self::Connection> {
        use tokio_util::compat::TokioAsyncReadCompatExt;
        if tls {
            let text = "this connector has no TLS: TokioTls has, of the feature tls";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let stream = tokio::net::TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream.compat())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
