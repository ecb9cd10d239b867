//! Clients that go on through every fault, each at one node, and remember what
//! they were told; and what must be true of it afterwards.

mod check;
mod door;
mod keys;
mod list;
#[cfg(test)]
mod tests;

use std::{
    mem::take,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;

use self::{
    check::{check_keys, check_list, check_seen, check_sent},
    keys::{KeyOperation, KeyWorker},
    list::{Sent, follow, write},
};
use crate::{cluster::Cluster, eventually};

/// Between two requests of one client, so that few cores are left to the nodes.
const PACE: Duration = Duration::from_millis(3);
/// Between two tries at a node that is not there.
const ABSENT: Duration = Duration::from_millis(20);

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

/// Clients at every node of a cluster.
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

/// The body of a change that is none of a writer's.
pub fn number(n: u64) -> String {
    json!({"data": {"number": n}}).to_string()
}
