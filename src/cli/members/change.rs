//! A change of the members: asked for once, then watched until it has come about.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::json;
use ureq::http::Method;
use uuid::Uuid;

use super::{
    super::{
        cluster::Cluster,
        failure::{Failure, WriteFailure, tell},
        node::{Node, Write},
        progress::Progress,
    },
    arguments::{ChangeArguments, Role, SILENCE_MAX},
    goal::{Goal, Whom},
};

/// Between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(200);
/// Without a leader for so long there is no election under way, but no quorum.
const LEADERLESS_MAX: Duration = Duration::from_secs(5);

/// What to ask for, and what is to come of it.
pub(super) struct Change {
    method: Method,
    target: String,
    body: Option<String>,
    goal: Goal,
}

impl Change {
    pub(super) fn add(address: &str, role: Role) -> Self {
        Self {
            method: Method::POST,
            target: "/cluster/members".into(),
            body: Some(json!({"address": address, "role": role}).to_string()),
            goal: Goal::Role(Whom::Address(address.to_owned()), role),
        }
    }

    pub(super) fn remove(id: u64) -> Self {
        let target = format!("/cluster/members/{id}");
        Self { method: Method::DELETE, target, body: None, goal: Goal::Gone(id) }
    }

    pub(super) fn promote(id: u64, role: Role) -> Self {
        Self {
            method: Method::PATCH,
            target: format!("/cluster/members/{id}"),
            body: Some(json!({"role": role}).to_string()),
            goal: Goal::Role(Whom::Id(id), role),
        }
    }

    pub(super) fn lead(id: u64) -> Self {
        Self {
            method: Method::POST,
            target: "/cluster/leader".into(),
            body: Some(json!({"id": id}).to_string()),
            goal: Goal::Leads(id),
        }
    }

    pub(super) fn run(mut self, how: &ChangeArguments) -> Result<(), Failure> {
        let deadline = Instant::now().checked_add(how.timeout).filter(|_| !how.no_wait);
        let node = Node::with_patience(&how.node, how.retry.retries, SILENCE_MAX)?.until(deadline);
        let before = Cluster::ask(&node).map_err(Failure::undone)?;
        if before.leader.is_none() {
            await_leader(&node, deadline).map_err(|failure| failure.and("it did not happen"))?;
        }
        let doubt = match self.ask(&node, deadline) {
            Ok(()) => None,
            // Whether it happened is seen in the cluster.
            Err(WriteFailure { failure, doubtful: true }) => Some(failure),
            Err(failed) => return Err(failed.told()),
        };
        let said = match (doubt, how.no_wait) {
            (None, true) => "accepted".to_owned(),
            (Some(failure), true) => {
                let advice = "it may have happened: changeagent members list shows it";
                return Err(Failure::Other(format!("{failure}; {advice}")));
            }
            (doubt, false) => {
                let witnesses = witnesses(&node, &before, &self.goal);
                let waited = self.wait(&witnesses, how.timeout, deadline);
                waited.map_err(|failure| match doubt {
                    None => failure.at(format_args!("{}: accepted", self.request(&node))),
                    Some(doubt) => failure.at(doubt),
                })?
            }
        };
        writeln!(std::io::stdout(), "{said}").map_err(Failure::output)
    }

    /// Method and address.
    fn request(&self, node: &Node) -> String {
        format!("{} {}{}", self.method, node.url(), self.target)
    }

    /// Asks until it is accepted, refused, or all tries are used up.
    fn ask(&mut self, node: &Node, deadline: Option<Instant>) -> Result<(), WriteFailure> {
        /// The number of the member, where the node gives it one at once.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Accepted {
            id: Option<u64>,
        }

