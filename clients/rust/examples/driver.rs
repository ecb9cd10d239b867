//! The driver of the Rust client for the conformance program: `driver [--async-io] JSON`.
//!
//! With `--async-io` it runs without tokio, on a connector of its own.

#![expect(clippy::indexing_slicing, reason = "what is absent in the JSON is null")]

use std::{error::Error as StdError, io, time::Duration};

use changeagent_client::{
    Change, Client, Condition, Connector, Error, Follow, Keep, Mirror, MirrorOptions, Mode,
    NewChange, Options, Page, Place, Since, TokioTls, WriteError,
};
use serde_json::{Value, json};

type Outcome = Result<Value, Box<dyn StdError>>;

/// Connects by async-io.
struct AsyncIo;

impl Connector for AsyncIo {
    type Connection = async_io::Async<std::net::TcpStream>;

    async fn connect(&self, host: &str, port: u16, _tls: bool) -> io::Result<Self::Connection> {
        let address = (host, port);
        let address = std::net::ToSocketAddrs::to_socket_addrs(&address)?.next();
        let address = address.ok_or(io::ErrorKind::NotFound)?;
        let stream = async_io::Async::<std::net::TcpStream>::connect(address).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(stream)
    }

    async fn sleep(&self, duration: Duration) {
        async_io::Timer::after(duration).await;
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_async_io = arguments.next_if_eq("--async-io").is_some();
    let task: Value = serde_json::from_str(&arguments.next().ok_or("no JSON is given")?)?;
    if is_async_io {
        async_io::block_on(run(AsyncIo, task))
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // What the client does can be handed to any thread where the connector can.
        fn sendable<T: Send>(future: T) -> T {
            future
        }
        runtime.block_on(sendable(run(TokioTls::of_system()?, task)))
    }
}

async fn run<C: Connector>(connector: C, task: Value) -> Result<(), Box<dyn StdError>> {
    let nodes = strings(&task["nodes"]);
    let client =
        Client::new(connector, nodes.iter().map(String::as_str), options(&task["options"]))?;
    for call in task["calls"].as_array().into_iter().flatten() {
        match perform(&client, call).await {
            Ok(ok) => say(&json!({ "ok": ok })),
            Err(error) => say(&json!({ "error": failure(error)? })),
        }
    }
    Ok(())
}

fn say(line: &Value) {
    println!("{line}");
}

fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_f64().map(Duration::from_secs_f64)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn options(given: &Value) -> Options {
    let usual = Options::default();
    Options {
        token: text(&given["token"]),
        cluster: text(&given["cluster"]),
        retries: given["retries"].as_u64().map_or(usual.retries, |n| n as u32),
        pause_min: seconds(&given["pause_min"]).unwrap_or(usual.pause_min),
        pause_max: seconds(&given["pause_max"]).unwrap_or(usual.pause_max),
        silence: seconds(&given["silence"]).unwrap_or(usual.silence),
        ..usual
    }
}

fn show(change: &Change) -> Value {
    json!([change.id, change.data_json(), change.position.to_string()])
}

fn show_all(page: &Page) {
    for change in &page.changes {
        say(&json!({ "change": show(change) }));
    }
}

fn place(call: &Value) -> Place {
    match (text(&call["tenant"]), text(&call["collection"])) {
        (Some(tenant), Some(collection)) => Place::named(tenant, collection),
        (Some(tenant), None) => Place::tenant(tenant),
        (None, Some(collection)) => Place::collection(collection),
        (None, None) => Place::everything(),
    }
}

fn change(call: &Value) -> Result<NewChange, Error> {
    let mut change = NewChange::of(&call["data"])?;
    for tag in strings(&call["tags"]) {
        change = change.tag(tag);
    }
    Ok(change)
}

fn condition(call: &Value) -> Condition {
    match call["if_match"].as_u64() {
        Some(version) => Condition::Version(version),
        None if call["if_absent"] == true => Condition::Absent,
        None => Condition::Any,
    }
}

fn follow(call: &Value) -> Result<Follow, Error> {
    let mut follow = Follow::of(place(call));
    follow.tags = strings(&call["tags"]);
    follow.since = match &call["since"] {
        Value::String(now) if now == "now" => Since::Now,
        Value::String(position) => Since::Position(position.parse()?),
        id => Since::Id(id.as_u64().unwrap_or(0)),
    };
    follow.mode = if call["mode"] == "stream" { Mode::Stream } else { Mode::Wait };
    follow.limit = call["limit"].as_u64().map_or(follow.limit, |limit| limit as u32);
    follow.block = seconds(&call["block"]).unwrap_or(follow.block);
    Ok(follow)
}

/// Whether it is the page that ends the call.
fn is_last(call: &Value, page: &Page) -> bool {
    if call["until_id"].as_u64().is_some_and(|id| page.position.id >= id) {
        return true;
    }
    let end = call["until_data"].as_str();
    end.is_some() && page.changes.iter().any(|change| change.data_json() == end)
}

async fn perform<C: Connector>(client: &Client<C>, call: &Value) -> Outcome {
    let key = call["idempotency_key"].as_str();
    let name = call["key"].as_str().unwrap_or_default();
    match call["op"].as_str().unwrap_or_default() {
        "append" => Ok(client.append(change(call)?, key).await?.into()),
        "append_batch" => {
            let changes = call["changes"].as_array().into_iter().flatten().map(change);
            let done = client.append_batch(&changes.collect::<Result<Vec<_>, _>>()?, key).await?;
            Ok(json!({ "first": done.first, "last": done.last, "count": done.count }))
        }
        "put" => {
            let (place, change) = (place(call), change(call)?);
            Ok(client.put(&place, name, change, condition(call), key).await?.into())
        }
        "delete" => Ok(client.delete(&place(call), name, condition(call), key).await?.into()),
        "get" => Ok(client.get(&place(call), name, None).await?.as_ref().map(show).into()),
        "read" => {
            let since = call["since"].as_u64().unwrap_or(0);
            let limit = call["limit"].as_u64().unwrap_or(100) as u32;
            let page = client.read(&place(call), since, limit, None).await?;
            show_all(&page);
            Ok(json!({ "position": page.position.to_string() }))
        }
        "keys" => {
            let prefix = call["prefix"].as_str().unwrap_or_default();
            let (mut after, mut at_end) = (None, false);
            while !at_end {
                let (keys, is_last) = client.keys(&place(call), prefix, after.as_deref()).await?;
                keys.iter().for_each(|key| say(&json!({ "change": show(key) })));
                after = keys.last().and_then(|last| last.key.clone());
                at_end = is_last || after.is_none();
            }
            Ok(Value::Null)
        }
        "follow" => {
            let mut follower = client.follow(follow(call)?);
            loop {
                let page = follower.next_page().await?;
                show_all(&page);
                if is_last(call, &page) {
                    return Ok(json!({ "position": page.position.to_string() }));
                }
            }
        }
        "state" => {
            let mut state = client.state(&place(call), None)?;
            let mut position = None;
            while let Some(page) = state.next_page().await? {
                show_all(&page);
                position = Some(page.position.to_string());
            }
            Ok(json!({ "position": position }))
        }
        "mirror" => mirror(client, call).await,
        other => Err(format!("no such call: {other}").into()),
    }
}

async fn mirror<C: Connector>(client: &Client<C>, call: &Value) -> Outcome {
    let options = MirrorOptions {
        keep: if call["keep"] == "keys" { Keep::Keys } else { Keep::Changes },
        rebuild: call["rebuild"] == true,
        on_page: Some(Box::new(|db, page| {
            for change in &page.changes {
                db.execute("INSERT INTO seen VALUES (?)", [change.id as i64])?;
            }
            Ok(())
        })),
        on_reset: Some(Box::new(|db, problem| {
            db.execute("DELETE FROM seen", [])?;
            db.execute("INSERT INTO resets VALUES (?)", [&problem.code])?;
            Ok(())
        })),
        ..MirrorOptions::default()
    };
    let path = call["path"].as_str().ok_or("no path")?;
    let mut mirror = Mirror::open(client.clone(), path, follow(call)?, options)?;
    mirror.db().execute_batch(
        "CREATE TABLE IF NOT EXISTS seen (id INTEGER); CREATE TABLE IF NOT EXISTS resets (code TEXT)",
    )?;
    loop {
        let page = mirror.next_page().await?;
        if is_last(call, &page) {
            return Ok(json!({ "position": page.position.to_string() }));
        }
    }
}

/// What is told of a failure of the client; any other ends the program.
fn failure(error: Box<dyn StdError>) -> Result<Value, Box<dyn StdError>> {
    let mut told = json!({ "outcome_unknown": false });
    let error = match error.downcast::<WriteError>() {
        Ok(failed) => {
            told["outcome_unknown"] = failed.outcome_unknown.into();
            told["idempotency_key"] = failed.idempotency_key.into();
            failed.error
        }
        Err(error) => *error.downcast::<Error>()?,
    };
    told["kind"] = match &error {
        Error::Refused(_) => "refused".into(),
        Error::Reset(_) => "reset".into(),
        Error::Broken(_) => "broken".into(),
        _ => return Err(error.into()),
    };
    if let Some(problem) = error.problem() {
        told["status"] = problem.status.into();
        told["code"] = problem.code.clone().into();
        told["detail"] = problem.detail.clone().into();
        told["first"] = problem.first().into();
        told["cluster"] = problem.cluster().into();
        told["problem"] = problem.members.clone().into();
    }
    Ok(told)
}
