//! A client that copies the log, piece by piece, at one node after the other: whatever a node gives
//! of it is what every other gave, and gives at any later time. What was redacted before it asked
//! for all that was written is not in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::RngExt;

use super::{Client, labels};
use crate::{
    base::{batch::Batch, ids::NodeId},
    log::{Entry, Frame, decode_frame},
    simulation::wire::{Answer, Heard, Request},
};

/// How far before what it has a client asks again.
const AGAIN: u64 = 20;

pub(super) async fn run(mut client: Client) {
    let mut copy = Copy::default();
    while client.rest().await {
        let node = client.any_node();
        let from = match client.rng.random_ratio(1, 8) {
            true => client.rng.random_range(0..=copy.next),
            false => client.rng.random_range(copy.next.saturating_sub(AGAIN)..=copy.next),
        };
        let (mut strong, mut redacted) = ("", Vec::new());
        if client.rng.random_ratio(1, 5) {
            strong = "&consistency=strong";
            redacted.clone_from(&client.shared.secrets.borrow());
        }
        let request = Request::get(format!("/cluster/log?from={from}{strong}"));
        let Heard::Answer(answer) = client.link(node).ask(&request).await else { continue };
        let shown = labels(&answer.bytes).find(|label| redacted.contains(label));
        assert_eq!(shown, None, "node {node} gives copies of what was redacted before");
        copy.take(node, from, &answer);
        client.shared.record.count(match answer.status {
            200 => "copy: done",
            410 => "copy: purged",
            _ => "copy: refused",
        });
        if answer.status == 410 {
            // What stands for it is not copied here.
            copy.next = copy.next.max(purged(&answer) + 1);
        }
    }
}

/// The last entry that a node does not hold any more.
fn purged(answer: &Answer) -> u64 {
    let problem: serde_json::Value = serde_json::from_str(&answer.body).expect("a problem");
    problem["purged"].as_u64().expect("the last entry that is purged")
}

/// What was copied, by index.
#[derive(Default)]
struct Copy {
    entries: BTreeMap<u64, Entry>,
    /// The index of the entry that it lacks next.
    next: u64,
    /// The history that they are of.
    cluster: Option<String>,
}

impl Copy {
    fn take(&mut self, node: NodeId, from: u64, answer: &Answer) {
        if answer.status != 200 {
            return;
        }
        let cluster = answer.header("changeagent-cluster").expect("the cluster").to_owned();
        // A node that nobody has taken in yet has a history of its own.
        if self.cluster.get_or_insert_with(|| cluster.clone()) != &cluster {
            return;
        }
        let applied = answer.header("changeagent-log-applied").and_then(|text| text.parse().ok());
        let applied: u64 = applied.expect("the last entry that is applied");
        let bytes = Bytes::from(answer.bytes.clone());
        let (mut at, mut index) = (0, from);
        while at < bytes.len() {
            let Some((Frame::Entry(entry, _), end)) = decode_frame(&bytes, at) else {
                panic!("node {node} gives no whole entry from {from} on, at byte {at}");
            };
            assert_eq!(entry.id.index, index, "node {node} gives entries one after the other");
            assert!(index <= applied, "node {node} gives what it has not applied: {}", entry.id);
            if let Some(known) = self.entries.insert(index, entry.clone()) {
                let same = known == entry || is_same_but_for_redactions(&known, &entry);
                assert!(
                    same,
                    "node {node} gives another entry than was given before: {}",
                    entry.id
                );
            }
            (at, index) = (end, index + 1);
        }
        self.next = self.next.max(index);
    }
}

/// Whether both are one batch, of which changes were redacted meanwhile.
fn is_same_but_for_redactions(one: &Entry, other: &Entry) -> bool {
    let is_one = (one.id, one.kind) == (other.id, other.kind);
    let batches = [one, other].map(|entry| Batch::parse(entry.payload.clone()));
    let [Ok(one), Ok(other)] = batches else { return false };
    is_one
        && one.bytes().len() == other.bytes().len()
        && one.commands().eq(other.commands())
        && (0..one.changes()).all(|n| {
            let (one, other) = (one.change(n), other.change(n));
            let redacted = one.is_redacted() || other.is_redacted();
            one.shown(redacted) == other.shown(redacted)
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        node::retention::Retention,
        simulation::{plan::Plan, world::run_planned},
    };

    #[test]
    fn every_node_gives_the_same_log_whatever_goes_wrong() {
        let (mut done, mut purged) = (0, 0);
        for seed in 0..6 {
            let report = run_planned(seed, |rng| {
                let mut plan = Plan::draw(rng);
                plan.crowd.copiers = 2;
                if seed % 2 == 0 {
                    let min_age = Duration::ZERO;
                    plan.shape.setup.retention = Some(Retention { min_changes: 20, min_age });
                    plan.shape.setup.segment_bytes = 32 << 10;
                }
                plan
            });
            done += report.coverage.of("copy: done");
            purged += report.coverage.of("copy: purged");
        }
        assert!(done > 500 && purged > 0, "{done} pieces, {purged} times purged");
    }
}
