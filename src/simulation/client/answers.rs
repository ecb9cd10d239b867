//! What answers mean.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::simulation::{
    history::{Asked, Seen, Told},
    wire::{Answer, Heard},
};

#[derive(Deserialize)]
struct Page {
    changes: Vec<Box<RawValue>>,
    last: u64,
    #[serde(rename = "atEnd")]
    at_end: bool,
}

#[derive(Deserialize)]
struct Id {
    _id: u64,
}

#[derive(Deserialize)]
struct Written {
    _id: Option<u64>,
    first: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    first: Option<u64>,
    last: Option<u64>,
    current: Option<u64>,
}

/// Of whom a name is: the newest of these members.
#[derive(Deserialize)]
struct Named {
    name: Option<String>,
    tenant: Option<Uuid>,
    collection: Option<Uuid>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Box<RawValue>>,
    #[serde(rename = "atEnd")]
    at_end: bool,
}

#[derive(Deserialize)]
struct Names {
    #[serde(alias = "collections")]
    tenants: Vec<Named>,
}

impl Named {
    fn id(&self) -> Option<Uuid> {
        self.collection.or(self.tenant)
    }
}

/// Where a page that goes backwards says to go on.
pub fn reached(heard: &Heard) -> Option<u64> {
    #[derive(Deserialize)]
    struct Back {
        before: u64,
    }
    let Heard::Answer(answer) = heard else { return None };
    let back: Back = serde_json::from_str(&answer.body).ok()?;
    (answer.status == 200).then_some(back.before)
}

/// What an answer says.
pub struct Answered {
    /// What came of the request.
    pub told: Told,
    /// The newest change that the node says to hold.
    pub last: Option<u64>,
    /// The history that it is of.
    pub cluster: Option<Uuid>,
    /// How old what the node holds may be, in seconds, where it is a copy.
    pub age: Option<u64>,
}

impl Answered {
    fn without_head(told: Told) -> Self {
        Self { told, last: None, cluster: None, age: None }
    }
}

/// The history that an answer is of.
pub fn cluster(answer: &Answer) -> Option<Uuid> {
    answer.header("changeagent-cluster").and_then(|text| text.parse().ok())
}

/// What is to be made of an answer.
pub fn told(asked: &Asked, heard: Heard) -> Answered {
    let is_read = asked.is_read();
    let answer = match heard {
        Heard::Answer(answer) => answer,
        Heard::NotSent => return Answered::without_head(Told::Failed),
        Heard::Broken => {
            return Answered::without_head(if is_read { Told::Failed } else { Told::Unknown });
        }
    };
    let last = answer.header("changeagent-last").and_then(|text| text.parse().ok());
    let told = match answer.status {
        503 => Told::Failed,
        504 if is_read => Told::Failed,
        500 if is_read => unread(&answer),
        504 => Told::Unknown,
        // Nothing of it was taken up.
        408 => Told::Failed,
        404 if !matches!(asked, Asked::Key { .. } | Asked::Delete { .. } | Asked::Redact(_)) => {
            gone(&answer)
        }
        _ => match asked {
            Asked::List { .. } | Asked::Later { .. } => list(&answer),
            Asked::State { .. } => unreachable!("it comes line by line"),
            Asked::Key { .. } => key(&answer),
            Asked::Keys { .. } => keys(&answer),
            Asked::Names { .. } => names(&answer),
            Asked::Make { .. } => made(&answer),
            Asked::Redact(_) => redacted(&answer),
            Asked::Retain { .. } if answer.status == 200 => Told::Retained,
            Asked::Retain { .. } => odd(&answer),
            Asked::Append(_) | Asked::Put { .. } | Asked::Delete { .. } | Asked::End(_) => {
                write(&answer, asked)
            }
        },
    };
    let age = answer.header("changeagent-age").and_then(|text| text.parse().ok());
    Answered { told, last, cluster: cluster(&answer), age }
}

