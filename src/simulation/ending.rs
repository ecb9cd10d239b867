//! What holds once all is well and has been for a moment: nodes are ready and agree on their
//! cluster, serve at the first attempt, and keep nothing for clients that are gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;

use super::{
    client::{Client, Shared, labels},
    history::{Asked, Consistency, Filter, Thing, Told},
    node::Inside,
    places::{Places, client_address},
    record::note,
    wire::{Heard, Link, Request},
    world::{LIMIT, RECOVERY},
};
use crate::{base::ids::NodeId, io::cores};

/// In so long nodes are ready and agree.
const AGREE: Duration = Duration::from_secs(60);
/// So long a write may take, and a strong read, while nothing is wrong.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);
/// In so long nothing is left of clients that are gone.
const QUIET: Duration = Duration::from_secs(30);
/// In so long what was redacted is erased: a segment is completed early once meanwhile.
const ERASED: Duration = Duration::from_secs(90);
/// In so long a list has no more than it is to keep.
const RETAINED: Duration = Duration::from_secs(30);
/// How much that is in the end.
const KEPT: u64 = 3;
/// How often is looked.
const LOOK: Duration = Duration::from_millis(250);

/// A cluster as one of its nodes knows it, but for how far that node is.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Cluster {
    cluster: String,
    leader: Option<u64>,
    term: u64,
    last: u64,
    members: Vec<Member>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Member {
    id: u64,
    address: String,
    cluster_address: String,
    role: String,
}

/// Nodes are ready and know the same cluster, of which they all are members, and nobody else.
pub async fn agree(shared: &Shared) {
    let agreed = async {
        loop {
            let mut known = BTreeMap::new();
            for node in shared.places.all() {
                known.insert(node, cluster_at(node).await);
            }
            match disagreement(&known) {
                None => return,
                Some(text) => note(&format!("nodes do not agree yet: {text}")),
            }
            cores::sleep(LOOK).await;
        }
    };
    let agreed = cores::within(AGREE, agreed).await;
    assert!(agreed.is_some(), "all is well, and the nodes are not one cluster");
}

/// Waits until each node is ready and has what any of them had before, and says where
/// clients reach the one that leads then.
pub async fn until_caught_up(places: &Places) -> Option<String> {
    let mut newest = 0;
    // What one has is known when the others are asked again.
    for is_known in [false, true] {
        for node in places.all() {
            loop {
                let last = cluster_at(node).await.map(|cluster| cluster.last);
                newest = newest.max(last.filter(|_| !is_known).unwrap_or(0));
                if last.is_some_and(|last| last >= newest) {
                    break;
                }
                cores::sleep(LOOK).await;
            }
        }
    }
    let cluster = cluster_at(places.all().next()?).await?;
    let leader = cluster.members.iter().find(|member| Some(member.id) == cluster.leader)?;
    Some(leader.address.clone())
}

/// What a node that is ready knows.
async fn cluster_at(node: NodeId) -> Option<Cluster> {
    let mut link = Link::new(client_address(node));
    let mut answers = Vec::new();
    for target in ["/health", "/ready", "/cluster"] {
        let Heard::Answer(answer) = link.ask(&Request::get(target.to_owned())).await else { break };
        answers.push(answer);
    }
    link.close();
    let is_ready = answers.len() == 3 && answers.iter().all(|answer| answer.status == 200);
    let cluster = answers.pop().filter(|_| is_ready)?;
    serde_json::from_str(&cluster.body).ok()
}

/// In what nodes differ, or are not what they are to be.
fn disagreement(known: &BTreeMap<NodeId, Option<Cluster>>) -> Option<String> {
    if let Some((node, _)) = known.iter().find(|(_, cluster)| cluster.is_none()) {
        return Some(format!("node {node} is not ready"));
    }
    let mut clusters = known.iter().filter_map(|(node, cluster)| Some((node, cluster.as_ref()?)));
    let (first, cluster) = clusters.next()?;
    if let Some((other, differs)) = clusters.find(|(_, other)| *other != cluster) {
        return Some(format!("{first} knows {cluster:?}, {other} {differs:?}"));
    }
    let is_member = |node: &NodeId| {
        let address = client_address(*node);
        cluster.members.iter().any(|member| member.address == address)
    };
    let are_all = cluster.members.len() == known.len() && known.keys().all(is_member);
    let is_led = cluster.leader.is_some_and(|leader| {
        cluster.members.iter().any(|member| member.id == leader && member.role == "voter")
    });
    (!are_all || !is_led).then(|| format!("{cluster:?}"))
}

