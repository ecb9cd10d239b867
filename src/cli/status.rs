//! `changeagent status`: a node and its cluster at a glance.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    cluster::{Cluster, cell},
    failure::Failure,
    node::{Answer, JSON, Node, NodeArguments},
    table::aligned,
};

/// A node that has nothing to say for so long is not well.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What to show.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// All that is known.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// What `/cluster` says, or `/` where there is none.
    #[serde(flatten)]
    cluster: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: String,
    detail: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = Node::with_patience(&arguments.node, 0, SILENCE_MAX)?;
    let not_ready = node.get("/ready", JSON).err();
    let cluster = match not_ready {
        Some(Failure::Broken { .. }) => Map::new(),
        _ => cluster(&node)?,
    };
    let report = Report {
        url: node.url().to_string(),
        ready: not_ready.is_none(),
        reason: not_ready.as_ref().map(reason),
        cluster,
    };
    let text = if arguments.json {
        serde_json::to_string(&report).map_err(|error| Failure::Other(error.to_string()))? + "\n"
    } else {
        table(&report)?
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::output)?;
    not_ready.map_or(Ok(()), |failure| Err(failure.at("not ready")))
}

fn reason(failure: &Failure) -> Reason {
    match failure.problem() {
        Some(problem) => Reason { code: problem.code.clone(), detail: problem.detail.clone() },
        None => Reason { code: "unreachable".into(), detail: failure.to_string() },
    }
}

/// What the node says of its cluster.
fn cluster(node: &Node) -> Result<Map<String, Value>, Failure> {
    let object = |answer: Answer| {
        let bytes = answer.bytes()?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Other(format!("{}: not a ChangeAgent: {error}", node.url())))
    };
    match node.get("/cluster", JSON).and_then(object) {
        Err(failure) if failure.problem().is_some() => {
            let mut index: Map<String, Value> = node.get("/", JSON).and_then(object)?;
            index.retain(|name, _| matches!(name.as_str(), "cluster" | "last" | "version"));
            Ok(index)
        }
        answer => answer,
    }
}

/// The members of the report that stand on lines of their own, in this order.
const LINES: [&str; 9] =
    ["cluster", "version", "node", "state", "leader", "term", "last", "committed", "applied"];

fn table(report: &Report) -> Result<String, Failure> {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("url", &report.url);
    match &report.reason {
        None => line("ready", "yes"),
        Some(Reason { code, detail }) => line("ready", &format!("no: {code}: {detail}")),
    }
    for name in LINES {
        match report.cluster.get(name) {
            None => {}
            Some(Value::Null) => line(name, "none"),
            Some(value) => line(name, &plain(value)),
        }
    }
    if report.cluster.contains_key("members") {
        text.push('\n');
        text.push_str(&members_table(&Cluster::read(&report.cluster, &report.url)?));
    }
    Ok(text)
}

/// The members, a line each, under their headings.
fn members_table(cluster: &Cluster) -> String {
    let heading = ["id", "address", "role", "state", "matched", "lag"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(cluster.members.iter().map(|member| {
        vec![
            member.id.to_string(),
            cell(member.address.as_ref()),
            cell(member.role.as_ref()),
            cell(member.state.as_ref()),
            cell(cluster.matched(member)),
            cell(cluster.lag(member)),
        ]
    }));
    aligned(&rows)
}

/// A value as people write it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(cluster: Value) -> Report {
        let Value::Object(cluster) = cluster else { panic!("an object") };
        Report { url: "http://h:1".into(), ready: true, reason: None, cluster }
    }

    #[test]
    fn a_cluster_is_shown_with_its_members() {
        let text = table(&report(json!({
            "cluster": "c", "node": 1, "leader": 1, "term": 3, "state": "leader", "last": 40,
            "committed": 12, "applied": 12,
            "members": [
                {"id": 1, "address": "h:1", "cluster_address": "h:2", "role": "voter",
                 "state": "leader", "matched": 12},
                {"id": 20, "address": "other:1", "role": "learner", "state": "learner",
                 "matched": 7},
                {"id": 3, "address": "h:3", "role": "voter", "state": "follower",
                 "matched": null},
            ],
        })))
        .unwrap();
        let want = "\
url        http://h:1
ready      yes
cluster    c
node       1
state      leader
leader     1
term       3
last       40
committed  12
applied    12

id  address  role     state     matched  lag
1   h:1      voter    leader    12       0
20  other:1  learner  learner   7        5
3   h:3      voter    follower  -        -
";
        assert_eq!(text, want);
    }

    #[test]
    fn a_follower_does_not_know_how_far_the_others_are() {
        let text = table(&report(json!({
            "node": 2, "leader": 1, "state": "follower", "committed": 12,
            "members": [
                {"id": 1, "address": "h:1", "role": "voter", "state": "leader", "matched": 0},
                {"id": 2, "address": "h:2", "role": "voter", "state": "follower", "matched": 11},
            ],
        })))
        .unwrap();
        let want = "\
id  address  role   state     matched  lag
1   h:1      voter  leader    -        -
2   h:2      voter  follower  11       1
";
        assert!(text.ends_with(want), "{text}");
    }

    #[test]
    fn a_node_without_a_leader_says_so() {
        let mut report = report(json!({"cluster": "c", "leader": null}));
        report.ready = false;
        report.reason = Some(Reason { code: "no-leader".into(), detail: "none yet".into() });
        let text = table(&report).unwrap();
        assert!(text.contains("ready      no: no-leader: none yet\n"), "{text}");
        assert!(text.contains("leader     none\n"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["reason"]["code"], "no-leader");
        assert_eq!(json["ready"], false);
    }
}
