//! `changeagent doctor`: whether this machine is fit for a node, and reaches the others.

use std::{
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use super::{
    cluster::Cluster,
    failure::Failure,
    node::{Node, NodeArguments, Url},
    table::aligned,
    trust::TrustArguments,
};
use crate::server::{Finding, Verdict, examine};

/// Another node has so long to answer.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A way there and back that takes longer is too long for the usual heartbeat.
const ANSWER_USUAL: Duration = Duration::from_millis(150);

/// What to look at.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory that a node has or is to have: its disk is tried for two seconds
    #[arg(long, env = "CHANGEAGENT_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// Where clients reach other nodes: whether they answer is looked at, too
    #[arg(long, value_name = "URL[,URL]", value_delimiter = ',')]
    peer: Vec<Url>,
    /// A file with the token that those nodes ask for; without it, what is in CHANGEAGENT_TOKEN
    #[arg(long, env = "CHANGEAGENT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut findings = examine(&arguments.data);
    for url in &arguments.peer {
        findings.push(peer(arguments, url)?);
    }
    let text = if arguments.json { lines(&findings) } else { table(&findings) };
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::output)?;
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad);
    let bad: Vec<_> = bad.map(|finding| finding.what).collect();
    match bad.is_empty() {
        true => Ok(()),
        false => Err(Failure::Other(format!("no node runs well here: {}", bad.join(", ")))),
    }
}

/// Whether the node there answers, and how soon.
///
/// # Errors
/// The token or the files of TLS cannot be used.
fn peer(arguments: &Arguments, url: &Url) -> Result<Finding, Failure> {
    let Arguments { token_file, trust, .. } = arguments;
    let (token_file, trust) = (token_file.clone(), trust.clone());
    let node = NodeArguments { url: url.clone(), token_file, trust };
    let node = Node::with_patience(&node, 0, SILENCE_MAX)?;
    // The first one also connects.
    let asked = Cluster::ask(&node).and_then(|_| {
        let begun = Instant::now();
        Cluster::ask(&node).map(|cluster| (cluster, begun.elapsed()))
    });
    Ok(match asked {
        Ok((cluster, time)) => answers(url, &cluster, time),
        Err(failure) => {
            let remedy = "start it, or mend name, port, firewall, token or TLS, as the line says";
            Finding::wrong("peer", Verdict::Bad, failure.to_string(), remedy)
        }
    })
}

fn answers(url: &Url, cluster: &Cluster, time: Duration) -> Finding {
    let ms = time.as_secs_f64() * 1e3;
    let node = cluster.node.filter(|node| *node != 0);
    let who = node.map_or("an empty node".to_owned(), |node| format!("node {node}"));
    let seen = format!("{url}: {who} answers within {ms:.1} ms");
    if time > ANSWER_USUAL {
        let remedy = "raise --heartbeat and --election-timeout of all nodes, or find what is slow";
        return Finding::wrong("peer", Verdict::Doubtful, seen, remedy);
    }
    if node.is_some() && cluster.leader.is_none() {
        let remedy = "start a quorum of the members, and see to the ways between them";
        return Finding::wrong(
            "peer",
            Verdict::Doubtful,
            format!("{seen}, and knows no leader"),
            remedy,
        );
    }
    Finding::good("peer", seen)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Doubtful => "look",
        Verdict::Bad => "bad",
    }
}

/// A line for each, and below what is not as it should be what to do.
fn table(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|Finding { what, verdict, seen, .. }| {
        vec![word(*verdict).to_owned(), (*what).to_owned(), seen.clone()]
    });
    let rows: Vec<_> = rows.collect();
    let text = aligned(&rows);
    let lines = text.lines().zip(findings).map(|(line, finding)| match &*finding.remedy {
        "" => format!("{line}\n"),
        remedy => format!("{line}\n      to do: {remedy}\n"),
    });
    lines.collect()
}

fn lines(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|Finding { what, verdict, seen, remedy }| {
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty());
        let line = json!({"what": what, "verdict": word(*verdict), "seen": seen, "remedy": remedy});
        format!("{line}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_followed_by_what_to_do() {
        let findings = [
            Finding::good("kernel", "6.1"),
            Finding::wrong("clock", Verdict::Doubtful, "it drifts", "run chronyd"),
        ];
        let want = "ok    kernel  6.1\nlook  clock   it drifts\n      to do: run chronyd\n";
        assert_eq!(table(&findings), want);
        let lines = lines(&findings);
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines[0],
            json!({"what": "kernel", "verdict": "ok", "seen": "6.1", "remedy": null})
        );
        assert_eq!(lines[1]["remedy"], "run chronyd");
    }

    #[test]
    fn a_peer_that_is_slow_or_unled_is_doubtful() {
        let url: Url = "http://h:1".parse().unwrap();
        let cluster = |node: u64, leader: Option<u64>| -> Cluster {
            serde_json::from_value(json!({"node": node, "leader": leader, "members": []})).unwrap()
        };
        let of = |cluster: &Cluster, ms| answers(&url, cluster, Duration::from_millis(ms)).verdict;
        assert_eq!(of(&cluster(2, Some(1)), 3), Verdict::Good);
        assert_eq!(of(&cluster(0, None), 3), Verdict::Good, "it waits for a cluster");
        assert_eq!(of(&cluster(2, None), 3), Verdict::Doubtful);
        assert_eq!(of(&cluster(2, Some(1)), 200), Verdict::Doubtful);
    }
}
