//! Clients that go on through every fault, each at one node, and remember what
//! they were told; and what must be true of it afterwards.

use std::{
    collections::{HashMap, HashSet},
    mem::take,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, SILENCE, page},
    common::{Answer, Client, PATIENCE, eventually},
    linearizable::{self, Action, Operation, Outcome},
};

/// Between two requests of one client, so that few cores are left to the nodes.
const PACE: Duration = Duration::from_millis(3);
/// Between two tries at a node that is not there.
const ABSENT: Duration = Duration::from_millis(20);

/// What a writer was told of one of its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It has this id.
    Taken(u64),
    /// It certainly did not happen.
    Refused,
    Unknown,
}

/// One change that was sent, and when, in nanoseconds.
struct Sent {
    data: String,
    called: u64,
    returned: u64,
    told: Told,
}

/// One operation on a key, with ids where the checker wants values.
struct KeyOperation {
    key: usize,
    operation: Operation,
    /// The id that it was told: its own, or that of what was in its way.
    id: Option<u64>,
}

/// What all clients of a workload share.
struct Shared {
    start: Instant,
    /// No more is written.
    ended: AtomicBool,
    /// Followers read on to here; they do not know yet where that is.
    goal: AtomicU64,
    /// No more is followed.
    abandoned: AtomicBool,
    taken: AtomicU64,
    key_operations: AtomicU64,
}

/// A client's connection to one node, made again whenever it breaks.
struct Door {
    address: SocketAddr,
    client: Option<Client>,
}

/// What became of a request.
enum Heard {
    Answer(Answer),
    /// The node was not there.
    NotSent,
    /// The connection broke, or the node fell silent.
    Broken,
}

pub struct Workload {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Vec<Sent>>>,
    followers: Vec<(SocketAddr, JoinHandle<Vec<String>>)>,
    keys: Option<Keys>,
    addresses: Vec<SocketAddr>,
}

/// Clients of a few keys of one collection.
struct Keys {
    collection: String,
    count: usize,
    workers: Vec<JoinHandle<Vec<KeyOperation>>>,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    fn ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

impl Door {
    fn new(address: SocketAddr) -> Self {
        Self { address, client: None }
    }

    fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Heard {
        if self.client.is_none() {
            self.client = Client::try_connect(self.address, SILENCE);
        }
        let Some(client) = &mut self.client else { return Heard::NotSent };
        let answer = client.try_request(method, target, headers, body.as_bytes());
        if answer.as_ref().is_none_or(|answer| answer.header("connection") == Some("close")) {
            self.client = None;
        }
        answer.map_or(Heard::Broken, Heard::Answer)
    }
}

impl Workload {
    /// A writer and a follower at each node that runs.
    pub fn start(cluster: &Cluster) -> Self {
        let shared = Shared {
            start: Instant::now(),
            ended: false.into(),
            goal: u64::MAX.into(),
            abandoned: false.into(),
            taken: 0.into(),
            key_operations: 0.into(),
        };
        let mut workload = Self {
            shared: Arc::new(shared),
            writers: Vec::new(),
            followers: Vec::new(),
            keys: None,
            addresses: cluster.addresses(),
        };
        workload.addresses.clone().into_iter().for_each(|address| workload.add(address));
        workload
    }

    /// The same, and two clients a node on so many keys.
    pub fn with_keys(cluster: &Cluster, count: usize) -> Self {
        let mut client = cluster.client(cluster.leader());
        client.tenant("keys");
        let collection = client.collection("keys", "keys");
        cluster.running().into_iter().for_each(|number| cluster.catches_up(number));
        let mut workload = Self::start(cluster);
        let addresses: Vec<_> = workload.addresses.iter().flat_map(|&one| [one, one]).collect();
        let workers = addresses.into_iter().enumerate().map(|(number, address)| {
            let shared = Arc::clone(&workload.shared);
            let path = format!("/collections/{collection}/keys");
            let mut worker = KeyWorker::new(shared, number, address, path, count);
            thread::spawn(move || worker.run())
        });
        let workers = workers.collect();
        workload.keys = Some(Keys { collection, count, workers });
        workload
    }