/// Each node takes a write and serves a strong read at once, after the change `newest`: what comes
/// meanwhile by itself, as the end of a key does, is to be seen by somebody.
pub async fn first_attempts(shared: &Shared, mut newest: u64) {
    for node in shared.places.all() {
        let mut client = Client::new(400 + node, shared.clone());
        let write = Asked::Append(vec![client.new_at(super::history::Place::default())]);
        let told = cores::within(FIRST_ATTEMPT, client.ask(node, write)).await;
        let Some(Told::Done { first, .. }) = told else {
            panic!("all is well, and node {node} does not take a write: {told:?}");
        };
        let (all, more) = (Filter::default(), format!("&limit={LIMIT}"));
        let read = client.read(node, all, newest, Consistency::Strong, &more);
        let told = cores::within(FIRST_ATTEMPT, read).await;
        newest = match &told {
            Some(Told::Page { changes, last, .. })
                if changes.iter().any(|seen| seen.id == first) =>
            {
                *last
            }
            _ => panic!("all is well, and node {node} does not show {first}: {told:?}"),
        };
    }
}

/// Reads all that each node holds, and each copy, to the newest change of all; says which that is.
pub async fn read_all(shared: &Shared) -> u64 {
    let mut newest = 0;
    for node in shared.places.serving().chain(shared.places.serving()) {
        let shown = cores::within(RECOVERY, read_all_of(shared, node, &mut newest)).await;
        assert!(shown.is_some(), "node {node} does not show all");
    }
    read_tenants(shared, newest).await;
    newest
}

/// Reads all that each copy of some tenants has of these.
async fn read_tenants(shared: &Shared, newest: u64) {
    for copy in shared.places.copies() {
        for name in shared.places.tenants_of(copy).into_iter().flatten() {
            let tenant = shared.estate.borrow().named(&format!("/tenants/{name}"));
            let filter = Filter { of: tenant, ..Filter::default() };
            let all = read_list(shared, copy, filter, newest);
            let shown = cores::within(RECOVERY, all).await;
            assert!(shown.is_some(), "copy {copy} does not show all of {name}");
        }
    }
}

async fn read_list(shared: &Shared, node: NodeId, filter: Filter, newest: u64) {
    let (mut client, mut since) = (Client::new(600 + node, shared.clone()), 0);
    loop {
        let (least, more) = (Consistency::AtLeast(newest), format!("&limit={LIMIT}"));
        match client.read(node, filter, since, least, &more).await {
            Told::Page { at_end: true, .. } => return,
            Told::Page { last, .. } => since = last,
            Told::Purged { first } => since = first.saturating_sub(1),
            Told::Failed => cores::sleep(LOOK).await,
            other => panic!("copy {node} does not show all: {other:?}"),
        }
    }
}

async fn read_all_of(shared: &Shared, node: NodeId, newest: &mut u64) {
    let mut client = Client::new(300 + node, shared.clone());
    let mut since = 0;
    loop {
        let consistency = Consistency::AtLeast(*newest);
        let more = format!("&limit={LIMIT}");
        match client.read(node, Filter::default(), since, consistency, &more).await {
            Told::Page { last, at_end, .. } => {
                since = last;
                *newest = last.max(*newest);
                if at_end {
                    return;
                }
            }
            // Its removal may have been under way: it comes anew.
            Told::Failed => {
                shared.places.serving().for_each(|node| shared.places.start(node));
                cores::sleep(LOOK).await;
            }
            // It came anew, and has no more than the others have kept.
            Told::Purged { first } => since = first.saturating_sub(1),
            other => panic!("node {node} does not show all: {other:?}"),
        }
    }
}

/// The lists of tenants have no more than they are to keep, after a moment.
pub async fn be_retained(shared: &Shared) {
    let tenants = shared.estate.borrow().tenants.clone();
    let nodes: Vec<NodeId> = shared.places.all().collect();
    for (node, tenant) in nodes.into_iter().cycle().zip(tenants) {
        let mut client = Client::new(500 + node, shared.clone());
        let told = client.ask(node, Asked::Retain { tenant, changes: KEPT }).await;
        assert_eq!(told, Told::Retained, "all is well");
        let filter = Filter { of: Some(Thing::Tenant(tenant)), ..Filter::default() };
        let cut = async {
            loop {
                let read = client.read(node, filter, 0, Consistency::Strong, "&limit=1000").await;
                match read {
                    Told::Page { changes, .. } if changes.len() as u64 <= KEPT => return,
                    _ => cores::sleep(LOOK).await,
                }
            }
        };
        let cut = cores::within(RETAINED, cut).await;
        assert!(cut.is_some(), "the list of a tenant has more than it is to keep");
    }
}