fn odd(answer: &Answer) -> Told {
    Told::Odd(format!("{} {}", answer.status, answer.body))
}

fn problem(answer: &Answer) -> Problem {
    serde_json::from_str::<Problem>(&answer.body).unwrap_or_default()
}

/// What a node could not read: damaged, or its disk fails.
fn unread(answer: &Answer) -> Told {
    match problem(answer) {
        Problem { first: Some(first), last: Some(last), code, .. } if code == "damaged" => {
            Told::Damaged { first, last }
        }
        Problem { code, .. } if code == "internal" => Told::Failed,
        _ => odd(answer),
    }
}

fn gone(answer: &Answer) -> Told {
    if problem(answer).code == "not-found" { Told::Gone } else { odd(answer) }
}

fn write(answer: &Answer, asked: &Asked) -> Told {
    match answer.status {
        200 | 201 => match serde_json::from_str(&answer.body) {
            Ok(Written { _id: Some(first), .. } | Written { first: Some(first), .. }) => {
                Told::Done { first, created: answer.status == 201 }
            }
            _ => odd(answer),
        },
        412 => Told::Refused { current: problem(answer).current },
        404 if matches!(asked, Asked::Delete { .. }) => Told::Refused { current: None },
        _ => odd(answer),
    }
}

fn redacted(answer: &Answer) -> Told {
    match (answer.status, problem(answer).first) {
        (200, _) => Told::Redacted,
        (410, Some(first)) => Told::Purged { first },
        _ => odd(answer),
    }
}

fn made(answer: &Answer) -> Told {
    let named = serde_json::from_str(&answer.body).ok();
    match (answer.status, named.and_then(|named: Named| named.id())) {
        (201, Some(id)) => Told::Made(id),
        (409, Some(id)) => Told::Taken(id),
        _ => odd(answer),
    }
}

fn names(answer: &Answer) -> Told {
    let listed: Option<Names> = serde_json::from_str(&answer.body).ok();
    let pair = |named: Named| {
        let id = named.id()?;
        Some((named.name?, id))
    };
    let names = listed.and_then(|listed| listed.tenants.into_iter().map(pair).collect());
    names.filter(|_| answer.status == 200).map_or_else(|| odd(answer), Told::Names)
}

fn keys(answer: &Answer) -> Told {
    let listed: Option<Keys> = serde_json::from_str(&answer.body).ok();
    let Some(Keys { keys, at_end }) = listed.filter(|_| answer.status == 200) else {
        return odd(answer);
    };
    let changes: Option<Vec<Seen>> = keys.iter().map(|key| parse_change(key.get())).collect();
    changes.map_or_else(|| odd(answer), |changes| Told::Keys { changes, at_end })
}

/// The changes of a list, as they were sent.
fn parse_page(body: &str) -> Option<(Vec<Seen>, u64, bool)> {
    let page: Page = serde_json::from_str(body).ok()?;
    let changes: Option<Vec<Seen>> =
        page.changes.iter().map(|change| parse_change(change.get())).collect();
    Some((changes?, page.last, page.at_end))
}

/// One change, as it was sent.
pub fn parse_change(text: &str) -> Option<Seen> {
    let Id { _id } = serde_json::from_str(text).ok()?;
    Some(Seen { id: _id, text: text.to_owned() })
}

fn list(answer: &Answer) -> Told {
    match answer.status {
        200 => match parse_page(&answer.body) {
            Some((changes, last, at_end)) => Told::Page { changes, last, at_end },
            None => odd(answer),
        },
        410 => match serde_json::from_str(&answer.body) {
            Ok(Problem { first: Some(first), .. }) => Told::Purged { first },
            _ => odd(answer),
        },
        _ => odd(answer),
    }
}

fn key(answer: &Answer) -> Told {
    match answer.status {
        200 => parse_change(&answer.body).map_or_else(|| odd(answer), |seen| Told::Key(Some(seen))),
        404 => Told::Key(None),
        _ => odd(answer),
    }
}
