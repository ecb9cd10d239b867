//! `changeagent members list`: the members, and how far each is.

use std::io::Write as _;

use clap::Args;
use serde::Serialize;

use super::super::{
    cluster::{Cluster, Member, cell},
    failure::Failure,
    node::{Node, NodeArguments, RetryArguments},
    table::aligned,
};
use super::arguments::SILENCE_MAX;

/// How to show it.
#[derive(Debug, Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    retry: RetryArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show what the node itself knows, not its leader
    #[arg(long)]
    local: bool,
}

/// The list for programs; null is what is not known.
#[derive(Debug, Serialize)]
struct Listing<'a> {
    node: Option<u64>,
    leader: Option<u64>,
    members: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    id: u64,
    role: Option<&'a str>,
    state: Option<&'a str>,
    address: Option<&'a str>,
    cluster_address: Option<&'a str>,
    matched: Option<u64>,
    lag: Option<u64>,
    reachable: Option<bool>,
    last_heard_ms: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let retries = arguments.retry.retries;
    let node = Node::with_patience(&arguments.node, retries, SILENCE_MAX)?;
    let cluster = match arguments.local {
        true => Cluster::ask_local(&node)?,
        false => Cluster::ask(&node)?,
    };
    let text = if arguments.json {
        let json = serde_json::to_string(&listing(&cluster));
        json.map_err(|error| Failure::Other(error.to_string()))? + "\n"
    } else {
        table(&cluster)
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::output)
}

fn listing(cluster: &Cluster) -> Listing<'_> {
    let members = cluster.members.iter().map(|member| line(cluster, member)).collect();
    Listing { node: cluster.node, leader: cluster.leader, members }
}

fn line<'a>(cluster: &Cluster, member: &'a Member) -> Line<'a> {
    let Member { id, address, cluster_address, role, state, .. } = member;
    Line {
        id: *id,
        role: role.as_deref(),
        state: state.as_deref(),
        address: address.as_deref(),
        cluster_address: cluster_address.as_deref(),
        matched: cluster.matched(member),
        lag: cluster.lag(member),
        reachable: member.reachable,
        last_heard_ms: member.last_heard_ms,
    }
}

fn table(cluster: &Cluster) -> String {
    let heading = ["id", "role", "state", "address", "cluster address", "matched", "lag", "note"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(listing(cluster).members.iter().map(|line| {
        let mut note = Vec::new();
        if cluster.leader == Some(line.id) {
            note.push("leader".to_owned());
        }
        if cluster.node == Some(line.id) {
            note.push("this node".to_owned());
        }
        if let (Some(false), Some(ms)) = (line.reachable, line.last_heard_ms) {
            note.push(format!("last heard {} s ago", ms / 1000));
        }
        vec![
            line.id.to_string(),
            cell(line.role),
            cell(line.state),
            cell(line.address),
            cell(line.cluster_address),
            cell(line.matched),
            cell(line.lag),
            note.join(", "),
        ]
    }));
    aligned(&rows)
}