    /// A writer and a follower at one more node.
    pub fn comes(&mut self, address: SocketAddr) {
        self.addresses.push(address);
        self.add(address);
    }

    fn add(&mut self, address: SocketAddr) {
        let others = self.addresses.iter().copied().filter(|&other| other != address);
        let addresses: Vec<_> = [address].into_iter().chain(others).collect();
        let (number, shared) = (self.writers.len(), Arc::clone(&self.shared));
        self.writers.push(thread::spawn(move || write(&shared, number, &addresses)));
        let shared = Arc::clone(&self.shared);
        self.followers.push((address, thread::spawn(move || follow(&shared, address))));
    }

    /// Waits until so many further writes were acknowledged, and some operations
    /// on keys done.
    pub fn goes_on(&self, count: u64) {
        let goal = self.shared.taken.load(Relaxed) + count;
        eventually("writes are acknowledged", || self.shared.taken.load(Relaxed) >= goal);
        if self.keys.is_some() {
            let goal = self.shared.key_operations.load(Relaxed) + count;
            eventually("keys are used", || self.shared.key_operations.load(Relaxed) >= goal);
        }
    }

    /// Ends the clients, waits until the nodes agree, and checks what each client
    /// was told against the list.
    pub fn ends(mut self, cluster: &Cluster) {
        self.shared.ended.store(true, Relaxed);
        let sent: Vec<Sent> = take(&mut self.writers).into_iter().flat_map(joined).collect();
        let key_operations = self.keys.take().map(|keys| {
            let operations = keys.workers.into_iter().flat_map(joined).collect::<Vec<_>>();
            (keys.collection, keys.count, operations)
        });
        let list = cluster.agree();
        self.shared.goal.store(list.len() as u64, Relaxed);
        let running = cluster.addresses();
        let (here, gone): (Vec<_>, Vec<_>) = take(&mut self.followers)
            .into_iter()
            .partition(|(address, _)| running.contains(address));
        for (address, follower) in here {
            let seen = joined(follower);
            assert!(seen.len() >= list.len(), "the follower at {address} saw too little");
            check_seen(address, &seen, &list);
        }
        self.shared.abandoned.store(true, Relaxed);
        for (address, follower) in gone {
            check_seen(address, &joined(follower), &list);
        }
        check_list(&list);
        check_sent(&sent, &list);
        if let Some((collection, count, operations)) = key_operations {
            check_keys(&collection, count, operations, &list);
        }
    }
}

/// The clients of a test that failed do not go on into the next one.
impl Drop for Workload {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        self.shared.abandoned.store(true, Relaxed);
    }
}

