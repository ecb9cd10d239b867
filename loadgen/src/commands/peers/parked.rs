//! Many clients wait for one change, round after round: for peers whose clients ask again when they were answered.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::start::Peer;
use super::work::{Brought, STREAM, post};
use crate::args::{PeerName, PeersArguments};
use crate::base::random::run_id;
use crate::base::stop;
use crate::http::connection::Failure;
use crate::http::control::Control;
use crate::http::resp::command;
use crate::http::response::Response;
use crate::http::target::{Target, Targets};
use crate::http::workload::{Census, Workload};
use crate::load::fleet::{Fleet, lock};
use crate::load::payload::{Origin, Payload};
use crate::measure::span::Span;
use crate::measure::tally::Tally;

/// Rounds of a turn.
const ROUNDS: u32 = 5;
/// How long all may take to ask, and how long they wait before the change is appended.
const STAND_TIME: Duration = Duration::from_secs(10);
const SETTLE_TIME: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until all have asked.
    Stand,
    /// Until the server has come to rest.
    Settle,
    /// Until the change has arrived everywhere.
    Collect,
}

/// Those who wait.
struct Parked<'a> {
    request: &'a [u8],
    phase: Phase,
    deadline: Instant,
    /// When the change was sent.
    posted: &'a Mutex<Option<Instant>>,
    /// Of this round.
    arrived: usize,
    last: Option<Instant>,
    errors: Tally,
}

/// From an append to its last arrival, in each of five rounds.
pub(super) fn wait(arguments: &PeersArguments, peer: &Peer) -> Result<Brought> {
    let payload = Payload::new(run_id(), arguments.size)?;
    let target = match peer.name {
        PeerName::Redis => peer.target.clone().redis(1),
        _ => peer.target.clone(),
    };
    let question = question(peer.name, &target);
    let fleet = Fleet {
        targets: Targets::from(target.clone()),
        connections: arguments.waiters.into(),
        threads: 1,
        timeout: arguments.client.timeout + Duration::from_secs(60),
        label: None,
    };
    let posted = Mutex::new(None);
    let parts = fleet.run(|mut crew| {
        let span = Span::open(crew.start);
        let mut parked = Parked {
            request: &question,
            phase: Phase::Stand,
            deadline: crew.start,
            posted: &posted,
            arrived: 0,
            last: None,
            errors: Tally::new()?,
        };
        let mut tally = Tally::new()?;
        let mut control = Control::new(&target, arguments.client.timeout);
        control.connect()?;
        for round in 0..ROUNDS {
            parked.begin(Phase::Stand, STAND_TIME);
            crew.engine.run(&mut parked)?;
            let standing = crew.engine.census().busy;
            parked.begin(Phase::Settle, SETTLE_TIME);
            crew.engine.run(&mut parked)?;
            if stop::requested() {
                break;
            }
            let change = change(peer.name, &target, &payload, round);
            parked.begin(Phase::Collect, arguments.client.timeout);
            std::thread::scope(|scope| {
                let appended = scope.spawn(|| {
                    *lock(&posted) = Some(Instant::now());
                    control.send(&change).map(|_| ())
                });
                crew.engine.run(&mut parked)?;
                appended.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
            })?;
            let begun = lock(&posted).take();
            let arrived = parked.arrived;
            ensure!(arrived == standing, "{arrived} of {standing} who waited got the change");
            if let (Some(begun), Some(last)) = (begun, parked.last) {
                tally.success(&span, begun, last, arrived as u64, 0);
            }
        }
        tally.errors.merge(&parked.errors.errors);
        Ok((tally, crew.start.elapsed()))
    })?;
    let measured = parts.iter().map(|(_, measured)| *measured).max().unwrap_or_default();
    let tally = Tally::sum(parts.into_iter().map(|(tally, _)| tally))?;
    let acknowledged = if peer.name == PeerName::Redis { u64::from(ROUNDS) } else { 0 };
    Ok(Brought { tally, measured, acknowledged, verification: None })
}

/// What those who wait ask.
fn question(name: PeerName, target: &Target) -> Vec<u8> {
    let mut out = Vec::new();
    if name == PeerName::Redis {
        command(&mut out, &[b"XREAD", b"BLOCK", b"60000", b"STREAMS", STREAM, b"$"]);
    } else {
        let fields = &target.fields;
        let text = format!("GET /changes?since=now&block=60 HTTP/1.1\r\n{fields}\r\n");
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// The request that appends the change of a round.
fn change(name: PeerName, target: &Target, payload: &Payload, round: u32) -> Vec<u8> {
    let mut data = Vec::new();
    payload.write(&mut data, Origin { worker: 0, sequence: round });
    let mut out = Vec::new();
    if name == PeerName::Redis {
        command(&mut out, &[b"XADD", STREAM, b"*", b"d", &data]);
    } else {
        post(&mut out, target, "/changes", &[b"{\"data\":", &data[..], b"}"].concat());
    }
    out
}

impl Parked<'_> {
    fn begin(&mut self, phase: Phase, time: Duration) {
        self.phase = phase;
        self.deadline = Instant::now() + time;
        if phase == Phase::Collect {
            (self.arrived, self.last) = (0, None);
        }
    }
}

impl Workload for Parked<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        (self.phase == Phase::Stand).then_some(now)
    }

    fn request(&mut self, _connection: usize) -> &[u8] {
        self.request
    }

    fn answered(
        &mut self,
        _connection: usize,
        _intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        if !response.is_success() {
            self.errors.errors.add_answer(response);
            return false;
        }
        if self.phase == Phase::Collect && lock(self.posted).is_some() {
            self.arrived += 1;
            self.last = Some(now);
        } else {
            self.errors.errors.add("answered before the change");
        }
        true
    }

    fn failed(&mut self, _connection: usize, failure: &Failure, _in_flight: bool) {
        self.errors.errors.add(failure.to_string());
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        (now < self.deadline).then_some(self.deadline)
    }

    fn finished(&mut self, now: Instant, census: Census) -> bool {
        let is_done = match self.phase {
            Phase::Stand => census.busy == census.total,
            Phase::Settle => false,
            Phase::Collect => census.busy == 0,
        };
        is_done || now >= self.deadline || stop::requested()
    }
}
