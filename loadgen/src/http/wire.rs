//! What carries the bytes of a connection: a socket, or TLS on one.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

/// How a server is spoken to by TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Trusts the certificates in the file `ca`, and no others, for a server called `host`.
    pub(crate) fn new(host: &str, ca: Option<&Path>) -> Result<Self> {
        let path = ca.context("an https URL needs --ca: a file with the roots to trust")?;
        let text = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            roots.add(certificate.context("no PEM")?)?;
        }
        ensure!(!roots.is_empty(), "{}: there is no certificate in it", path.display());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).context("no name for a certificate")?;
        Ok(Self { config: Arc::new(config), name })
    }

    fn connection(&self) -> io::Result<ClientConnection> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut connection = connection.map_err(io::Error::other)?;
        // A request that the socket does not take at once is kept whole.
        connection.set_buffer_limit(None);
        Ok(connection)
    }

    /// TLS on a socket that blocks.
    pub(crate) fn blocking(&self, socket: TcpStream) -> io::Result<Box<dyn Blocking>> {
        Ok(Box::new(StreamOwned::new(self.connection()?, socket)))
    }
}

/// A connection that blocks.
pub(crate) trait Blocking: Read + Write + Send + std::fmt::Debug {}

impl Blocking for TcpStream {}
impl Blocking for StreamOwned<ClientConnection, TcpStream> {}

/// A socket that does not block, or TLS on one.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        let tls = tls.map(|tls| tls.connection().map(Box::new)).transpose()?;
        Ok(Self { socket, tls })
    }

    /// Goes on with the handshake, if there is one; whether it is done.
    pub(crate) fn handshake(&mut self) -> io::Result<bool> {
        loop {
            self.flush()?;
            let Some(tls) = &mut self.tls else { return Ok(true) };
            if !tls.is_handshaking() {
                return Ok(true);
            }
            match receive(tls, &self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether all that came is read only once a read says that there is no more: a shorter one may have
    /// stopped at an end of what was sent, or at an error.
    pub(crate) const fn reads_on(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether bytes that were taken have yet to go to the socket.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Gives the socket what it has room for of what was taken.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes bytes; fewer than there are where the socket has no room for more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return (&self.socket).write_vectored(&[IoSlice::new(bytes)]);
        };
        let taken = tls.writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    /// Reads all there is, as far as it fits: less than that says that no more has come.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return (&self.socket).read(buffer) };
        let mut filled = 0;
        loop {
            let outcome = match tls.reader().read(buffer.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => return Ok(filled),
                Ok(read) => {
                    filled += read;
                    if filled == buffer.len() {
                        return Ok(filled);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    receive(tls, &self.socket).map(drop)
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {}
                // What came before is told first, and this the next time.
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Takes in what the socket has, once; 0 at its end.
fn receive(tls: &mut ClientConnection, mut socket: &TcpStream) -> io::Result<usize> {
    let read = tls.read_tls(&mut socket)?;
    tls.process_new_packets().map_err(io::Error::other)?;
    Ok(read)
}
