//! What each peer is asked for the same work.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::start::{PAGE, Peer};
use crate::answers::json;
use crate::args::{LoadArguments, PeerName, PeersArguments};
use crate::base::random::{Random, run_id};
use crate::commands::ingest::{Ingest, post_requests};
use crate::commands::read::Reads;
use crate::http::control::Control;
use crate::http::resp::command;
use crate::http::target::{Target, Targets};
use crate::load::fleet::Fleet;
use crate::load::payload::{Origin, Payload};
use crate::load::turn::{Turn, Turned, Write};
use crate::load::verify::verify;
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;

/// Changes in a request of many: what etcd takes by default, and the others.
const ETCD_BATCH: u16 = 100;
const BATCH: u16 = 1_000;
/// Changes in an answer.
const PAGE_CHANGES: u16 = 100;
/// Connections that append many, and that read.
pub(super) const BATCH_CONNECTIONS: u16 = 4;
pub(super) const READ_CONNECTIONS: u16 = 64;
/// How long filling may take.
const FILL_TIME: Duration = Duration::from_secs(60);
/// The streams of Redis that are appended to, and read.
pub(super) const STREAM: &[u8] = b"s";
const READ_STREAM: &[u8] = b"r";

/// What a turn brought.
pub(super) struct Brought {
    pub(super) tally: Tally,
    pub(super) measured: Duration,
    /// Changes that were acknowledged, where the peer is asked for their number afterwards.
    pub(super) acknowledged: u64,
    pub(super) verification: Option<Verification>,
}

impl From<Turned> for Brought {
    fn from(turned: Turned) -> Self {
        let Turned { tally, measured, done } = turned;
        Self { tally, measured, acknowledged: done, verification: None }
    }
}

/// How many changes a request of many has.
pub(super) fn batch(name: PeerName) -> u16 {
    if name == PeerName::Etcd { ETCD_BATCH } else { BATCH }
}

fn fleet(arguments: &PeersArguments, target: Target, connections: u16) -> Fleet {
    Fleet {
        targets: Targets::from(target),
        connections: usize::from(connections),
        threads: arguments.client.threads.min(usize::from(connections)),
        timeout: arguments.client.timeout,
        label: None,
    }
}

/// Appends, so many changes a request, as fast as they are answered. The turn makes names differ.
pub(super) fn append(
    arguments: &PeersArguments,
    peer: &Peer,
    connections: u16,
    batch: u16,
    turn: u32,
) -> Result<Brought> {
    let payload = Payload::new(run_id(), arguments.size)?;
    let turn_of = |target: Target, write: Write<'_>| {
        let turn = Turn {
            fleet: fleet(arguments, target, connections),
            write,
            changes: batch,
            warmup: arguments.turn.warmup,
            duration: arguments.turn.slice,
            requests_max: u32::MAX,
        };
        turn.run().map(Brought::from)
    };
    match peer.name {
        PeerName::Changeagent | PeerName::Nginx => {
            append_posts(arguments, peer, connections, batch, payload)
        }
        PeerName::Redis => turn_of(peer.target.clone().redis(batch.into()), &|out, origin| {
            redis_adds(out, STREAM, &payload, origin, batch, |_| b"*".to_vec());
        }),
        PeerName::Etcd => turn_of(peer.target.clone(), &|out, origin| {
            let key = |sequence| format!("w{turn}-{}-{sequence}", origin.worker);
            etcd_puts(out, &peer.target, &payload, origin, batch, key);
        }),
    }
}

/// Those who take the POST of a change as it is; what ChangeAgent has acknowledged is read back.
fn append_posts(
    arguments: &PeersArguments,
    peer: &Peer,
    connections: u16,
    batch: u16,
    payload: Payload,
) -> Result<Brought> {
    let fleet = fleet(arguments, peer.target.clone(), connections);
    let load = LoadArguments { connections, size: arguments.size, batch, tags: Vec::new() };
    let is_kept = peer.name == PeerName::Changeagent;
    let path = if is_kept { "/changes" } else { "/" };
    let ingest = Ingest {
        requests: post_requests(&payload, &fleet.targets, path, &load)?,
        fleet,
        payload,
        batch,
        rate: None,
        warmup: arguments.turn.warmup,
        duration: arguments.turn.slice,
        expect_status: None,
        record: is_kept,
        worker_base: 0,
        lists: 1,
        sends: None,
    };
    let mut control = Control::new(&peer.target, arguments.client.timeout);
    let base = if is_kept { control.newest("/changes")? } else { 0 };
    let mut ingested = ingest.run()?;
    let ledger = std::mem::take(&mut ingested.ledger);
    let verification =
        is_kept.then(|| verify(&mut control, &ingest.payload, ledger, base)).transpose()?;
    let (tally, measured) = (ingested.tally, ingested.measured);
    Ok(Brought { tally, measured, acknowledged: 0, verification })
}

