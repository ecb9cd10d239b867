//! Bodies, targets, header fields and JSON of any kind: none of them may do harm,
//! and what is accepted means what another reader of the same bytes takes it for.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    body::{Members, Scope, name, object, parse},
    hand_on::passed_on,
    json,
    request::{
        ChangesQuery, ReadOf, ReadQuery,
        accept::{self, Media},
        conditions,
        content_type::{self, Form},
        idempotency::KeyedHead,
    },
    route::Resource,
};
use crate::{
    base::{
        batch::{Batch, encode, fuzzing::read_all},
        ids::Timestamp,
        limits::{Limits, QUERY_TAGS_MAX},
        names::is_name,
    },
    http::{Request, fuzzing::request},
    node::copy::fuzzing::said,
    state::{fuzzing::catalog, index::Catalog},
    upstream,
};

/// The tenant and the collection there are.
const TENANT: Uuid = Uuid::from_u128(1);
const COLLECTION: Uuid = Uuid::from_u128(2);

/// The body of a write to one of the paths that take one, which the first byte
/// chooses.
///
/// # Panics
/// When what is accepted is no valid batch, or does not read back as itself.
pub fn change_body(input: &[u8]) {
    let Some((&choice, body)) = input.split_first() else { return };
    let form = if choice & 1 == 0 { Form::Json } else { Form::Ndjson };
    let (members, in_collection) = match choice >> 1 & 3 {
        0 | 3 => (Members::Change, false),
        1 => (Members::Item, true),
        _ => (Members::Value, true),
    };
    let scope = Scope {
        members,
        tenant: (in_collection || choice & 8 != 0).then_some(TENANT),
        collection: in_collection.then_some(COLLECTION),
        key: (members == Members::Value).then(|| "k\"ey".into()),
    };
    let catalog = catalog(TENANT, COLLECTION);
    let limits = Limits::default();
    match parse(body, form, &limits, &scope, (&catalog).into()) {
        Err(error) => assert!(error.offset <= body.len()),
        Ok(accepted) => {
            let count = accepted.append.spans.len();
            assert!(accepted.append.suffixes.len() <= body.len() + 4096 * count.max(1));
            let batch = batch_of(accepted.append.into());
            read_all(&batch);
            (0..batch.changes()).for_each(|n| reads_back(&batch, n, &catalog));
        }
    }
}

fn batch_of(command: crate::base::batch::Command) -> Batch {
    let Ok(batch) = Batch::parse(encode(&[command], Timestamp(1))) else {
        panic!("an accepted body is a valid batch");
    };
    batch
}

/// A change, sent again as it would be shown, is the same change.
fn reads_back(batch: &Batch, n: u32, catalog: &Catalog) {
    let suffix = batch.change(n).suffix;
    assert!(!suffix.contains(&b'\n'), "a change is one line");
    let Some(members) = suffix.strip_prefix(b",") else { panic!("a suffix goes on with a comma") };
    let body = [b"{", members].concat();
    assert!(serde_json::from_slice::<&RawValue>(&body).is_ok(), "a change is JSON");
    let scope = Scope::default();
    match parse(&body, Form::Json, &Limits::default(), &scope, catalog.into()) {
        Ok(again) => assert_eq!(batch_of(again.append.into()).change(0).suffix, suffix),
        Err(error) => panic!("what was accepted is refused: {error:?}"),
    }
}

/// What an origin answers a copy: pieces of its log above all, and what is passed on to clients.
///
/// # Panics
/// When it is understood in two ways, or what is passed on has another body.
pub fn answer(input: &[u8]) {
    let Some(answer) = upstream::fuzzing::answer(input) else { return };
    said(&answer);
    let (status, body) = (answer.status, answer.body.clone());
    let passed_on = passed_on(answer);
    if passed_on.status() == status {
        assert_eq!(passed_on.body(), &body);
    }
}

/// The body that creates a tenant or a collection, or that changes the members.
///
/// # Panics
/// When another name or number is read than another parser finds.
pub fn small_body(body: &[u8]) {
    let other = serde_json::from_slice::<serde_json::Value>(body).ok();
    let other = other.as_ref().and_then(serde_json::Value::as_object);
    if let Ok(name) = name::parse(body, Form::Json) {
        assert!(is_name(&name));
        let found = other.and_then(|object| object.get("name")).and_then(|name| name.as_str());
        assert_eq!(found, Some(&*name));
    }
    for known in [&["address", "role"][..], &["role", "address", "cluster_address"], &["id"]] {
        let Ok(mut object) = object::parse(body, known) else { continue };
        for name in known {
            let Some((at, value)) = object.take(name) else { continue };
            assert!(at < body.len());
            let found = other.and_then(|object| object.get(*name));
            match value {
                object::Value::Text(text) => {
                    assert_eq!(found.and_then(|found| found.as_str()), Some(&*text));
                }
                object::Value::Number(number) => {
                    let Some(found) = found.and_then(serde_json::Value::as_number) else {
                        panic!("no number");
                    };
                    let same = found.as_u64() == Some(number)
                        || found.as_f64().is_some_and(|found| found == number as f64);
                    assert!(same, "{number} for {found}");
                }
            }
        }
    }
}

