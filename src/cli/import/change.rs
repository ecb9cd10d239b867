//! What becomes of one line: a change to store, a deletion, or nothing.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::{failure::Failure, list::encoded};

/// How changes are made those of the target.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    /// Tenant, collection and key are left out, because all go into one tenant.
    pub(super) into_tenant: bool,
    pub(super) maps: Maps,
    pub(super) skip_deletions: bool,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A change, as the body of a write has it.
    Store(Vec<u8>),
    /// A deletion of what is at that address.
    Delete(String),
    /// The same of a key whose time to live is over: here it may be gone already.
    Expire(String),
    /// Nothing.
    Skip,
}

/// UUIDs of tenants and collections, and those that take their place.
#[derive(Debug, Default)]
pub(super) struct Maps(HashMap<Uuid, Uuid>);

impl Maps {
    pub(super) fn new(pairs: &[(Uuid, Uuid)]) -> Result<Self, Failure> {
        let mut maps = HashMap::new();
        for &(old, new) in pairs {
            if maps.insert(old, new).is_some_and(|other| other != new) {
                return Err(Failure::Usage(format!("--map {old}=… is given twice")));
            }
        }
        Ok(Self(maps))
    }

    /// What takes the place of a name or a UUID.
    fn apply(&self, name: String) -> String {
        let new = Uuid::try_parse(&name).ok().and_then(|old| self.0.get(&old));
        new.map_or(name, Uuid::to_string)
    }
}

/// `OLD=NEW`.
pub(super) fn pair(text: &str) -> Result<(Uuid, Uuid), String> {
    let (old, new) = text.split_once('=').ok_or("must be of the form OLD=NEW")?;
    let uuid = |text: &str| Uuid::try_parse(text).map_err(|_| format!("{text:?} is not a UUID"));
    Ok((uuid(old)?, uuid(new)?))
}

/// A change as a line has it. Key, tags and data stay the bytes that they are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(rename = "_id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "_ts")]
    _ts: Option<IgnoredAny>,
    #[serde(rename = "prev")]
    _prev: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    tenant: Option<String>,
    #[serde(default, deserialize_with = "present")]
    collection: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ttl: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    expired: bool,
    #[serde(default)]
    redacted: bool,
}

/// A member that is there, also where it is `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Rewrite {
    /// What a line asks for.
    ///
    /// # Errors
    /// It is not a change, or a deletion where none can be.
    pub(super) fn step(&self, line: &[u8]) -> Result<Step, Failure> {
        if line.starts_with(b"[") {
            let text =
                "an array, not a change; only a file that is one array is read as its elements";
            return Err(Failure::Other(text.into()));
        }
        let mut line: Line<'_> =
            serde_json::from_slice(line).map_err(|error| not_a_change(line, &error))?;
        line.tenant = line.tenant.map(|name| self.maps.apply(name));
        line.collection = line.collection.map(|name| self.maps.apply(name));
        if !line.deleted {
            return self.store(&line).map(Step::Store);
        }
        if self.skip_deletions {
            return Ok(Step::Skip);
        }
        if self.into_tenant {
            let text = "a deletion, which has nothing to delete with --tenant; --skip-deletions \
                        leaves it out";
            return Err(Failure::Other(text.into()));
        }
        deletion(&line).map(if line.expired { Step::Expire } else { Step::Delete })
    }

    fn store(&self, line: &Line<'_>) -> Result<Vec<u8>, Failure> {
        let data = match line.data {
            Some(data) => data.get(),
            // What it was, nobody knows any more.
            None if line.redacted => "null",
            None => return Err(Failure::Other("a change without data".into())),
        };
        let mut object = vec![b'{'];
        let mut member = |name: &str, value: &str| {
            object.extend_from_slice(format!("\"{name}\":").as_bytes());
            object.extend_from_slice(value.as_bytes());
            object.push(b',');
        };
        if !self.into_tenant {
            for (name, value) in [("tenant", &line.tenant), ("collection", &line.collection)] {
                if let Some(value) = value {
                    member(name, &serde_json::Value::from(value.as_str()).to_string());
                }
            }
            if let Some(key) = line.key {
                member("key", key.get());
            }
            if let Some(ttl) = line.ttl {
                member("ttl", ttl.get());
            }
        }
        if let Some(tags) = line.tags {
            member("tags", tags.get());
        }
        object.extend_from_slice(b"\"data\":");
        object.extend_from_slice(data.as_bytes());
        object.push(b'}');
        Ok(object)
    }
}

