//! `Idempotency-Key`: what tells a repeated request, and requests that use a key
//! twice, apart. Both travel as digests, so that the state holds 32 bytes for
//! each instead of keys and bodies.

use sha2::{Digest, Sha256};

use super::{
    content_type::Form,
    error::{ApiError, Code},
};
use crate::{base::batch::Idempotency, http::Request};

/// The longest key in bytes.
const KEY_BYTES_MAX: usize = 255;

/// A request that bears an `Idempotency-Key`, but for its body.
pub(super) struct Keyed {
    key: [u8; 16],
    request: Sha256,
}

impl Keyed {
    /// Reads the header; nothing without one.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] for a key of another length or with other
    /// characters than allowed, and for two of them.
    pub(super) fn of(request: &Request, form: Form) -> Result<Option<Self>, ApiError> {
        const NAME: &str = "Idempotency-Key";
        let mut keys = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case(NAME));
        let Some((_, key)) = keys.next() else { return Ok(None) };
        let visible = key.iter().all(u8::is_ascii_graphic);
        if !visible || key.is_empty() || key.len() > KEY_BYTES_MAX || keys.next().is_some() {
            let detail = format!("header {NAME} must be one of 1 to 255 visible characters");
            return Err(ApiError::new(Code::InvalidParameter, detail).with_text("parameter", NAME));
        }
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(request.method_name().as_bytes());
        part(&[match form {
            Form::Json => 0,
            Form::Ndjson => 1,
        }]);
        for name in ["If-Match", "If-None-Match"] {
            let lines = request.headers().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            lines.for_each(|(_, line)| part(line));
            part(b"");
        }
        part(&(request.path_segments().len() as u64).to_le_bytes());
        for (n, segment) in request.path_segments().iter().enumerate() {
            // Both spellings are one resource.
            part(if n == 0 && *segment == "tenant" { b"tenants" } else { segment.as_bytes() });
        }
        Ok(Some(Self { key: half(Sha256::digest(key)), request: digest }))
    }

    /// What the log is told of it: takes a time that grows with the body.
    pub(super) fn with_body(mut self, body: &[u8]) -> Idempotency {
        self.request.update(body);
        Idempotency { key: self.key, request: half(self.request.finalize()) }
    }
}

/// Half of a digest: enough that no two are met by chance or by trying.
fn half(digest: impl AsRef<[u8]>) -> [u8; 16] {
    *digest.as_ref().first_chunk().expect("a digest of 32 bytes")
}
