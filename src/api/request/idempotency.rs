//! `Idempotency-Key`: what tells a repeated request, and requests that use a key
//! twice, apart. Both travel as digests, so that the state holds 32 bytes for
//! each instead of keys and bodies.
//!
//! A key stands for each tenant by itself, and for writes that concern none: the
//! first half of its digest is of the key alone, the second of the tenant too.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    conditions,
    content_type::{Form, body_form},
    small_body,
};
use crate::{
    api::error::{ApiError, Code},
    base::batch::Idempotency,
    http::Request,
};

/// The longest key in bytes.
const KEY_BYTES_MAX: usize = 255;

/// A request that bears an `Idempotency-Key`, but for its body.
pub(in crate::api) struct KeyedHead {
    key: [u8; 32],
    request: Sha256,
    weak: bool,
}

impl KeyedHead {
    /// Reads the header; nothing without one.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] for a key of another length or with other
    /// characters than allowed, and for two of them.
    pub(in crate::api) fn of(request: &Request, form: Form) -> Result<Option<Self>, ApiError> {
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
        let weak = conditions::has_weak_match(request);
        Ok(Some(Self { key: Sha256::digest(key).into(), request: digest, weak }))
    }

    /// The same with its body: takes a time that grows with that.
    pub(in crate::api) fn with_body(mut self, body: &[u8]) -> KeyedRequest {
        self.request.update(body);
        KeyedRequest { key: self.key, request: half(self.request.finalize()), weak: self.weak }
    }
}

/// How a request with a small body is told apart from others, if its client
/// asks for that.
///
/// # Errors
/// As [`KeyedHead::of`], and [`Code::TooLarge`] for a body that no such request
/// needs.
pub(in crate::api) fn of_small(request: &Request) -> Result<Option<KeyedRequest>, ApiError> {
    small_body::check(request.body().len())?;
    let keyed = KeyedHead::of(request, body_form(request).unwrap_or(Form::Json))?;
    Ok(keyed.map(|keyed| keyed.with_body(request.body())))
}

/// A request that bears an `Idempotency-Key`.
pub(in crate::api) struct KeyedRequest {
    key: [u8; 32],
    request: [u8; 16],
    /// Whether its `If-Match` has a weak tag, which matches nothing.
    pub(in crate::api) weak: bool,
}

impl KeyedRequest {
    /// What the log is told of it: it is a write of `tenant`, or of none.
    pub(in crate::api) fn of(&self, tenant: Option<Uuid>) -> Idempotency {
        let mut key = half(self.key);
        if let Some(tenant) = tenant {
            let scoped = Sha256::new().chain_update(tenant).chain_update(self.key).finalize();
            let (_, scope) = key.split_at_mut(8);
            scope.copy_from_slice(&scoped[..8]);
        }
        Idempotency { key, request: self.request }
    }
}

/// Half of a digest: enough that no two are met by chance or by trying.
fn half(digest: impl AsRef<[u8]>) -> [u8; 16] {
    *digest.as_ref().first_chunk().expect("a digest of 32 bytes")
}