fn not_a_change(line: &[u8], error: &serde_json::Error) -> Failure {
    // It counts lines from where the change starts.
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    let before = line.split(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    let offset = before.map(|line| line.len() + 1).sum::<usize>() + error.column();
    Failure::Other(format!("not a change: {what} at byte {offset}"))
}

/// The address of what a deletion deletes.
fn deletion(line: &Line<'_>) -> Result<String, Failure> {
    if line.data.is_some() || line.ttl.is_some() {
        return Err(Failure::Other("a deletion with data or a time to live".into()));
    }
    match (&line.tenant, &line.collection, line.key) {
        (_, Some(collection), Some(key)) => {
            let key: String = serde_json::from_str(key.get())
                .map_err(|error| Failure::Other(format!("not a key: {error}")))?;
            Ok(format!("/collections/{}/keys/{}", encoded(collection), encoded(&key)))
        }
        (_, Some(collection), None) => Ok(format!("/collections/{}", encoded(collection))),
        (Some(tenant), None, None) => Ok(format!("/tenants/{}", encoded(tenant))),
        _ => Err(Failure::Other("a deletion of nothing".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "6f1c8a52-0000-4000-8000-00000000000a";
    const B: &str = "6f1c8a52-0000-4000-8000-00000000000b";

    fn stored(rewrite: &Rewrite, line: &str) -> String {
        match rewrite.step(line.as_bytes()) {
            Ok(Step::Store(object)) => String::from_utf8(object).unwrap(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn everything_but_id_and_time_is_stored_byte_for_byte() {
        let data = r#"{"n":1e400,"n":-0.10,"big":123456789012345678901234567890,"s":"\u00e9\/é"}"#;
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for data in [data, "null", "\"\\ud800\"", "  [ 1 , 2 ]  ", &deep] {
            let rest = format!(
                r#""tenant":"{A}","collection":"{B}","key":"\u006b\n","tags":["a","\u0062"],"data":{}}}"#,
                data.trim()
            );
            let line = format!("{{\"_id\":7,\"_ts\":1784873643123456,{rest}");
            assert_eq!(stored(&Rewrite::default(), &line), format!("{{{rest}"));
        }
        assert_eq!(stored(&Rewrite::default(), r#"{"data":1.0}"#), r#"{"data":1.0}"#);
        let redacted = r#"{"_id":2,"_ts":3,"tenant":"foo","redacted":true}"#;
        assert_eq!(stored(&Rewrite::default(), redacted), r#"{"tenant":"foo","data":null}"#);
        assert_eq!(stored(&Rewrite::default(), r#"{"tenant":"foo","data":0}"#), {
            r#"{"tenant":"foo","data":0}"#
        });
    }

    #[test]
    fn uuids_are_mapped_in_any_case_and_others_are_kept() {
        let maps = Maps::new(&[pair(&format!("{A}={B}")).unwrap()]).unwrap();
        let rewrite = Rewrite { maps, ..Rewrite::default() };
        let line = format!(r#"{{"tenant":"{}","collection":"{B}","data":1}}"#, A.to_uppercase());
        assert_eq!(
            stored(&rewrite, &line),
            format!(r#"{{"tenant":"{B}","collection":"{B}","data":1}}"#)
        );
        let line = format!(r#"{{"collection":"{A}","key":"a/b","deleted":true}}"#);
        assert_eq!(
            rewrite.step(line.as_bytes()).unwrap(),
            Step::Delete(format!("/collections/{B}/keys/a%2Fb"))
        );
        assert!(
            Maps::new(&[pair(&format!("{A}={B}")).unwrap(), pair(&format!("{A}={A}")).unwrap()])
                .is_err()
        );
        for text in ["", "=", A, &format!("{A}=b"), &format!("a={B}")] {
            assert!(pair(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_deletion_has_the_address_of_what_it_deletes() {
        for (line, target) in [
            (
                format!(
                    r#"{{"_id":1,"_ts":2,"tenant":"{A}","collection":"{B}","key":"é \u002f\u0000?","deleted":true}}"#
                ),
                format!("/collections/{B}/keys/%C3%A9%20%2F%00%3F"),
            ),
            (
                format!(r#"{{"tenant":"{A}","collection":"{B}","deleted":true}}"#),
                format!("/collections/{B}"),
            ),
            (format!(r#"{{"tenant":"{A}","deleted":true}}"#), format!("/tenants/{A}")),
        ] {
            let step = Rewrite::default().step(line.as_bytes()).unwrap();
            assert_eq!(step, Step::Delete(target));
            let skip = Rewrite { skip_deletions: true, ..Rewrite::default() };
            assert_eq!(skip.step(line.as_bytes()).unwrap(), Step::Skip);
            let tenant = Rewrite { into_tenant: true, ..Rewrite::default() };
            let error = tenant.step(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("--skip-deletions"), "{error}");
        }
    }

    #[test]
    fn a_time_to_live_is_stored_and_its_end_deletes_what_may_be_gone() {
        let key = format!(r#""tenant":"{A}","collection":"{B}","key":"k""#);
        let line = format!(r#"{{"_id":1,"_ts":2,{key},"ttl":60,"tags":["t"],"data":1}}"#);
        let object = format!(r#"{{{key},"ttl":60,"tags":["t"],"data":1}}"#);
        assert_eq!(stored(&Rewrite::default(), &line), object);
        let line = format!(r#"{{"_id":1,"_ts":2,{key},"deleted":true,"expired":true}}"#);
        assert_eq!(
            Rewrite::default().step(line.as_bytes()).unwrap(),
            Step::Expire(format!("/collections/{B}/keys/k"))
        );
    }

    #[test]
    fn into_a_tenant_go_data_and_tags_alone() {
        let rewrite = Rewrite { into_tenant: true, ..Rewrite::default() };
        let line = format!(
            r#"{{"_id":1,"_ts":2,"tenant":"{A}","collection":"{B}","key":"k","ttl":9,"tags":["t"],"data":1}}"#
        );
        assert_eq!(stored(&rewrite, &line), r#"{"tags":["t"],"data":1}"#);
    }

    #[test]
    fn what_is_no_change_is_refused_and_told_where() {
        for (line, word) in [
            ("", "not a change"),
            ("{\"data\":1", "not a change: EOF while parsing an object at byte 9"),
            (r#"{"data":1,"tga":[]}"#, "unknown field `tga`"),
            ("{\n\"data\":\nx}", "not a change: expected value at byte 11"),
            (r#"[{"data":1}]"#, "an array, not a change"),
            (r#"{"data":1,"data":2}"#, "duplicate field `data`"),
            (r#"{"tags":[]}"#, "without data"),
            (r#"{"tenant":null,"data":1}"#, "invalid type: null"),
            (r#"{"deleted":true}"#, "a deletion of nothing"),
            (r#"{"key":"a","deleted":true}"#, "a deletion of nothing"),
            (r#"{"tenant":"a","data":1,"deleted":true}"#, "a deletion with data"),
        ] {
            let error = Rewrite::default().step(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
