//! Which list, and how it is addressed.

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what may stand in an address as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) fn encoded(text: &str) -> impl Display + '_ {
    utf8_percent_encode(text, ENCODED)
}

/// Everything, a tenant, or a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    tenant: Option<String>,
    collection: Option<String>,
}

impl Place {
    /// The global list.
    pub fn everything() -> Self {
        Self::default()
    }

    /// A tenant, by its UUID or its name.
    pub fn tenant(tenant: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.into()), collection: None }
    }

    /// A collection, by its UUID.
    pub fn collection(collection: impl Into<String>) -> Self {
        Self { tenant: None, collection: Some(collection.into()) }
    }

    /// A collection, by its name and its tenant's UUID or name.
    pub fn named(tenant: impl Into<String>, collection: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.into()), collection: Some(collection.into()) }
    }

    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The path in front of `/changes`.
    pub(crate) fn path(&self) -> String {
        match (&self.tenant, &self.collection) {
            (Some(tenant), Some(collection)) => {
                format!("/tenants/{}/collections/{}", encoded(tenant), encoded(collection))
            }
            (Some(tenant), None) => format!("/tenants/{}", encoded(tenant)),
            (None, Some(collection)) => format!("/collections/{}", encoded(collection)),
            (None, None) => String::new(),
        }
    }

    pub(crate) fn key_path(&self, key: &str) -> String {
        format!("{}/keys/{}", self.path(), encoded(key))
    }
}

/// Adds `?name=value`, or `&name=value`.
pub(crate) fn ask(target: &mut String, name: &str, value: impl Display) {
    let joint = if target.contains('?') { '&' } else { '?' };
    target.push_str(&format!("{joint}{name}={}", encoded(&value.to_string())));
}