/// A target, and header fields after the first line feed.
///
/// # Panics
/// When a path or a query is decoded otherwise than by the plain rules.
pub fn target(input: &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (target, fields) = input.split_at(end);
    let fields = fields.split(|&byte| byte == b'\n').filter(|field| !field.is_empty());
    let fields: Vec<u8> = fields.flat_map(|field| [field, b"\r\n"].concat()).collect();
    let head = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n", &fields, b"\r\n"].concat();
    let Some(request) = request(&head) else { return };
    let raw = request.target();
    if raw.starts_with('/') && !raw.contains('#') {
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        let segments: Vec<_> = path[1..].split('/').map(decoded).collect();
        assert_eq!(segments, request.path_segments().to_vec());
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let plus = |text: &str| decoded(&text.replace('+', " ")).into_owned();
        let pairs: Vec<_> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (plus(name), plus(value)))
            .collect();
        let found: Vec<_> = request.query().collect();
        assert!(pairs.iter().map(|(name, value)| (&**name, &**value)).eq(found));
    }
    meanings(&request);
}

fn decoded(text: &str) -> Cow<'_, str> {
    match percent_decode(text.as_bytes()).decode_utf8() {
        Ok(text) => text,
        Err(_) => panic!("{text:?} is no text and was accepted"),
    }
}

/// Everything that is read from the head of a request.
fn meanings(request: &Request) {
    let catalog = catalog(TENANT, COLLECTION);
    if let Some(resource) = Resource::of(&request.path_segments()) {
        let found = resource.list((&catalog).into());
        assert!(!resource.methods().is_empty());
        assert!(found.is_ok() || resource.is_list());
        let _ = resource.missing((&catalog).into());
    }
    let pairs = || request.query();
    if let Ok(query) = ChangesQuery::parse(pairs()) {
        assert!(pairs().filter(|(name, _)| *name == "tag").count() <= QUERY_TAGS_MAX);
        assert!(query.limit.is_none_or(|limit| limit > 0));
    }
    for of in [ReadOf::One, ReadOf::Names, ReadOf::Keys, ReadOf::Key, ReadOf::State] {
        let _ = ReadQuery::parse(of, pairs());
    }
    let write = conditions::of_write(request);
    let read = conditions::of_read(request);
    assert_eq!(write.is_ok(), read.is_ok());
    let _ = conditions::has_weak_match(request);
    let offered = [Media::Json, Media::Ndjson, Media::Events];
    if let Ok(chosen) = accept::choose(request, &offered) {
        assert!(offered.contains(&chosen));
    }
    let _ = accept::takes_only(request, Media::Events);
    let content_type = request.content_type().and_then(|value| std::str::from_utf8(value).ok());
    let form = content_type::form(content_type).unwrap_or(Form::Json);
    if let Ok(Some(keyed)) = KeyedHead::of(request, form) {
        let asked = keyed.with_body(b"{}");
        assert_ne!(asked.of(None).key, asked.of(Some(TENANT)).key);
    }
}

/// JSON, held against another parser.
///
/// # Panics
/// When the two differ on whether it is JSON, or on what a string says.
pub fn json(bytes: &[u8]) {
    const DEEP: usize = 1 << 20;
    let ours = json::validate(bytes, DEEP);
    let theirs = serde_json::from_slice::<&RawValue>(bytes);
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{ours:?} {theirs:?}");
    match ours {
        Err(error) => assert!(error.offset <= bytes.len()),
        Ok(value) => {
            let text = &bytes[value.start..value.end];
            assert_eq!(text, bytes.trim_ascii());
            let mut compact = Vec::new();
            json::compact(&mut compact, text);
            assert_eq!(compact.len(), value.compact_bytes());
            assert!(json::validate(&compact, DEEP).is_ok());
            let read = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).ok();
            assert_eq!(read(text), read(&compact));
            string(text);
        }
    }
}

/// A valid value that is a string, read as text.
fn string(text: &[u8]) {
    let inner = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    let Some(Ok(inner)) = inner.map(std::str::from_utf8) else { return };
    let ours = json::unescape(inner).ok();
    let theirs = serde_json::from_slice::<String>(text).ok();
    assert_eq!(ours.as_deref(), theirs.as_deref());
}
