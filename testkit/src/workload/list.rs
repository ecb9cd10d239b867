//! Clients of the list: one writes at a node, one reads there.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, thread, time::Instant};

use super::{
    ABSENT, PACE, Shared,
    door::{Door, Heard},
};
use crate::{Answer, PATIENCE, cluster::page};

/// What a writer was told of one of its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It has this id.
    Taken(u64),
    /// It certainly did not happen.
    Refused,
    Unknown,
}

/// One change that was sent, and when, in nanoseconds.
pub(super) struct Sent {
    pub(super) data: String,
    pub(super) called: u64,
    pub(super) returned: u64,
    pub(super) told: Told,
}

/// Writes at the first of `addresses` until it is ended. Every third change has
/// an `Idempotency-Key` and is sent again, to the next node each time, until its
/// outcome is known.
pub(super) fn write(shared: &Shared, writer: usize, addresses: &[SocketAddr]) -> Vec<Sent> {
    let mut doors: Vec<Door> = addresses.iter().map(|&address| Door::new(address)).collect();
    let mut all = Vec::new();
    for n in 0.. {
        if shared.ended() {
            break;
        }
        let data = format!("{writer}-{n}-{}", "x".repeat(n * 37 % 300));
        let key = format!("{writer}-{n}");
        let headers = [("Idempotency-Key", key.as_str())];
        let keyed = n % 3 == 2;
        let headers = if keyed { &headers[..] } else { &[] };
        // One that is never to be stored.
        let spoiled = if n % 50 == 49 { ",\"dat\":1" } else { "" };
        let body = format!("{{\"data\":\"{data}\"{spoiled}}}");
        let called = shared.now();
        let (mut told, mut sent, mut tries) = (Told::Refused, false, 0);
        loop {
            let at = tries % doors.len();
            tries += 1;
            let again = match doors[at].request("POST", "/changes", headers, &body) {
                Heard::NotSent => {
                    thread::sleep(ABSENT);
                    told == Told::Unknown
                }
                Heard::Broken => {
                    (told, sent) = (Told::Unknown, true);
                    keyed
                }
                Heard::Answer(answer) => {
                    sent = true;
                    // A refusal says nothing of the tries before it, unless no node
                    // would ever take what was sent.
                    let before = told;
                    told = understood(&answer, !spoiled.is_empty());
                    if before == Told::Unknown && told == Told::Refused && spoiled.is_empty() {
                        told = Told::Unknown;
                    }
                    keyed && told == Told::Unknown
                }
            };
            if !again || shared.ended() {
                break;
            }
            if tries > 1 {
                thread::sleep(ABSENT);
            }
        }
        if sent {
            shared.taken.fetch_add(u64::from(matches!(told, Told::Taken(_))), Relaxed);
            all.push(Sent { data, called, returned: shared.now(), told });
        }
        thread::sleep(PACE);
    }
    all
}

fn understood(answer: &Answer, spoiled: bool) -> Told {
    match answer.status {
        201 if !spoiled => Told::Taken(answer.id()),
        400 if spoiled => Told::Refused,
        503 => Told::Refused,
        504 => Told::Unknown,
        _ => panic!("an answer to a write: {answer:?} {}", answer.text()),
    }
}

/// Reads the list at one node, each change once and in turn, until the end is
/// known and reached.
pub(super) fn follow(shared: &Shared, address: SocketAddr) -> Vec<String> {
    let mut door = Door::new(address);
    let (mut seen, mut since) = (Vec::new(), 0);
    let mut late = None;
    while since < shared.goal.load(Relaxed) && !shared.abandoned.load(Relaxed) {
        if shared.goal.load(Relaxed) < u64::MAX {
            let end = *late.get_or_insert_with(|| Instant::now() + PATIENCE);
            assert!(Instant::now() < end, "the follower at {address} stays at {since}");
        }
        let target = format!("/changes?since={since}&limit=100&block=1");
        match door.request("GET", &target, &[], "") {
            Heard::NotSent => thread::sleep(ABSENT),
            Heard::Broken => {}
            Heard::Answer(answer) if answer.status == 503 => thread::sleep(ABSENT),
            Heard::Answer(answer) => {
                let (changes, last) = page(since, &answer);
                seen.extend(changes);
                since = last;
            }
        }
    }
    seen
}