/// Stores what is read later, over one connection; how many changes that are.
pub(super) fn fill(arguments: &PeersArguments, peer: &Peer) -> Result<u64> {
    let payload = Payload::new(run_id(), arguments.size)?;
    let changes = match peer.name {
        PeerName::Nginx => return Ok(0),
        name => batch(name),
    };
    let requests_max = arguments.records.div_ceil(changes.into());
    let redis = |out: &mut Vec<u8>, origin| {
        let id = |sequence: u32| format!("{}-0", sequence + 1).into_bytes();
        redis_adds(out, READ_STREAM, &payload, origin, changes, id);
    };
    let etcd = |out: &mut Vec<u8>, origin| {
        etcd_puts(out, &peer.target, &payload, origin, changes, read_key);
    };
    let own = |out: &mut Vec<u8>, origin| {
        changeagent_posts(out, &peer.target, &payload, origin, changes);
    };
    let target = peer.target.clone();
    let (target, write): (_, Write<'_>) = match peer.name {
        PeerName::Redis => (target.redis(changes.into()), &redis),
        PeerName::Etcd => (target, &etcd),
        PeerName::Changeagent | PeerName::Nginx => (target, &own),
    };
    let turn = Turn {
        fleet: fleet(arguments, target, 1),
        write,
        changes,
        warmup: Duration::ZERO,
        duration: FILL_TIME,
        requests_max,
    };
    let done = turn.run()?.done;
    ensure!(done >= arguments.records.into(), "only {done} changes were stored before the reads");
    Ok(if peer.name == PeerName::Changeagent { 0 } else { done })
}

/// Reads 100 changes at random places among those that were filled in.
pub(super) fn read(arguments: &PeersArguments, peer: &Peer, turn: u32) -> Result<Brought> {
    let below = u64::from(arguments.records - u32::from(PAGE_CHANGES));
    if peer.name == PeerName::Changeagent {
        let reads = Reads {
            fleet: fleet(arguments, peer.target.clone(), READ_CONNECTIONS),
            path: "/changes".to_owned(),
            limit: PAGE_CHANGES.into(),
            random_below: Some(below),
            rate: None,
            warmup: arguments.turn.warmup,
            duration: arguments.turn.slice,
            verify: false,
        };
        let (part, verification) = reads.run()?;
        return Ok(Brought {
            tally: part.tally,
            measured: part.measured,
            acknowledged: 0,
            verification,
        });
    }
    let place = |origin: Origin| {
        let seed =
            u64::from(turn) << 48 | u64::from(origin.worker) << 32 | u64::from(origin.sequence);
        Random::new(seed).below(below)
    };
    let fields = &peer.target.fields;
    let redis = |out: &mut Vec<u8>, origin| {
        let from = format!("{}-0", place(origin) + 1);
        command(out, &[b"XRANGE", READ_STREAM, from.as_bytes(), b"+", b"COUNT", b"100"]);
    };
    let etcd = |out: &mut Vec<u8>, origin| {
        // Up to the key behind the page: etcd looks at all that a range holds, whatever its limit.
        let first = place(origin) as u32;
        let [from, to] = [first, first + u32::from(PAGE_CHANGES)].map(read_key);
        let (from, to) = (STANDARD.encode(from), STANDARD.encode(to));
        let body = format!("{{\"key\":\"{from}\",\"range_end\":\"{to}\"}}");
        post(out, &peer.target, "/v3/kv/range", body.as_bytes());
    };
    let nginx = |out: &mut Vec<u8>, _| {
        out.extend_from_slice(format!("GET {PAGE} HTTP/1.1\r\n{fields}\r\n").as_bytes());
    };
    let (target, write): (_, Write<'_>) = match peer.name {
        PeerName::Redis => (peer.target.clone().redis(1), &redis),
        PeerName::Etcd => (peer.target.clone(), &etcd),
        PeerName::Nginx | PeerName::Changeagent => (peer.target.clone(), &nginx),
    };
    let turn = Turn {
        fleet: fleet(arguments, target, READ_CONNECTIONS),
        write,
        changes: PAGE_CHANGES,
        warmup: arguments.turn.warmup,
        duration: arguments.turn.slice,
        requests_max: u32::MAX,
    };
    Ok(Brought { acknowledged: 0, ..Brought::from(turn.run()?) })
}

