//! `changeagent drain`: a node hands leadership over, and says when it may stop without anybody noticing.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;
use ureq::http::Method;
use uuid::Uuid;

use super::{
    cluster::{Cluster, Member},
    failure::{Failure, tell},
    node::{Node, NodeArguments, RetryArguments, Write},
};

/// A node that has nothing to say for so long is not well.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(200);

/// What a node shows of the others is not older.
const VIEW_AGE: Duration = Duration::from_millis(1_500);

/// Which node, and how long to wait.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    retry: RetryArguments,
    /// How long to wait until the node may stop
    #[arg(long, value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// That member is to lead.
    HandOver(u64),
    /// Something must come about first.
    Wait(String),
    /// The node may stop.
    Done(String),
    /// It may never.
    Never(String),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { node, retry, timeout } = arguments;
    let deadline = Instant::now().checked_add(*timeout);
    let left =
        || deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
    let node = Node::with_patience(node, retry.retries, SILENCE_MAX)?.until(deadline);
    // One that is not there has nothing to hand over.
    Cluster::ask(&node)?;
    let once = node.witness(node.url().clone());
    let (begun, mut told) = (Instant::now(), String::new());
    loop {
        let missing = match Cluster::ask(&once).map(|cluster| next(&cluster, begun.elapsed())) {
            Ok(Step::Done(said)) => {
                return writeln!(std::io::stdout(), "{said}").map_err(Failure::output);
            }
            Ok(Step::Never(why)) => return Err(Failure::Other(why)),
            Ok(Step::HandOver(to)) => match hand_over(&once, to) {
                Ok(()) => format!("member {to} does not lead yet"),
                Err(failure) if failure.may_pass() => failure.to_string(),
                Err(failure) => return Err(failure),
            },
            Ok(Step::Wait(missing)) => missing,
            Err(failure) if failure.may_pass() => failure.to_string(),
            Err(failure) => return Err(failure),
        };
        if told != missing {
            tell(&missing);
            told.clone_from(&missing);
        }
        thread::sleep(PAUSE.min(left()));
        if left().is_zero() {
            let timeout = humantime::format_duration(*timeout);
            return Err(Failure::Other(format!("it may not stop after {timeout}: {missing}")));
        }
    }
}

fn hand_over(node: &Node, to: u64) -> Result<(), Failure> {
    let (key, body) = (Uuid::new_v4().to_string(), json!({"id": to}).to_string());
    let (target, body) = ("/cluster/leader", Some(body.as_bytes()));
    let write = Write { method: Method::POST, target, key: &key, body };
    node.write(&write).map(drop).map_err(|failed| failed.failure)
}

