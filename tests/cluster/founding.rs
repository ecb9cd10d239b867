//! A cluster is founded when that is asked for, and once.

use std::{fs, net::TcpListener};

use serde_json::Value;

use testkit::{
    Client, Node, NodeBuilder, cluster::SILENCE, eventually, temporary, workload::number,
};

/// Addresses that nobody listens at, for nodes that must know them before they start.
fn free(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

/// One of nodes that are all started by the same command but for their own addresses.
fn one_of(places: &[String], own: usize, expect: &str) -> NodeBuilder {
    NodeBuilder::new().flags(&[
        "--listen",
        &places[own],
        "--cluster-listen",
        "127.0.0.1:0",
        "--bootstrap-expect",
        expect,
        "--join",
        &places.join(","),
    ])
}

fn view(node: &Node) -> Value {
    node.client().page("/cluster")
}

/// The same of one that may be starting anew.
fn try_view(node: &Node) -> Option<Value> {
    let mut client = Client::try_connect(node.address(), SILENCE)?;
    Some(client.try_request("GET", "/cluster", &[], b"")?.json())
}

/// Waits until all of them vote in one cluster; its id.
fn becomes_one(nodes: &[Node]) -> String {
    let mut clusters = Vec::new();
    eventually("all of them vote in one cluster", || {
        let views: Vec<_> = nodes.iter().filter_map(try_view).collect();
        let voters = |view: &Value| {
            let members = view["members"].as_array().unwrap().iter();
            members.filter(|member| member["role"] == "voter").count()
        };
        clusters = views.iter().map(|view| view["cluster"].to_string()).collect();
        views.len() == nodes.len()
            && views.iter().all(|view| voters(view) == nodes.len() && !view["leader"].is_null())
            && clusters.iter().all(|cluster| *cluster == clusters[0])
    });
    clusters.swap_remove(0)
}

fn founders(nodes: &[Node]) -> usize {
    nodes.iter().filter(|node| node.stderr().contains("this node founds a cluster")).count()
}

#[test]
fn one_command_makes_a_cluster_of_empty_nodes_and_founds_no_second_one() {
    let mut places = free(3);
    places.sort();
    let mut nodes: Vec<_> = (1..3).map(|own| one_of(&places, own, "3").start()).collect();
    eventually("two wait for the third", || {
        nodes.iter().all(|node| node.stderr().contains("has not said yet whether it belongs"))
    });
    for node in &nodes {
        let view = view(node);
        assert_eq!((&view["node"], &view["gathering"]["expect"]), (&0.into(), &3.into()), "{view}");
        assert_eq!(view["gathering"]["met"], serde_json::json!([]), "{view}");
        node.client().post(number(0)).problem(503, "no-leader");
    }
    nodes.insert(0, one_of(&places, 0, "3").start());
    let cluster = becomes_one(&nodes);
    assert_eq!(founders(&nodes), 1);
    assert!(
        nodes[0].stderr().contains("this node founds a cluster"),
        "it has the smallest address"
    );
    assert_eq!(view(&nodes[0])["gathering"], Value::Null);
    nodes[1].client().append(number(0));

    // It loses its disk, and is started by the same command.
    let first = nodes.remove(0);
    let data = first.data();
    let builder = first.kill();
    fs::remove_dir_all(data).unwrap();
    let first = builder.start();
    let said = "the data directory is empty, and a cluster has a member at this address";
    eventually("it says what it has lost", || first.stderr().contains(said));
    nodes.insert(0, first);
    assert_eq!(becomes_one(&nodes), cluster);
    assert_eq!(founders(&nodes[..1]), 0);

    // A restart changes nothing, whoever else is there, nor does one more node by that command.
    let builder = nodes.remove(0).kill();
    nodes.insert(0, builder.start());
    let more = [places.clone(), free(1)].concat();
    let late = one_of(&places, 0, "3").flags(&["--listen", &more[3]]).start();
    nodes.push(late);
    assert_eq!(becomes_one(&nodes), cluster);
    assert_eq!(founders(&nodes[..1]) + founders(&nodes[3..]), 0);
    let said = "--join has no effect: this node is a member already";
    assert!(nodes[0].stderr().contains(said));
}

#[test]
fn a_node_that_others_do_not_all_see_founds_nothing() {
    let mut places = free(3);
    places.sort();
    // The second one was not told of the third.
    let own = |own: usize| one_of(&places, own, "3");
    let narrow = format!("{},{}", places[0], places[1]);
    let first = own(0).start();
    let second = own(1).flags(&["--join", &narrow, "--bootstrap-expect", "3"]).start();
    let third = own(2).start();
    let met = |node: &Node| view(node)["gathering"]["met"].as_array().map_or(0, Vec::len);
    eventually("two have met all three", || met(&first) == 3 && met(&third) == 3);
    let waits = format!("the node at {} has not found the same nodes yet", places[1]);
    eventually("the one that is to found it waits", || first.stderr().contains(&waits));
    assert!(second.stderr().contains("2 empty nodes have found each other"));
    assert_eq!(met(&second), 0);
    // It is told, and that is all that was missing.
    let second = second.kill().flags(&["--join", &places.join(",")]).start();
    let nodes = [first, second, third];
    becomes_one(&nodes);
    assert_eq!(founders(&nodes), 1);
}

#[test]
fn a_node_with_a_cluster_address_founds_nothing_unasked() {
    let directory = temporary();
    let data = directory.path().join("data");
    let unasked = || {
        NodeBuilder::bare(&directory, &data)
            .flags(&["--cluster-listen", "127.0.0.1:0", "--segment-size", "2MiB"])
            .flags(&["--max-body", "1MiB", "--max-batch", "1000"])
            .environment("CHANGEAGENT_FOUND", "false")
    };
    let words = ["is empty", "--found", "--bootstrap-expect N", "has lost its data directory"];
    unasked().fails().says(&words);
    assert!(fs::read_dir(&data).unwrap().all(|file| file.unwrap().file_name() == "LOCK"));

    // One that waits in vain waits for nothing without --join, and founds a cluster once that is asked.
    let waits = unasked().flags(&["--join", "127.0.0.1:1"]).start();
    assert_eq!(view(&waits)["node"], 0);
    waits.stop().without("--join").fails().says(&words);
    let founds = unasked().environment("CHANGEAGENT_FOUND", "true").start();
    eventually("it founds a cluster", || founds.client().get("/ready").status == 200);
    founds.client().append(number(0));

    // From then on it needs no word of that, and one has no effect.
    founds.stop();
    let again = unasked().environment("CHANGEAGENT_FOUND", "true").start();
    assert!(again.stderr().contains("--found has no effect: this node is a member already"));
    again.stop();
    unasked().start().holds(1);
}