/// How many changes a peer says that it has; none of those that are read back or keep nothing.
pub(super) fn stored(arguments: &PeersArguments, peer: &Peer) -> Result<Option<u64>> {
    #[derive(Deserialize)]
    struct Range {
        count: String,
    }
    match peer.name {
        PeerName::Changeagent | PeerName::Nginx => Ok(None),
        PeerName::Redis => {
            let mut question = Vec::new();
            command(&mut question, &[b"XLEN", STREAM]);
            command(&mut question, &[b"XLEN", READ_STREAM]);
            let mut control = Control::new(&peer.target.clone().redis(2), arguments.client.timeout);
            let answer = String::from_utf8_lossy(control.send(&question)?).into_owned();
            let counts = answer.lines().map(|line| line.trim_start_matches(':').parse::<u64>());
            Ok(Some(counts.sum::<Result<u64, _>>().context("XLEN answers no number")?))
        }
        PeerName::Etcd => {
            let mut control = Control::new(&peer.target, arguments.client.timeout);
            let question = r#"{"key":"AA==","range_end":"AA==","count_only":true}"#;
            let range: Range = json::read(control.post("/v3/kv/range", question)?)
                .context("etcd answers no count")?;
            Ok(Some(range.count.parse().context("etcd answers no count")?))
        }
    }
}

/// The key of a change that is read later: their order is that of their numbers.
fn read_key(sequence: u32) -> String {
    format!("r{sequence:09}")
}

fn changes(origin: Origin, count: u16) -> impl Iterator<Item = Origin> {
    let worker = origin.worker;
    (origin.sequence..).take(count.into()).map(move |sequence| Origin { worker, sequence })
}

/// A POST of JSON.
pub(super) fn post(out: &mut Vec<u8>, target: &Target, path: &str, body: &[u8]) {
    let (fields, length) = (&target.fields, body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\n{fields}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

fn changeagent_posts(
    out: &mut Vec<u8>,
    target: &Target,
    payload: &Payload,
    first: Origin,
    count: u16,
) {
    let mut body = Vec::new();
    for origin in changes(first, count) {
        body.extend_from_slice(if body.is_empty() { b"[{\"data\":" } else { b",{\"data\":" });
        payload.write(&mut body, origin);
        body.push(b'}');
    }
    body.push(b']');
    post(out, target, "/changes", &body);
}

fn redis_adds(
    out: &mut Vec<u8>,
    stream: &[u8],
    payload: &Payload,
    first: Origin,
    count: u16,
    id: impl Fn(u32) -> Vec<u8>,
) {
    let mut data = Vec::new();
    for origin in changes(first, count) {
        data.clear();
        payload.write(&mut data, origin);
        command(out, &[b"XADD", stream, &id(origin.sequence), b"d", &data]);
    }
}

fn etcd_puts(
    out: &mut Vec<u8>,
    target: &Target,
    payload: &Payload,
    first: Origin,
    count: u16,
    key: impl Fn(u32) -> String,
) {
    let put = |origin: Origin| {
        let mut data = Vec::new();
        payload.write(&mut data, origin);
        let (key, value) = (STANDARD.encode(key(origin.sequence)), STANDARD.encode(data));
        format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}")
    };
    if count == 1 {
        return post(out, target, "/v3/kv/put", put(first).as_bytes());
    }
    let puts: Vec<String> =
        changes(first, count).map(|origin| format!("{{\"requestPut\":{}}}", put(origin))).collect();
    let body = format!("{{\"success\":[{}]}}", puts.join(","));
    post(out, target, "/v3/kv/txn", body.as_bytes());
}