/// What is to be done before the node that answered may stop: the others must be a quorum without it, and
/// one of them lead.
///
/// Who was not heard since this command began, `elapsed` ago, may have been lost before.
fn next(cluster: &Cluster, elapsed: Duration) -> Step {
    // A cache, and a node that no cluster has taken in yet.
    let Some(own) = cluster.node.filter(|own| *own != 0 && cluster.member(*own).is_some()) else {
        return Step::Done("the node may stop: it is a member of no cluster".into());
    };
    let votes = |member: &&Member| member.role.as_deref() == Some("voter");
    let voters: Vec<_> = cluster.members.iter().filter(votes).collect();
    let others: Vec<_> = voters.iter().filter(|member| member.id != own).collect();
    if others.len() == voters.len() {
        return Step::Done(format!("member {own} may stop: it is a learner"));
    }
    let quorum = voters.len() / 2 + 1;
    if others.len() < quorum {
        let (left, all) = (others.len(), voters.len());
        return Step::Never(format!(
            "without member {own} {left} of {all} voters are left, and {quorum} are needed: nothing can be \
             written while it is stopped"
        ));
    }
    let Some(leader) = cluster.leader else { return Step::Wait("no leader is known".into()) };
    let is_up = |member: &&&&Member| {
        let heard = member.last_heard_ms.map(Duration::from_millis);
        member.reachable == Some(true) && heard.is_some_and(|heard| heard + VIEW_AGE < elapsed)
    };
    let up: Vec<_> = others.iter().filter(is_up).collect();
    if up.len() < quorum {
        let (up, count) = (up.len(), others.len());
        return Step::Wait(format!(
            "{up} of the {count} other voters answer the leader, and without member {own} {quorum} must"
        ));
    }
    if leader != own {
        let (up, count) = (up.len(), others.len());
        return Step::Done(format!(
            "member {own} may stop: member {leader} leads, and {up} of the {count} other voters answer it"
        ));
    }
    let heir = up.iter().max_by_key(|member| cluster.matched(member));
    heir.map_or_else(|| Step::Wait("nobody can lead".into()), |heir| Step::HandOver(heir.id))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn after(node: u64, leader: Option<u64>, members: &[(u64, &str, Value, u64)]) -> Step {
        let members: Vec<_> = members
            .iter()
            .map(|(id, role, reachable, matched)| {
                json!({"id": id, "role": role, "reachable": reachable, "last_heard_ms": 9, "matched": matched})
            })
            .collect();
        let cluster = json!({"node": node, "leader": leader, "committed": 9, "members": members});
        next(&serde_json::from_value(cluster).unwrap(), Duration::from_secs(9))
    }

    #[test]
    fn who_was_not_heard_since_it_began_may_be_gone() {
        let member = |id: u64, heard: u64| json!({"id": id, "role": "voter", "reachable": true, "last_heard_ms": heard});
        let members = [member(1, 0), member(2, 0), member(3, 400)];
        let cluster = json!({"node": 2, "leader": 1, "committed": 9, "members": members});
        let cluster: Cluster = serde_json::from_value(cluster).unwrap();
        assert!(matches!(next(&cluster, Duration::from_millis(1_800)), Step::Wait(_)));
        assert!(matches!(next(&cluster, Duration::from_millis(2_000)), Step::Done(_)));
    }

    #[test]
    fn a_leader_hands_over_to_whoever_has_most_and_answers() {
        let (yes, no) = (json!(true), json!(false));
        let of = |second: &Value| {
            let (third, fourth) = ((3, "voter", json!(true), 8), (4, "learner", json!(true), 9));
            after(
                1,
                Some(1),
                &[(1, "voter", json!(true), 9), (2, "voter", second.clone(), 9), third, fourth],
            )
        };
        assert_eq!(of(&yes), Step::HandOver(2));
        let Step::Wait(why) = of(&no) else { panic!("there would be no quorum") };
        assert_eq!(why, "1 of the 2 other voters answer the leader, and without member 1 2 must");
        assert!(matches!(of(&Value::Null), Step::Wait(_)), "what is not known is no answer");
    }

    #[test]
    fn a_member_that_does_not_lead_may_stop_where_the_others_are_a_quorum() {
        let voter = |id, up: bool| (id, "voter", json!(up), 9);
        let done = after(2, Some(1), &[voter(1, true), voter(2, true), voter(3, true)]);
        assert!(
            matches!(done, Step::Done(said) if said.starts_with("member 2 may stop: member 1 leads"))
        );
        let waits = after(2, Some(1), &[voter(1, true), voter(2, true), voter(3, false)]);
        assert!(matches!(waits, Step::Wait(_)));
        let all = [voter(1, true), voter(2, true), voter(3, true)];
        assert_eq!(after(2, None, &all), Step::Wait("no leader is known".into()));
        let learner = [voter(1, true), (2, "learner", json!(true), 0)];
        assert!(matches!(after(2, Some(1), &learner), Step::Done(_)));
    }

    #[test]
    fn one_of_two_voters_never_may() {
        let two = [(1, "voter", json!(true), 9), (2, "voter", json!(true), 9)];
        assert!(matches!(after(1, Some(1), &two), Step::Never(_)));
        let members = [(1, "voter", json!(true), 9), (2, "learner", json!(true), 9)];
        assert!(matches!(after(1, Some(1), &members), Step::Never(_)));
        assert!(matches!(after(0, None, &members), Step::Done(_)), "no cluster has it");
        assert!(matches!(after(0, None, &[(0, "voter", json!(true), 0)]), Step::Done(_)));
    }
}