/// What was redacted is in no file of a node, after a while.
pub async fn be_erased(shared: &Shared) {
    let secrets: BTreeSet<u64> = shared.secrets.borrow().iter().copied().collect();
    note(&format!("{} changes are to be erased", secrets.len()));
    let left = || {
        let of = |node| {
            let files = shared.places.disk(node).snapshot();
            let found = |(name, bytes): (String, Vec<u8>)| {
                Some((node, name, labels(&bytes).find(|label| secrets.contains(label))?))
            };
            files.into_iter().find_map(found)
        };
        shared.places.serving().find_map(of)
    };
    let erased = async {
        while left().is_some() {
            cores::sleep(ERASED / 20).await;
        }
    };
    let erased = cores::within(ERASED, erased).await;
    assert!(erased.is_some(), "it is in the files still: {:?}", left());
}

/// Nodes keep nothing for clients, of which none is there any more. Those are copies too: each is
/// stopped once it keeps nothing itself, before what it follows.
pub async fn be_quiet(shared: &Shared) {
    let places = &shared.places;
    for copy in places.copies().rev() {
        keeps_nothing(shared, &[copy]).await;
        places.stop(copy);
        let stopped = async {
            while places.runs(copy) {
                cores::sleep(LOOK).await;
            }
        };
        let stopped = cores::within(QUIET, stopped).await;
        assert!(stopped.is_some(), "copy {copy} does not stop");
    }
    keeps_nothing(shared, &places.all().collect::<Vec<_>>()).await;
}

async fn keeps_nothing(shared: &Shared, nodes: &[NodeId]) {
    let kept = || {
        let of = |&node: &NodeId| Some((node, kept_by(&shared.places.inside(node)?)?));
        nodes.iter().find_map(of)
    };
    let quiet = async {
        while kept().is_some() {
            cores::sleep(LOOK).await;
        }
    };
    let quiet = cores::within(QUIET, quiet).await;
    assert!(quiet.is_some(), "nobody asks anything, and a node keeps something: {:?}", kept());
}

/// What a node keeps for its clients.
fn kept_by(inside: &Inside) -> Option<String> {
    let (metrics, wiring) = (&inside.metrics, &inside.wiring);
    let gauges = [
        ("connections", metrics.connections.get()),
        ("parked", metrics.parked.get()),
        ("streams", metrics.streams.get()),
    ];
    let bytes = [("held", inside.held.bytes()), ("backlog", wiring.fanout.backlog_bytes())];
    let bytes = bytes.map(|(name, bytes)| (name, i64::try_from(bytes).unwrap_or(i64::MAX)));
    let kept = gauges.into_iter().chain(bytes).find(|(_, count)| *count != 0);
    // They are taken, which nobody misses any more.
    let writes = wiring.inbox.take_if(|_| true).len();
    kept.map(|kept| format!("{kept:?}")).or((writes > 0).then(|| format!("{writes} writes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(members: &[(u64, &str)]) -> Cluster {
        let member = |&(place, role): &(u64, &str)| Member {
            id: place,
            address: client_address(place),
            cluster_address: String::new(),
            role: role.to_owned(),
        };
        let members = members.iter().map(member).collect();
        Cluster { cluster: "c".to_owned(), leader: Some(1), term: 1, last: 7, members }
    }

    #[test]
    fn nodes_agree_on_a_cluster_of_all_of_them_that_is_led_by_a_voter() {
        let both = || cluster(&[(1, "voter"), (2, "learner")]);
        let known = |one, other| BTreeMap::from([(1, Some(one)), (2, other)]);
        assert_eq!(disagreement(&known(both(), Some(both()))), None);
        let disagree = |one, other| disagreement(&known(one, other)).is_some();
        assert!(disagree(both(), None));
        assert!(disagree(both(), Some(Cluster { last: 8, ..both() })));
        let one = || cluster(&[(1, "voter")]);
        assert!(disagree(one(), Some(one())));
        let three = || cluster(&[(1, "voter"), (2, "voter"), (3, "voter")]);
        assert!(disagree(three(), Some(three())));
        let unled = || Cluster { leader: Some(2), ..both() };
        assert!(disagree(unled(), Some(unled())));
    }
}
