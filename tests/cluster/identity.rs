//! Nodes that are not whom they are taken for, and nodes by name.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use testkit::{Client, NodeBuilder, cluster::Cluster, eventually, temporary, workload::number};

/// Copies a directory of files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn member(view: &Value, id: u64) -> &Value {
    let members = view["members"].as_array().expect("members");
    members.iter().find(|member| member["id"] == id).expect("the member")
}

#[test]
fn a_copy_beside_its_original_is_refused_while_that_is_alive() {
    let mut cluster = Cluster::start(3);
    cluster.client(0).append(number(0));
    let (leader, original) = (cluster.leader(), cluster.followers()[0]);
    let (id, data) = (cluster.id(original), cluster.node(original).data());
    cluster.stop(original);
    let builder = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0"]);
    copy(&data, &builder.directory().path().join("data"));
    cluster.restart(original);
    cluster.catches_up(original);

    let second = builder.start();
    let why = "it is a second process with the number of a member that is alive";
    eventually("the copy is refused", || cluster.node(leader).stderr().contains(why));
    let committed =
        |cluster: &Cluster| cluster.view(leader).unwrap()["committed"].as_u64().expect("an index");
    let before = committed(&cluster);
    let mut client = cluster.client(leader);
    for n in 1..=200 {
        client.append(number(n));
    }
    let entries = committed(&cluster) - before;
    assert!(entries <= 200, "{} entries are no writes", entries - 200);
    let address = cluster.address(original).to_string();
    assert_eq!(member(&cluster.view(leader).unwrap(), id)["address"], address);
    assert_eq!(second.client().get("/ready").status, 503);

    cluster.kill(original);
    let address = second.address().to_string();
    eventually("the copy is the member now", || {
        let view = cluster.view(leader).unwrap_or_default();
        !view.is_null() && member(&view, id)["address"] == address
    });
}

#[test]
fn an_empty_node_in_the_place_of_a_member_takes_no_writes() {
    let mut cluster = Cluster::start(3);
    cluster.client(0).append(number(0));
    let wiped = cluster.followers()[0];
    let data = cluster.node(wiped).data();
    cluster.stop(wiped);
    fs::remove_dir_all(data).unwrap();
    let node = cluster.leave(wiped).without("--join").without("--role").start();
    let mut client = node.client();
    let why = "nodes of another cluster call it as their member";
    eventually("it is not ready", || {
        let answer = client.get("/ready");
        answer.status == 503 && answer.text().contains(why)
    });
    let answer = client.post(number(1));
    answer.problem(503, "no-leader");
    assert!(answer.text().contains(why), "{}", answer.text());
    let said = "nodes of another cluster call this one as their member";
    eventually("it says so", || node.stderr().contains(said));
    assert_eq!(node.stderr().matches(said).count(), 1, "once");
    // The others are not concerned.
    cluster.client(cluster.leader()).append(number(2));

    drop(cluster);
    eventually("it is ready once nobody calls it so", || client.get("/ready").status == 200);
    assert_eq!(client.append(number(3)), 1);
}

#[test]
fn a_join_that_has_no_effect_is_said() {
    let first = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0"]).start();
    let other = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0"]).start();
    other.client().append(number(0));
    let join = first.address().to_string();
    let other = other.stop().flags(&["--join", &join]).start();
    for said in [
        "--join has no effect: this node is a member already",
        "--join names a node of another cluster than this data directory belongs to",
    ] {
        eventually(said, || other.stderr().contains(said));
    }
    other.holds(1);
}

#[test]
fn a_node_that_listens_by_name_is_known_by_name() {
    let flags = ["--listen", "localhost:0", "--cluster-listen", "localhost:0"];
    let node = NodeBuilder::new().flags(&flags).start();
    let view = node.client().page("/cluster");
    let own = member(&view, 1);
    assert_eq!(own["address"], format!("localhost:{}", node.address().port()));
    let cluster_address = own["cluster_address"].as_str().unwrap();
    assert!(cluster_address.starts_with("localhost:"), "{cluster_address}");
}

const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The hosts of `NAMES`, on addresses of this machine that end with these numbers.
fn hosts(path: &Path, first: usize) {
    let lines = NAMES.iter().enumerate().map(|(n, name)| format!("127.0.0.{} {name}\n", first + n));
    fs::write(path, lines.collect::<String>()).unwrap();
}

/// How to start a node that knows the hosts of a file.
fn launcher(hosts: &Path) -> Vec<String> {
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    words.iter().map(ToString::to_string).collect()
}

/// Whether everybody takes writes.
fn all_ready(clients: &mut [Client]) -> bool {
    clients.iter_mut().all(|client| client.get("/ready").status == 200)
}

#[test]
fn nodes_with_names_find_each_other_after_all_addresses_changed() {
    let directory = temporary();
    let path = directory.path().join("hosts");
    hosts(&path, 11);
    let words = launcher(&path);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let permitted = Command::new(words[0]).args(&words[1..]).arg("true").status();
    if !permitted.is_ok_and(|status| status.success()) {
        println!("skipped: there are no mount namespaces here");
        return;
    }
    let mut nodes = Vec::new();
    let mut join: Option<String> = None;
    for name in NAMES {
        let place = format!("{name}:0");
        let builder = NodeBuilder::new().launcher(&words).flags(&[
            "--listen",
            &place,
            "--cluster-listen",
            &place,
        ]);
        let builder = match &join {
            Some(first) => builder.flags(&["--join", first]),
            None => builder,
        };
        let node = builder.start();
        join.get_or_insert_with(|| format!("{name}:{}", node.address().port()));
        nodes.push(node);
        let voters = nodes.len();
        eventually("it is taken in", || {
            let view = nodes[0].client().page("/cluster");
            let members = view["members"].as_array().unwrap().iter();
            members.filter(|member| member["role"] == "voter").count() == voters
        });
    }
    nodes[2].client().append(number(0));

    let view = nodes[0].client().page("/cluster");
    let builders: Vec<NodeBuilder> = nodes.into_iter().map(|node| node.kill()).collect();
    hosts(&path, 21);
    let starts = builders.into_iter().zip(NAMES).map(|(builder, name)| {
        let members = view["members"].as_array().unwrap().iter();
        let is_it = |member: &&Value| member["address"].as_str().unwrap().starts_with(name);
        let own = members.clone().find(is_it).expect("it is known by its name");
        let [listen, cluster] = ["address", "cluster_address"].map(|at| own[at].as_str().unwrap());
        builder.flags(&["--listen", listen, "--cluster-listen", cluster]).start()
    });
    let nodes: Vec<_> = starts.collect();
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(node.address().ip().to_string(), format!("127.0.0.{}", 21 + n));
    }
    let mut clients: Vec<Client> = nodes.iter().map(|node| node.client()).collect();
    eventually("there is a leader", || all_ready(&mut clients));
    assert_eq!(clients[1].append(number(1)), 2);
}
