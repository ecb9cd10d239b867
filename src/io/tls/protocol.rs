//! What is spoken.

use std::sync::Arc;

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};

/// The versions of TLS; nothing older.
pub(super) const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The first byte of a connection under TLS: that of a record with a handshake.
pub const FIRST_BYTE: u8 = 0x16;

/// The suites of ring: all with forward secrecy, AES-GCM or ChaCha20-Poly1305.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
