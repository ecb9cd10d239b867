//! The directories that are damaged: what a node leaves behind that was written to in every way.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

use super::image::Image;
use crate::{
    io::{
        cores,
        simulated::{
            cores::JoinHandle,
            disk::SimDisk,
            executor::{Executor, run, spawn_in},
        },
    },
    node::retention::Retention,
    simulation::{
        node::{self, Exit},
        places::{Setup, client_address, process_of},
        wire::{Answer, Heard, Link, Request},
    },
};

const NODE: u64 = 1;
/// Short, so that there are several.
const SEGMENT_BYTES: u64 = 32 << 10;
/// A node is ready, or has ended, within that.
const READY: Duration = Duration::from_secs(60);

/// A node that runs on a disk, and its client.
pub struct Running {
    link: Link,
    stop: Rc<Notify>,
    exit: JoinHandle<Exit>,
}

impl Running {
    /// Starts a node on `disk`.
    ///
    /// # Errors
    /// Why it does not start, in its own words.
    pub async fn on(disk: SimDisk, retention: Option<Retention>) -> Result<Self, String> {
        let setup = Setup { cores: 1, segment_bytes: SEGMENT_BYTES, retention, votes: true };
        let (stop, inside) = (Rc::new(Notify::new()), Rc::new(RefCell::new(None)));
        let main = node::run(
            NODE,
            setup,
            disk,
            node::Role::FOUNDER,
            Rc::clone(&stop),
            Rc::clone(&inside),
            false,
        );
        let mut exit = spawn_in(process_of(NODE), main);
        let mut link = Link::new(client_address(NODE));
        let ready = Box::pin(async {
            while !matches!(link.ask(&Request::get("/ready".into())).await,
                Heard::Answer(answer) if answer.status == 200)
            {
                cores::sleep(Duration::from_millis(20)).await;
            }
        });
        match cores::within(READY, select(ready, &mut exit)).await {
            Some(Either::Left(((), _))) => {}
            Some(Either::Right((Some(Exit::NotStarted(why)), _))) => return Err(why),
            Some(Either::Right((other, _))) => panic!("a node that starts ends with {other:?}"),
            None => panic!("a node neither starts nor ends"),
        }
        Ok(Self { link, stop, exit })
    }

    pub async fn ask(&mut self, request: Request) -> Answer {
        match self.link.ask(&request).await {
            Heard::Answer(answer) => answer,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    pub async fn get(&mut self, target: &str) -> Answer {
        self.ask(Request::get(target.to_owned())).await
    }

    /// The answer to a write that is taken.
    async fn post(&mut self, target: &str, key: Option<&str>, body: String) -> String {
        let answer = self.ask(write("POST", target, key, body)).await;
        assert!(matches!(answer.status, 200 | 201), "{target}: {answer:?}");
        answer.body
    }

    pub async fn stop(mut self) {
        self.link.close();
        self.stop.notify_one();
        assert_eq!((&mut self.exit).await, Some(Exit::Stopped));
        // What it left listening goes with its process.
        Executor::current().kill(process_of(NODE));
    }
}

fn write(method: &'static str, target: &str, key: Option<&str>, body: String) -> Request {
    let request = Request::with_body(method, target.to_owned(), body);
    match key {
        Some(key) => request.header("Idempotency-Key", key.to_owned()),
        None => request,
    }
}

/// A write with a key that was answered.
#[derive(Clone)]
pub struct Keyed {
    target: String,
    key: String,
    body: String,
    pub answer: String,
}

impl Keyed {
    pub fn request(&self) -> Request {
        write("POST", &self.target, Some(&self.key), self.body.clone())
    }
}

/// What was written.
#[derive(Clone, Default)]
pub struct Names {
    pub tenants: Vec<String>,
    pub collections: Vec<String>,
    /// The paths of keys, deleted ones included.
    pub keys: Vec<String>,
    pub keyed: Vec<Keyed>,
}

/// A directory, and what a client has to know to read all of it.
pub struct Origin {
    pub image: Image,
    pub names: Names,
}

/// What the directory of a node holds that was stopped, or killed right after a write.
pub fn origin(seed: u64, is_killed: bool) -> Origin {
    run(seed, async {
        let retention = Retention { min_changes: 60, min_age: Duration::ZERO };
        let disk = SimDisk::new(seed);
        let mut node = Running::on(disk.clone(), Some(retention)).await.expect("it starts");
        let mut names = Names::default();
        for n in 0..3 {
            tenant(&mut node, &mut names, n).await;
        }
        for n in 0..100 {
            change(&mut node, &mut names, n).await;
        }
        // What was written first is in the checkpoint alone.
        while node.get("/changes/1").await.status != 410 {
            cores::sleep(Duration::from_secs(1)).await;
        }
        cores::sleep(Duration::from_secs(40)).await;
        node.stop().await;
        // From here on nothing is purged any more.
        let mut node = Running::on(disk.clone(), None).await.expect("it starts");
        tenant(&mut node, &mut names, 3).await;
        for n in 100..130 {
            change(&mut node, &mut names, n).await;
        }
        let disk = match is_killed {
            true => disk.kill(),
            false => {
                node.stop().await;
                disk
            }
        };
        Origin { image: Image::new(disk.snapshot()), names }
    })
}

/// Makes a tenant with two collections.
async fn tenant(node: &mut Running, names: &mut Names, n: usize) {
    let member = |answer: &str, name: &str| {
        let value: serde_json::Value = serde_json::from_str(answer).unwrap();
        value[name].as_str().expect("a name").to_owned()
    };
    let answer = node.post("/tenants", None, format!("{{\"name\":\"tenant-{n}\"}}")).await;
    let tenant = member(&answer, "tenant");
    for m in 0..2 {
        let target = format!("/tenants/{tenant}/collections");
        let answer = node.post(&target, None, format!("{{\"name\":\"c-{m}\"}}")).await;
        names.collections.push(member(&answer, "collection"));
    }
    names.tenants.push(tenant);
}

/// One write of some kind; each change has a text that no other has.
async fn change(node: &mut Running, names: &mut Names, n: usize) {
    let collection = names.collections[n % names.collections.len()].clone();
    let tenant = names.tenants[n % names.tenants.len()].clone();
    let data = format!("\"<{n}>{}\"", "x".repeat(n * 37 % 1500));
    let tags = format!("[\"t{}\",\"u{}\"]", n % 4, n % 7);
    match n % 6 {
        0 => {
            let body = format!("{{\"data\":{data},\"tags\":{tags}}}");
            let (target, key) = ("/changes".to_owned(), format!("key-{n}"));
            let answer = node.post(&target, Some(&key), body.clone()).await;
            names.keyed.push(Keyed { target, key, body, answer });
        }
        1 => {
            let one = |m: usize| format!("{{\"data\":\"<{n}.{m}>\",\"tags\":[\"t{}\"]}}", m % 4);
            let body: Vec<_> = (0..5).map(one).collect();
            let target = format!("/tenants/{tenant}/changes");
            node.post(&target, None, format!("[{}]", body.join(","))).await;
        }
        2..=4 => {
            let name = format!("k{}", n % 11);
            let path = format!("/collections/{collection}/keys/{name}");
            let target = format!("/collections/{collection}/keys");
            node.post(&target, None, format!("{{\"key\":\"{name}\",\"data\":{data}}}")).await;
            if !names.keys.contains(&path) {
                names.keys.push(path);
            }
        }
        _ => {
            // One of them is there now and then.
            let path = names.keys[n * 7 % names.keys.len()].clone();
            let answer = node.ask(write("DELETE", &path, None, String::new())).await;
            assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        }
    }
}
