//! `changeagent token`: makes, lists and revokes tokens.

use std::{
    io::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;
use uuid::Uuid;

use super::{
    failure::{Failure, WriteFailure},
    list::PlaceArguments,
    node::{Node, NodeArguments, RetryArguments, Write},
    table::aligned,
};
use crate::base::{
    ids::Timestamp,
    moment::{self, MOMENT_MAX},
    tokens::{Token, TokenId},
};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token, and print it: this once
    Create(Create),
    /// List the tokens, without their secrets
    List(List),
    /// Revoke a token, at once and on every node
    Revoke(Revoke),
}

/// The token to be made.
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    node: NodeArguments,
    /// What it is called
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it is for
    #[arg(long, value_name = "ROLE", value_enum)]
    role: Role,
    #[command(flatten)]
    place: PlaceArguments,
    /// From when on it is good for nothing, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "MOMENT", conflicts_with = "valid_for")]
    expires: Option<String>,
    /// How long it is good, such as 30d
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    valid_for: Option<Duration>,
    /// Print one JSON object, as the node answers it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    retry: RetryArguments,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// To read
    Read,
    /// To add changes, and to read nothing
    Append,
    /// To read and to write
    Write,
    /// For everything, tokens included
    Admin,
}

/// How to show them.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    node: NodeArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    retry: RetryArguments,
}

/// Which one to revoke.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    node: NodeArguments,
    /// Its id: what stands between the first two _ of the token
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    retry: RetryArguments,
}

/// Tokens in one page.
const PAGE: usize = 1_000;

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let text = match command {
        Command::Create(arguments) => create(arguments)?,
        Command::List(arguments) => list(arguments)?,
        Command::Revoke(arguments) => revoke(arguments)?,
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::output)
}

fn create(arguments: &Create) -> Result<String, Failure> {
    let node = Node::new(&arguments.node, arguments.retry)?;
    let mut body = json!({"name": arguments.name, "scope": scope(&node, &arguments.place)?});
    if let Some(role) = arguments.role.to_possible_value() {
        body["role"] = role.get_name().into();
    }
    let moment = arguments.valid_for.map(|time| {
        let end = UNIX_EPOCH.elapsed().unwrap_or_default().checked_add(time)?;
        let end = Timestamp(u64::try_from(end.as_micros()).ok()?);
        (end <= MOMENT_MAX).then(|| moment::text_of_seconds(end))
    });
    let too_long = || Failure::Usage("--for is longer than there are dates".into());
    let expires = arguments.expires.clone().map(Some).or(moment);
    if let Some(expires) = expires {
        body["expires"] = expires.ok_or_else(too_long)?.into();
    }
    let answer = write(&node, Method::POST, "/tokens", Some(body.to_string().as_bytes()))?;
    let made: Value = read(&answer)?;
    let Some(token) = made["token"].as_str() else {
        let id = made["id"].as_str().unwrap_or_default();
        return Err(Failure::Other(format!(
            "the token {id} was made, but the answer that showed it was lost: revoke it, and make another"
        )));
    };
    Ok(if arguments.json { format!("{made}\n") } else { format!("{token}\n") })
}

/// The scope that is named; a collection by name is looked up.
fn scope(node: &Node, place: &PlaceArguments) -> Result<Value, Failure> {
    Ok(match (&place.tenant, &place.collection) {
        (None, None) => json!({}),
        (Some(tenant), None) => json!({"tenant": tenant}),
        (_, Some(id)) if Uuid::try_parse(id).is_ok() => json!({"collection": id}),
        (_, Some(_)) => {
            let found: Value = read(&node.get_json(&place.path()?)?)?;
            json!({"collection": found["collection"]})
        }
    })
}

/// A token as the node lists it.
#[derive(Deserialize)]
struct Listed {
    id: String,
    name: String,
    role: String,
    scope: Scope,
    created: String,
    expires: Option<String>,
}

#[derive(Deserialize)]
struct Scope {
    tenant: Option<Uuid>,
    collection: Option<Uuid>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tokens: Vec<Value>,
    at_end: bool,
}

fn list(arguments: &List) -> Result<String, Failure> {
    let node = Node::new(&arguments.node, arguments.retry)?;
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().and_then(|token| token["id"].as_str());
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        let Page { tokens, at_end } =
            read(&node.get_json(&format!("/tokens?limit={PAGE}{after}"))?)?;
        let is_empty = tokens.is_empty();
        all.extend(tokens);
        if at_end || is_empty {
            break;
        }
    }
    if arguments.json {
        return Ok(format!("{}\n", json!({"tokens": all})));
    }
    let heading = ["id", "name", "role", "scope", "created", "expires"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for token in all {
        let token: Listed =
            serde_json::from_value(token).map_err(|error| Failure::Other(error.to_string()))?;
        let scope = match (token.scope.tenant, token.scope.collection) {
            (_, Some(collection)) => format!("collection {collection}"),
            (Some(tenant), None) => format!("tenant {tenant}"),
            (None, None) => "everything".to_owned(),
        };
        let expires = token.expires.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![token.id, token.name, token.role, scope, token.created, expires]);
    }
    Ok(aligned(&rows))
}

fn revoke(arguments: &Revoke) -> Result<String, Failure> {
    let id = id_of(&arguments.id)?;
    let node = Node::new(&arguments.node, arguments.retry)?;
    write(&node, Method::DELETE, &format!("/tokens/{id}"), None)?;
    Ok(format!("revoked {id}\n"))
}

/// The id that is given, perhaps as a part of the whole token: a secret, which is neither sent nor shown.
fn id_of(given: &str) -> Result<TokenId, Failure> {
    let id = Token::id_of(given.as_bytes()).or_else(|| given.parse().ok());
    id.ok_or_else(|| {
        Failure::Usage("ID is what stands between the first two _ of the token".into())
    })
}

fn write(
    node: &Node,
    method: Method,
    target: &str,
    body: Option<&[u8]>,
) -> Result<Vec<u8>, Failure> {
    let key = Uuid::new_v4().to_string();
    node.write(&Write { method, target, key: &key, body }).map_err(WriteFailure::told)
}

fn read<T: for<'de> Deserialize<'de>>(answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::Other(format!("the answer cannot be read: {error}")))
}
