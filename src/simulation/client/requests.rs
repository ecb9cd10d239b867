//! Requests as they are sent.

use std::fmt::Write as _;

use super::estate::Estate;
use crate::simulation::{
    history::{Asked, Condition, Consistency, Filter, New, Thing},
    wire::Request,
};

/// The request for that, with further parameters, each with its `&`.
pub fn request(asked: &Asked, more: &str, estate: &Estate) -> Request {
    match asked {
        Asked::Append(news) => append(news, estate),
        Asked::Put { new, condition } => put(new, *condition, estate),
        Asked::Delete { key, condition } => {
            let path = estate.path(Thing::Collection(key.collection));
            let target = format!("{path}/keys/k{}", key.number);
            conditional(Request { method: "DELETE", ..Request::get(target) }, *condition)
        }
        Asked::Make { tenant, name } => {
            let target = match tenant {
                None => "/tenants".to_owned(),
                Some(tenant) => format!("{}/collections", estate.path(Thing::Tenant(*tenant))),
            };
            Request::with_body("POST", target, format!(r#"{{"name":"{name}"}}"#))
        }
        Asked::End(thing) => Request { method: "DELETE", ..Request::get(estate.path(*thing)) },
        Asked::Redact(id) => {
            Request { method: "POST", ..Request::get(format!("/changes/{id}/redact")) }
        }
        Asked::Retain { tenant, changes } => {
            let target = format!("{}/retention", estate.path(Thing::Tenant(*tenant)));
            Request::with_body("PUT", target, format!(r#"{{"changes":{changes}}}"#))
        }
        Asked::List { filter, since, consistency } => {
            let (list, consistency) = (list(*filter, estate), consistency_query(*consistency));
            Request::get(format!("{list}since={since}{consistency}{more}"))
        }
        Asked::Later { filter, at, consistency } => {
            let (list, consistency) = (list(*filter, estate), consistency_query(*consistency));
            Request::get(format!("{list}since_ts={at}{consistency}{more}"))
        }
        Asked::State { collection } => {
            let path = estate.path(Thing::Collection(*collection));
            Request::get(format!("{path}/state?cursors=true{more}"))
                .header("Accept", "application/x-ndjson".to_owned())
        }
        Asked::Key { key, consistency } => {
            let path = estate.path(Thing::Collection(key.collection));
            let query = format!("{}{more}", consistency_query(*consistency));
            let query = query.strip_prefix('&').map(|query| format!("?{query}"));
            Request::get(format!("{path}/keys/k{}{}", key.number, query.unwrap_or_default()))
        }
        Asked::Keys { collection, prefix, after, limit, consistency } => {
            let path = estate.path(Thing::Collection(*collection));
            let consistency = consistency_query(*consistency);
            let mut target = format!("{path}/keys?limit={limit}&prefix={prefix}{consistency}");
            if !after.is_empty() {
                write!(target, "&after={after}").unwrap();
            }
            Request::get(target)
        }
        Asked::Names { tenant: None } => {
            Request::get("/tenants?limit=1000&consistency=strong".to_owned())
        }
        Asked::Names { tenant: Some(tenant) } => {
            let path = estate.path(Thing::Tenant(*tenant));
            Request::get(format!("{path}/collections?limit=1000&consistency=strong"))
        }
    }
}

/// The path of a list, up to its first parameter.
pub fn list(filter: Filter, estate: &Estate) -> String {
    let tag = filter.tag.map(|tag| format!("tag=g{tag}&")).unwrap_or_default();
    if filter.also.is_some() {
        let parameter = |thing| match thing {
            Thing::Tenant(id) => format!("tenant={id}&"),
            Thing::Collection(id) => format!("collection={id}&"),
        };
        let lists: String = filter.things().map(parameter).collect();
        return format!("/changes?{lists}{tag}");
    }
    let of = filter.of.map(|thing| estate.path(thing)).unwrap_or_default();
    format!("{of}/changes?{tag}")
}

fn append(news: &[New], estate: &Estate) -> Request {
    let first = news[0].place;
    let is_of_one = news.iter().all(|new| new.place.tenant == first.tenant);
    let has_collections = news.iter().any(|new| new.place.collection.is_some());
    let tenant = first.tenant.filter(|_| is_of_one && !has_collections);
    let changes: Vec<String> = news.iter().map(|new| change(new, tenant.is_none())).collect();
    let body = match &changes[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(",")),
    };
    let of = tenant.map(|tenant| estate.path(Thing::Tenant(tenant))).unwrap_or_default();
    Request::with_body("POST", format!("{of}/changes"), body)
}

/// One change; `names_all` when its path does not say where it belongs.
fn change(new: &New, names_all: bool) -> String {
    let mut text = "{".to_owned();
    if names_all {
        let mut member = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                write!(text, r#""{name}":"{value}","#).unwrap();
            }
        };
        member("tenant", new.place.tenant.map(|id| id.to_string()));
        member("collection", new.place.collection.map(|id| id.to_string()));
        member("key", new.place.key.map(|key| format!("k{key}")));
    }
    if let Some(ttl) = new.place.ttl {
        write!(text, r#""ttl":{ttl},"#).unwrap();
    }
    if let Some(tag) = new.place.tag {
        write!(text, r#""tags":["g{tag}"],"#).unwrap();
    }
    let padding = ".".repeat(padding_bytes(new.label));
    write!(text, r#""data":{{"w":{},"p":"{padding}"}}}}"#, new.label).unwrap();
    text
}

/// How much further data a change has: some fill segments.
fn padding_bytes(label: u64) -> usize {
    if label.is_multiple_of(3) { (label * 97 % 6_000) as usize } else { 0 }
}

/// One of the two ways to set a key; only one knows conditions.
fn put(new: &New, condition: Condition, estate: &Estate) -> Request {
    let place = new.place.key().expect("it is set at a key");
    let (path, key) = (estate.path(Thing::Collection(place.collection)), place.number);
    let data = change(new, false);
    if condition == Condition::None && new.label.is_multiple_of(2) {
        let members = data.strip_prefix('{').expect("an object");
        let body = format!(r#"{{"key":"k{key}",{members}"#);
        return Request::with_body("POST", format!("{path}/keys"), body);
    }
    conditional(Request::with_body("PUT", format!("{path}/keys/k{key}"), data), condition)
}

fn conditional(request: Request, condition: Condition) -> Request {
    match condition {
        Condition::None => request,
        Condition::Is(id) => request.header("If-Match", format!("\"{id}\"")),
        Condition::IsOneOf(one, other) => {
            request.header("If-Match", format!("\"{one}\", \"{other}\""))
        }
        Condition::IsNot(id) => request.header("If-None-Match", format!("\"{id}\"")),
        Condition::Exists => request.header("If-Match", "*".to_owned()),
        Condition::IsAbsent => request.header("If-None-Match", "*".to_owned()),
    }
}

fn consistency_query(consistency: Consistency) -> String {
    match consistency {
        Consistency::Local => String::new(),
        Consistency::Strong => "&consistency=strong".into(),
        Consistency::AtLeast(id) => format!("&min_id={id}"),
    }
}
