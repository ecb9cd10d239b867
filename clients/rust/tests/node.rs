//! The client against a real node: run with CHANGEAGENT=/path/to/changeagent.
#![cfg(feature = "tokio")]

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use changeagent_client::{
    Client, Condition, Follow, Mode, NewChange, Options, Place, Since, Tokio,
};

/// A node that keeps its data and its address when it is started again.
struct Node {
    folder: PathBuf,
    child: Child,
    url: String,
}

impl Node {
    fn start(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(std::fs::remove_dir_all(&folder));
        let (child, url) = Self::run(&folder, "127.0.0.1:0");
        Self { folder, child, url }
    }

    fn run(folder: &std::path::Path, address: &str) -> (Child, String) {
        let program = std::env::var("CHANGEAGENT").expect("CHANGEAGENT names the program");
        let mut command = Command::new(program);
        command.arg("--data").arg(folder).args(["--listen", address, "--segment-size", "32MiB"]);
        command.env_remove("CHANGEAGENT").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the node starts");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening ").expect("its address").to_owned();
        (child, url)
    }

    fn restart(&mut self) {
        self.kill();
        let address = self.url.strip_prefix("http://").expect("its address").to_owned();
        (self.child, self.url) = Self::run(&self.folder, &address);
    }

    fn kill(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    fn client(&self) -> Client<Tokio> {
        Client::new(Tokio, [self.url.as_str()], Options::default()).expect("a client")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn change(data: i64) -> NewChange {
    NewChange::of(&data).expect("a number")
}

#[test]
fn appends_reads_and_keys() {
    let node = Node::start("keys");
    block_on(async {
        let client = node.client();
        let tenant = client.tenant("foo").await.expect("a tenant");
        assert_eq!(client.tenant("foo").await.expect("the same"), tenant);
        let users = client.collection("foo", "users").await.expect("a collection");
        let raw = serde_json::value::RawValue::from_string("1.00".into()).expect("a number");
        let first = client.append(NewChange::raw(raw).tenant("foo").tag("é"), None).await;
        let batch = [change(2).tenant("foo"), change(3).key(&users, "k/é")];
        let batch = client.append_batch(&batch, None).await.expect("a batch");
        let first = first.expect("a change");
        assert_eq!((batch.first, batch.last, batch.count), (first + 1, first + 2, 2));
        let foo = Place::tenant("foo");
        let page = client.read(&foo, 0, 10, Some(batch.last)).await.expect("a page");
        let texts: Vec<_> = page.changes.iter().filter_map(|change| change.data_json()).collect();
        assert_eq!(texts, ["1.00", "2", "3"]);
        let named = Place::named("foo", "users");
        let found = client.get(&named, "k/é", None).await.expect("an answer").expect("a key");
        assert_eq!((found.id, found.data_as::<u8>().expect("a number")), (batch.last, 3));
        let put = client.put(&named, "k/é", change(4), Condition::Absent, None).await;
        let failed = put.expect_err("it is there");
        let problem = failed.error.problem().expect("a problem");
        assert_eq!(
            (problem.code.as_str(), problem.current()),
            ("precondition-failed", Some(found.id))
        );
        assert!(!failed.outcome_unknown);
        let version = Condition::Version(found.id);
        let newer =
            client.put(&named, "k/é", change(4), version, Some("k")).await.expect("a version");
        let again = client.put(&named, "k/é", change(4), version, Some("k")).await;
        assert_eq!(again.expect("the first answer"), newer);
        assert!(client.delete(&named, "k/é", Condition::Any, None).await.expect("done").is_some());
        assert!(client.delete(&named, "k/é", Condition::Any, None).await.expect("done").is_none());
        assert!(client.get(&named, "k/é", None).await.expect("an answer").is_none());
    });
}

#[test]
fn follows_through_a_restart_in_both_modes() {
    let mut node = Node::start("follows");
    block_on(async {
        let client = node.client();
        for n in 1..=5 {
            client.append(change(n), None).await.expect("a change");
        }
        for (mode, last) in [(Mode::Wait, 6), (Mode::Stream, 7)] {
            let mut follow = Follow::of(Place::everything());
            follow.mode = mode;
            let mut follower = client.follow(follow);
            for id in 1..last {
                assert_eq!(follower.next().await.expect("a change").id, id);
            }
            node.restart();
            client.append(change(0), None).await.expect("a change");
            assert_eq!(follower.next().await.expect("a change").id, last);
        }
    });
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    let node = Node::start("dropped");
    block_on(async {
        let client = node.client();
        for mode in [Mode::Wait, Mode::Stream] {
            let mut follow = Follow::of(Place::everything()).since(Since::Now);
            follow.mode = mode;
            let mut follower = client.follow(follow);
            let start = follower.next_page().await.expect("its start");
            assert!(start.changes.is_empty());
            for n in 1..=20 {
                let brief = Duration::from_millis(n % 4);
                let given_up = tokio::time::timeout(brief, follower.next()).await;
                assert!(given_up.is_err(), "there is nothing yet");
                let id = client.append(change(1), None).await.expect("a change");
                assert_eq!(follower.next().await.expect("a change").id, id);
            }
            let position = Since::Position(start.position.clone());
            let mut again = client.follow(Follow::of(Place::everything()).since(position));
            assert_eq!(again.next().await.expect("a change").id, start.position.id + 1);
        }
    });
}

#[test]
fn the_state_of_a_collection() {
    let node = Node::start("state");
    block_on(async {
        let client = node.client();
        let users = Place::collection(
            client
                .collection(&client.tenant("foo").await.expect("a tenant"), "users")
                .await
                .expect("a collection"),
        );
        for n in 0..10 {
            let key = format!("k{}", n % 4);
            client.put(&users, &key, change(n), Condition::Any, None).await.expect("a version");
        }
        client.delete(&users, "k0", Condition::Any, None).await.expect("a deletion");
        let mut state = client.state(&users, None).expect("a reader");
        let mut seen = Vec::new();
        while let Some(page) = state.next_page().await.expect("a page") {
            seen.extend(page.changes);
        }
        let seen: Vec<_> =
            seen.iter().map(|change| (change.key.as_deref(), change.data_json())).collect();
        let kept = [("k1", "9"), ("k2", "6"), ("k3", "7")];
        assert_eq!(seen, kept.map(|(key, data)| (Some(key), Some(data))));
    });
}