fn joined<T>(handle: JoinHandle<T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes at the first of `addresses` until it is ended. Every third change has
/// an `Idempotency-Key` and is sent again, to the next node each time, until its
/// outcome is known.
fn write(shared: &Shared, writer: usize, addresses: &[SocketAddr]) -> Vec<Sent> {
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
fn follow(shared: &Shared, address: SocketAddr) -> Vec<String> {
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

/// One client of a few keys.
struct KeyWorker {
    shared: Arc<Shared>,
    number: u64,
    door: Door,
    path: String,
    rng: StdRng,
    /// The id and the value of each key as it was last seen.
    versions: Vec<Option<(u64, u64)>>,
}

impl KeyWorker {
    fn new(
        shared: Arc<Shared>,
        number: usize,
        address: SocketAddr,
        path: String,
        keys: usize,
    ) -> Self {
        Self {
            shared,
            number: number as u64,
            door: Door::new(address),
            path,
            rng: StdRng::seed_from_u64(number as u64),
            versions: vec![None; keys],
        }
    }

    fn run(&mut self) -> Vec<KeyOperation> {
        let mut all = Vec::new();
        for n in 1.. {
            if self.shared.ended() {
                break;
            }
            let key = self.rng.random_range(0..self.versions.len());
            // Of this client's own, and never 0.
            let value = n << 8 | self.number;
            all.extend(self.operate(key, value));
            thread::sleep(PACE);
        }
        all
    }

    fn operate(&mut self, key: usize, value: u64) -> Option<KeyOperation> {
        let (id, version) = self.versions[key].unwrap_or_default();
        let known = id > 0;
        let action = match self.rng.random_range(0..12) {
            0..4 => Action::Read,
            4 => Action::Put(value),
            5..8 if known => Action::PutIf { version, value },
            5..9 => Action::PutIfAbsent(value),
            9 => Action::Delete,
            _ if known => Action::DeleteIf { version },
            _ => Action::Put(value),
        };
        let path = format!("{}/{key}", self.path);
        let tag = format!("\"{id}\"");
        let body = format!("{{\"data\":{value}}}");
        let if_match = [("If-Match", tag.as_str())];
        let if_none = [("If-None-Match", "*")];
        let called = self.shared.now();
        let heard = match action {
            Action::Read => {
                self.door.request("GET", &format!("{path}?consistency=strong"), &[], "")
            }
            Action::Put(_) => self.door.request("PUT", &path, &[], &body),
            Action::PutIf { .. } => self.door.request("PUT", &path, &if_match, &body),
            Action::PutIfAbsent(_) => self.door.request("PUT", &path, &if_none, &body),
            Action::Delete => self.door.request("DELETE", &path, &[], ""),
            Action::DeleteIf { .. } => self.door.request("DELETE", &path, &if_match, ""),
        };
        let returned = self.shared.now();
        let (outcome, id) = match heard {
            Heard::NotSent => {
                thread::sleep(ABSENT);
                return None;
            }
            Heard::Broken => (Outcome::Unknown, None),
            Heard::Answer(answer) => self.learn(key, action, value, &answer),
        };
        let answered = !matches!(outcome, Outcome::Unknown | Outcome::Failed);
        self.shared.key_operations.fetch_add(u64::from(answered), Relaxed);
        Some(KeyOperation { key, operation: Operation { called, returned, action, outcome }, id })
    }

    /// What an answer says, and what is known of the key from it.
    fn learn(
        &mut self,
        key: usize,
        action: Action,
        value: u64,
        answer: &Answer,
    ) -> (Outcome, Option<u64>) {
        let reads = action == Action::Read;
        let deletes = matches!(action, Action::Delete | Action::DeleteIf { .. });
        match answer.status {
            200 if reads => {
                let change = answer.json();
                let value = change["data"].as_u64().expect("a value");
                let id = change["_id"].as_u64().expect("an id");
                assert_eq!(answer.header("etag"), Some(format!("\"{id}\"").as_str()));
                self.versions[key] = Some((id, value));
                (Outcome::Saw(Some(value)), Some(id))
            }
            404 if reads => {
                self.versions[key] = None;
                (Outcome::Saw(None), None)
            }
            200 | 201 => {
                let id = answer.id();
                self.versions[key] = (!deletes).then_some((id, value));
                (Outcome::Done, Some(id))
            }
            404 if deletes => {
                self.versions[key] = None;
                (Outcome::Refused(None), None)
            }
            412 => {
                let current = answer.json()["current"].as_u64();
                // Its value is found by its id when all is over.
                (Outcome::Refused(current), current)
            }
            503 => (if reads { Outcome::Unknown } else { Outcome::Failed }, None),
            504 => (Outcome::Unknown, None),
            _ => panic!("an answer on a key: {answer:?} {}", answer.text()),
        }
    }
}

/// What a follower saw is the list as far as it goes.
fn check_seen(address: SocketAddr, seen: &[String], list: &[String]) {
    for (seen, change) in seen.iter().zip(list) {
        assert_eq!(seen, change, "the follower at {address}");
    }
}

/// Times never decrease along the list.
fn check_list(list: &[String]) {
    let mut newest = 0;
    for change in list {
        let time = parsed(change)["_ts"].as_u64().expect("a time");
        assert!(time >= newest, "{newest} before {change}");
        newest = time;
    }
}

fn parsed(change: &str) -> Value {
    serde_json::from_str(change).expect("a change")
}

/// Every write that was acknowledged is in the list once and where it was said
/// to be; none that was refused; others once at most, and nothing else.
fn check_sent(sent: &[Sent], list: &[String]) {
    let mut ids = HashMap::new();
    for (id, change) in (1..).zip(list) {
        let change = parsed(change);
        if let Some(data) = change["data"].as_str() {
            let before = ids.insert(data.to_owned(), id);
            assert_eq!(before, None, "twice in the list: {change}");
        }
    }
    for Sent { data, told, .. } in sent {
        let id = ids.remove(data);
        match told {
            Told::Taken(taken) => assert_eq!(id, Some(*taken), "acknowledged: {data}"),
            Told::Refused => assert_eq!(id, None, "refused: {data}"),
            Told::Unknown => {}
        }
    }
    assert!(ids.is_empty(), "nobody sent {ids:?}");
    let taken: Vec<_> = sent
        .iter()
        .filter_map(|one| match one.told {
            Told::Taken(id) => Some((one.called, one.returned, id)),
            _ => None,
        })
        .collect();
    check_order(taken);
}

/// A write that began after another had returned has a higher id.
fn check_order(mut taken: Vec<(u64, u64, u64)>) {
    let mut returns: Vec<_> = taken.iter().map(|&(_, returned, id)| (returned, id)).collect();
    returns.sort_unstable();
    taken.sort_unstable();
    let mut returns = returns.into_iter().peekable();
    let mut highest = 0;
    for (called, _, id) in taken {
        while let Some((_, before)) = returns.next_if(|&(returned, _)| returned < called) {
            highest = highest.max(before);
        }
        assert!(id > highest, "{id} was written after {highest}");
    }
}

/// What was seen of each key could have come from one register, whose writes
/// stand in the list.
fn check_keys(collection: &str, count: usize, operations: Vec<KeyOperation>, list: &[String]) {
    let mut values = HashMap::new();
    let mut written = vec![HashSet::new(); count];
    for (id, change) in (1_u64..).zip(list) {
        let change = parsed(change);
        if change["collection"] == collection {
            let key: usize = change["key"].as_str().expect("a key").parse().unwrap();
            if let Some(value) = change["data"].as_u64() {
                assert!(written[key].insert(value), "twice in the list: {change}");
                values.insert(id, value);
            }
        }
    }
    let taken = operations.iter().filter(|one| one.operation.outcome == Outcome::Done);
    let times =
        |one: &KeyOperation| (one.operation.called, one.operation.returned, one.id.unwrap());
    check_order(taken.map(times).collect());

    let mut histories = vec![Vec::new(); count];
    for KeyOperation { key, mut operation, id } in operations {
        operation.outcome = match operation.outcome {
            Outcome::Refused(Some(_)) => Outcome::Refused(id.map(|id| values[&id])),
            outcome => outcome,
        };
        let value = match operation.action {
            Action::Put(value) | Action::PutIf { value, .. } | Action::PutIfAbsent(value) => value,
            _ => 0,
        };
        match operation.outcome {
            Outcome::Done if value > 0 => {
                assert_eq!(values.get(&id.unwrap()), Some(&value), "acknowledged: {operation:?}");
            }
            Outcome::Refused(_) | Outcome::Failed => {
                assert!(!written[key].contains(&value), "refused: {operation:?}");
            }
            Outcome::Saw(Some(seen)) => {
                assert_eq!(values.get(&id.unwrap()), Some(&seen), "from nowhere: {operation:?}");
            }
            // It is known by now whether it happened, or whether it ever will.
            Outcome::Unknown if value > 0 && !written[key].contains(&value) => {
                operation.outcome = Outcome::Failed;
            }
            _ => {}
        }
        histories[key].push(operation);
    }
    for (key, history) in histories.iter().enumerate() {
        if let Err(violation) = linearizable::check(history) {
            panic!("key {key}: {violation}");
        }
    }
}

/// The body of a change that is none of a writer's.
pub fn number(n: u64) -> String {
    json!({"data": {"number": n}}).to_string()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn list(all: &[&str]) -> Vec<String> {
        let change = |(id, data)| format!("{{\"_id\":{id},\"_ts\":{id},\"data\":\"{data}\"}}");
        (1..).zip(all).map(change).collect()
    }

    fn sent(data: &str, times: (u64, u64), told: Told) -> Sent {
        Sent { data: data.into(), called: times.0, returned: times.1, told }
    }

    /// Whether writers who were told this may find that list.
    fn holds(told: &[(&str, Told)], found: &[&str]) -> bool {
        let sent: Vec<_> = told.iter().map(|(data, told)| sent(data, (0, 9), *told)).collect();
        let list = list(found);
        catch_unwind(|| check_sent(&sent, &list)).is_ok()
    }

    #[test]
    fn what_was_acknowledged_is_there_once() {
        let told = [("a", Told::Taken(1)), ("b", Told::Taken(2))];
        assert!(holds(&told, &["a", "b"]));
        assert!(!holds(&told, &["a"]), "lost");
        assert!(!holds(&told, &["b", "a"]), "other ids");
        assert!(!holds(&told, &["a", "b", "a"]), "twice");
        assert!(!holds(&told, &["a", "b", "c"]), "from nowhere");
    }

    #[test]
    fn what_was_refused_is_not_there_and_what_is_unknown_may_be() {
        assert!(holds(&[("a", Told::Refused)], &[]));
        assert!(!holds(&[("a", Told::Refused)], &["a"]));
        assert!(holds(&[("a", Told::Unknown)], &[]));
        assert!(holds(&[("a", Told::Unknown)], &["a"]));
        assert!(!holds(&[("a", Told::Unknown)], &["a", "a"]));
    }

    #[test]
    fn ids_are_in_the_order_of_time() {
        let holds = |taken: &[(u64, u64, u64)]| {
            let taken = taken.to_vec();
            catch_unwind(|| check_order(taken)).is_ok()
        };
        assert!(holds(&[(0, 5, 1), (6, 7, 2)]));
        assert!(holds(&[(0, 5, 2), (4, 7, 1)]), "at once");
        assert!(!holds(&[(0, 5, 2), (6, 7, 1)]));
        assert!(!holds(&[(0, 1, 3), (0, 9, 1), (2, 3, 2)]));
    }

    /// Whether clients of key 0 may have been told this, with these values under
    /// the ids from 1.
    fn keys_hold(told: &[(Action, Outcome, Option<u64>)], found: &[u64]) -> bool {
        let change = |(id, data): (u64, &u64)| {
            json!({"_id": id, "collection": "c", "key": "0", "data": data}).to_string()
        };
        let list: Vec<_> = (1..).zip(found).map(change).collect();
        let operation = |(n, &(action, outcome, id)): (u64, &(Action, Outcome, Option<u64>))| {
            let operation = Operation { called: 10 * n, returned: 10 * n + 5, action, outcome };
            KeyOperation { key: 0, operation, id }
        };
        let operations: Vec<_> = (0..).zip(told).map(operation).collect();
        catch_unwind(|| check_keys("c", 1, operations, &list)).is_ok()
    }

    #[test]
    fn keys_are_checked_against_the_list_and_each_other() {
        use {Action::*, Outcome::*};
        let put = (Put(100), Done, Some(1));
        let read = (Read, Saw(Some(100)), Some(1));
        assert!(keys_hold(&[put, read], &[100]));
        assert!(!keys_hold(&[put, read], &[]), "lost");
        assert!(!keys_hold(&[put, read], &[101]), "another value");
        assert!(!keys_hold(&[put, (Put(101), Done, Some(2)), read], &[100, 101]), "stale");
        assert!(!keys_hold(&[put, (Put(101), Failed, None)], &[100, 101]), "refused");
        let taken = (PutIfAbsent(101), Refused(Some(1)), Some(1));
        assert!(keys_hold(&[put, taken], &[100]));
        assert!(!keys_hold(&[put, (Put(102), Done, Some(2)), taken], &[100, 102]), "stale");
        let unknown = (Put(101), Unknown, None);
        assert!(keys_hold(&[put, unknown, read], &[100, 101]));
        let read = (Read, Saw(Some(101)), Some(2));
        assert!(keys_hold(&[put, unknown, read], &[100, 101]));
        assert!(!keys_hold(&[put, unknown, read], &[100]), "from nowhere");
    }
}
