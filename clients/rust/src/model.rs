//! Changes, pages of them, and positions in a history.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::error::Error;

/// A place in one history: after the change `id` of the history `cluster`.
///
/// Its text, `<cluster>/<id>`, is a form to store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The identity of the history.
    pub cluster: String,
    /// The last id that is dealt with.
    pub id: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.id)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Usage(format!("not a position: {text:?}"));
        let (cluster, id) = text.rsplit_once('/').ok_or_else(wrong)?;
        if cluster.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self { cluster: cluster.to_owned(), id: id.parse().map_err(|_| wrong())? })
    }
}

/// One change.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Change {
    /// Its number in the history.
    pub id: u64,
    /// Microseconds since 1970.
    pub ts: u64,
    /// What to follow from, once it is dealt with.
    pub position: Position,
    /// The UUID of its tenant.
    pub tenant: Option<String>,
    /// The UUID of its collection.
    pub collection: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// What it bears to be found by.
    pub tags: Vec<String>,
    /// The exact value; none in deletions and where it was redacted.
    pub data: Option<Box<RawValue>>,
    /// It deletes its key, or without one its collection, or its tenant.
    pub deleted: bool,
    /// The deletion came of the key's time to live.
    pub expired: bool,
    /// Its value was erased.
    pub redacted: bool,
    /// Seconds that this version of its key is to live.
    pub ttl: Option<u64>,
    /// The version of its key that it replaced.
    pub prev: Option<u64>,
}

impl Change {
    /// The exact text of the value.
    pub fn data_json(&self) -> Option<&str> {
        self.data.as_deref().map(RawValue::get)
    }

    /// The value as a type of yours; `null` where there is none.
    ///
    /// # Errors
    /// It is not of that type.
    pub fn data_as<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.data_json().unwrap_or("null"))
    }
}

/// Some changes in a row, perhaps none, and the position after them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// What to follow from, once they are dealt with.
    pub position: Position,
    /// Whether the node had nothing more at that moment.
    pub at_end: bool,
}

/// The consecutive ids of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Appended {
    /// That of its first change.
    pub first: u64,
    /// That of its last change.
    pub last: u64,
    /// How many there are.
    pub count: u64,
}

/// A change to append.
#[derive(Clone, Debug, Serialize)]
pub struct NewChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    data: Box<RawValue>,
}

impl NewChange {
    /// A change with that value.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn of(data: &impl Serialize) -> Result<Self, Error> {
        let data = serde_json::value::to_raw_value(data);
        Ok(Self::raw(data.map_err(|error| Error::Usage(format!("not a JSON value: {error}")))?))
    }

    /// A change whose value is that exact text.
    pub fn raw(data: Box<RawValue>) -> Self {
        Self { tenant: None, collection: None, key: None, tags: Vec::new(), ttl: None, data }
    }

    /// Of a tenant, a UUID or a name.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Of a key of a collection, which is named by its UUID.
    #[must_use]
    pub fn key(mut self, collection: impl Into<String>, key: impl Into<String>) -> Self {
        self.collection = Some(collection.into());
        self.key = Some(key.into());
        self
    }

    /// Of a collection, which is named by its UUID.
    #[must_use]
    pub fn collection(mut self, collection: impl Into<String>) -> Self {
        self.collection = Some(collection.into());
        self
    }

    /// Bears one more tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Seconds that this version of its key is to live.
    #[must_use]
    pub fn ttl(mut self, seconds: u64) -> Self {
        self.ttl = Some(seconds);
        self
    }
}

/// A change as a node sends it.
#[derive(Deserialize)]
pub(crate) struct SentChange {
    #[serde(rename = "_id")]
    id: u64,
    #[serde(rename = "_ts")]
    ts: u64,
    tenant: Option<String>,
    collection: Option<String>,
    key: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    expired: bool,
    #[serde(default)]
    redacted: bool,
    ttl: Option<u64>,
    prev: Option<u64>,
}

/// A value that is there, `null` included.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(input).map(Some)
}

impl SentChange {
    pub(crate) fn of(self, cluster: &str) -> Change {
        let position = Position { cluster: cluster.to_owned(), id: self.id };
        let Self { id, ts, tenant, collection, key, tags, data, .. } = self;
        let Self { deleted, expired, redacted, ttl, prev, .. } = self;
        Change {
            id,
            ts,
            position,
            tenant,
            collection,
            key,
            tags,
            data,
            deleted,
            expired,
            redacted,
            ttl,
            prev,
        }
    }
}

/// A page as a node sends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SentPage {
    changes: Vec<SentChange>,
    at_end: bool,
    last: u64,
}

impl SentPage {
    pub(crate) fn of(self, cluster: &str) -> Page {
        let position = Position { cluster: cluster.to_owned(), id: self.last };
        Page { changes: all(self.changes, cluster), position, at_end: self.at_end }
    }
}

/// A page of keys as a node sends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SentKeys {
    keys: Vec<SentChange>,
    pub(crate) at_end: bool,
}

impl SentKeys {
    pub(crate) fn of(self, cluster: &str) -> Vec<Change> {
        all(self.keys, cluster)
    }
}

fn all(sent: Vec<SentChange>, cluster: &str) -> Vec<Change> {
    sent.into_iter().map(|change| change.of(cluster)).collect()
}

/// A line of a stream that is no change.
#[derive(Deserialize)]
pub(crate) struct Mark {
    #[serde(rename = "_id")]
    pub(crate) id: Option<IgnoredAny>,
    pub(crate) last: Option<u64>,
    pub(crate) since: Option<u64>,
    pub(crate) end: Option<bool>,
}

/// Reads JSON that a node sent.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Broken(format!("an answer is not as it should be: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_exact_text() {
        for text in ["null", "1.0", "12345678901234567890123", r#"{"b": 1,"a":[ ],"b":2}"#] {
            let sent = format!(r#"{{"_id":1,"_ts":2,"data": {text} ,"new":1}}"#);
            let change = read::<SentChange>(sent.as_bytes()).expect("a change").of("c");
            assert_eq!(change.data_json(), Some(text));
        }
        let deletion = br#"{"_id":1,"_ts":2,"key":"k","deleted":true}"#;
        let change = read::<SentChange>(deletion).expect("a change").of("c");
        assert!(change.data.is_none() && change.deleted);
    }

    #[test]
    fn positions_are_read_as_they_are_written() {
        let position = Position { cluster: "a/b".into(), id: 12 };
        assert_eq!(position.to_string().parse::<Position>().expect("a position"), position);
        for wrong in ["", "12", "/12", "a/", "a/-1", "a/+1", "a/x", "a/99999999999999999999"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