        let key = Uuid::new_v4().to_string();
        let body = self.body.as_deref().map(str::as_bytes);
        let (method, target) = (self.method.clone(), self.target.as_str());
        let once = node.witness(node.url().clone());
        let (mut backoff, mut doubtful) = (node.backoff(), false);
        let answer = loop {
            let write = Write { method: method.clone(), target, key: &key, body };
            let failed = match once.write(&write) {
                Ok(answer) => break answer,
                Err(failed) => failed,
            };
            doubtful |= failed.doubtful;
            // Without a quorum it would be tried in vain until all tries are used up.
            let leader = match failed.failure.may_pass() {
                true => await_leader(node, deadline),
                false => Ok(()),
            };
            let waited = leader.and_then(|()| backoff.wait(failed.failure));
            waited.map_err(|failure| WriteFailure { failure, doubtful })?;
        };
        let accepted: Accepted = serde_json::from_slice(&answer).unwrap_or_default();
        // The node may be listed under another address than it was reached at.
        if let (Goal::Role(whom @ Whom::Address(_), _), Some(id)) = (&mut self.goal, accepted.id) {
            *whom = Whom::Id(id);
        }
        Ok(())
    }

    /// Waits until it has come about, and says so.
    fn wait(
        &self,
        witnesses: &[Node],
        timeout: Duration,
        deadline: Option<Instant>,
    ) -> Result<String, Failure> {
        let progress = Progress::of_wait();
        // Since when nobody leads.
        let mut leaderless = None;
        loop {
            let missing = match look(witnesses) {
                Ok(cluster) => match self.goal.look(&cluster) {
                    Ok(said) => return Ok(said),
                    Err(missing) => {
                        check_leader(&cluster, &mut leaderless)
                            .map_err(|failure| failure.at(&missing))?;
                        missing
                    }
                },
                Err(failure) if failure.may_pass() => failure.to_string(),
                Err(failure) => return Err(failure),
            };
            progress.say(missing.clone());
            thread::sleep(PAUSE.min(left_until(deadline)));
            if left_until(deadline).is_zero() {
                let timeout = humantime::format_duration(timeout);
                return Err(Failure::Other(format!("not done after {timeout}: {missing}")));
            }
        }
    }
}

/// Waits while a leader is elected, and says so.
///
/// # Errors
/// There is none: no change can come about.
fn await_leader(node: &Node, deadline: Option<Instant>) -> Result<(), Failure> {
    let once = node.witness(node.url().clone());
    let mut leaderless = None;
    // A node that does not answer says nothing of its cluster.
    while let Ok(cluster) = Cluster::ask(&once) {
        if cluster.leader.is_some() {
            break;
        }
        if leaderless.is_none() {
            let most = LEADERLESS_MAX.min(left_until(deadline)).as_secs_f64();
            tell(&format!("{}: no leader; trying again for {most:.1} s", node.url()));
        }
        check_leader(&cluster, &mut leaderless)?;
        if left_until(deadline).is_zero() {
            return Err(Failure::Other(format!("{}: no leader within --timeout", node.url())));
        }
        thread::sleep(PAUSE.min(left_until(deadline)));
    }
    Ok(())
}

/// How much of the time is left.
fn left_until(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Says that there is no quorum when nobody has led for too long.
fn check_leader(cluster: &Cluster, leaderless: &mut Option<Instant>) -> Result<(), Failure> {
    if cluster.leader.is_some() {
        *leaderless = None;
        return Ok(());
    }
    if leaderless.get_or_insert_with(Instant::now).elapsed() < LEADERLESS_MAX {
        return Ok(());
    }
    let voter = Role::Voter.to_string();
    let voters = cluster.members.iter().filter(|member| member.role.as_ref() == Some(&voter));
    let voters = voters.count();
    Err(Failure::Other(format!(
        "there is no quorum: node {} knows no leader, and a change of the members needs {} of the \
         {voters} voters to run and to reach each other",
        cluster.node.map_or("?".to_owned(), |node| node.to_string()),
        voters / 2 + 1
    )))
}

/// Who is asked what has come about. A node that is taken out may never hear of
/// it, so that the others are asked.
fn witnesses(node: &Node, before: &Cluster, goal: &Goal) -> Vec<Node> {
    let removed = match goal {
        Goal::Gone(id) => before.node.filter(|node| node == id),
        _ => None,
    };
    let others = before.members.iter().filter(|member| Some(member.id) != removed);
    let others: Vec<Node> = match removed {
        Some(_) => {
            let is_secured = node.url().is_secured();
            others.filter_map(|other| Some(node.witness(other.url(is_secured)?))).collect()
        }
        None => Vec::new(),
    };
    if others.is_empty() { vec![node.witness(node.url().clone())] } else { others }
}

/// The cluster as the first of them knows it that answers.
fn look(witnesses: &[Node]) -> Result<Cluster, Failure> {
    let mut failed = Failure::Other("nobody is left to ask".into());
    for node in witnesses {
        match Cluster::ask(node) {
            Ok(cluster) => return Ok(cluster),
            Err(failure) => failed = failure,
        }
    }
    Err(failed)
}
