//! Certificates for tests, and a client that speaks TLS.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};

use testkit::{NodeBuilder, PATIENCE, file};

/// A root that signs what tests need.
pub struct Root {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    /// Its certificate.
    pub file: PathBuf,
}

/// A certificate with its key.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Root {
    /// Puts its files into `directory`, which must be there, under names that begin with `name`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(parameters, key).unwrap();
        let file = file(directory, &format!("{name}-ca.pem"), &issuer.pem());
        Self { issuer, directory: directory.to_owned(), file }
    }

    /// A pair for `localhost` and `127.0.0.1`, in files that begin with `name`.
    pub fn pair(&self, name: &str) -> Pair {
        self.pair_with(name, |_| ())
    }

    /// The same, but for what `change` makes of it.
    pub fn pair_with(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> Pair {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let put = |kind, text: &str| file(&self.directory, &format!("{name}-{kind}.pem"), text);
        Pair { certificate: put("cert", &certificate.pem()), key: put("key", &key.serialize_pem()) }
    }
}

impl Pair {
    /// The flags of a node that shows it to clients.
    pub fn flags(&self) -> [&str; 4] {
        let [certificate, key] = [&self.certificate, &self.key].map(|path| path.to_str().unwrap());
        ["--tls-cert", certificate, "--tls-key", key]
    }

    /// A node that shows it to clients.
    pub fn node(&self) -> NodeBuilder {
        NodeBuilder::new().flags(&self.flags())
    }

    /// Has the files hold what those of `other` do.
    pub fn become_like(&self, other: &Self) {
        std::fs::copy(&other.certificate, &self.certificate).unwrap();
        std::fs::copy(&other.key, &self.key).unwrap();
    }
}

/// A connection under TLS.
pub struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Received and not yet part of an answer.
    received: Vec<u8>,
}

impl TlsClient {
    /// Trusts the root in that file, and no other.
    pub fn connect(address: SocketAddr, root: &Path) -> Self {
        Self::try_connect(address, root).expect("client and server come to terms")
    }

    pub fn try_connect(address: SocketAddr, root: &Path) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let text = std::fs::read(root)?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream, received: Vec::new() })
    }

    /// The certificate that the server showed.
    pub fn shown(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.stream.read(buffer).unwrap()
    }

    /// Sends a request, and gives the status and the body of the answer, which tells its length.
    pub fn request(&mut self, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat());
        self.answer()
    }

    pub fn answer(&mut self) -> (u16, Vec<u8>) {
        let head = self
            .until(|bytes| bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4));
        let text = String::from_utf8(self.received.drain(..head).collect()).unwrap().to_lowercase();
        let length = text.split("content-length: ").nth(1).expect("a length");
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        self.until(|bytes| (bytes.len() >= length).then_some(length));
        (text[9..12].parse().unwrap(), self.received.drain(..length).collect())
    }

    fn until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> usize {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(end) = end(&self.received) {
                return end;
            }
            let read = self.read(&mut buffer);
            assert!(read > 0, "the connection ends in the middle of an answer");
            self.received.extend_from_slice(&buffer[..read]);
        }
    }
}
