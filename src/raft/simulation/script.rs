//! Plays a script: one command a line, its outcome in the lines beneath it,
//! which are indented; `#` begins a comment. What is played gives the script
//! back with the outcomes that came.
//!
//! ```text
//! cluster N…          starts the nodes and makes them a cluster
//! start N             starts a new node that belongs to nothing yet
//! crash N…            kills nodes and cuts their power
//! restart N…          starts them on what was durable
//! cut A-B | A>B       loses messages between two nodes, or one way only
//! isolate N           cuts all links of a node
//! heal                ends all cuts
//! hold A>B            keeps answers to entries on their way, whatever is cut
//! release A>B         has them arrive
//! pause-disk N        nothing becomes durable at a node
//! resume-disk N       until it may again
//! run TIME            lets time pass
//! elect N             has a node campaign until it leads, the others not at all
//! transfer N          asks the leader to hand over to a node
//! propose N TEXT…     proposes changes at a node, all at once
//! read N              asks a node for all changes, with all that is acknowledged
//! add-learner N       asks the leader for a change of the members, as the
//! promote N           following do
//! remove N
//! finish-change       asks it to leave the joint configuration
//! state               each node's role, term and place in its log
//! members             the newest membership in each node's log
//! log N               the entries of a node
//! list                the changes that each node serves
//! outcomes            what became of every proposal
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use openraft::{ChangeMembers, ServerState};

use super::{
    cluster::{Cluster, Outcome, address},
    network::Way,
    node::{Line, Node, written},
};
use crate::{
    base::ids::{LogId, NodeId},
    io::{
        cores,
        simulated::{disk::Loss, executor::run},
    },
};

/// What answers are waited for, and how often is looked.
const ANSWER: Duration = Duration::from_millis(100);
const ELECTION: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// Plays `script` and gives it back with what came of it.
pub(super) fn play(script: &str) -> String {
    run(1, async {
        let mut player = Player::default();
        let mut out = String::new();
        for line in script.lines().filter(|line| !line.starts_with("  ")) {
            out.push_str(line);
            out.push('\n');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let outcome = player.command(line).await;
            let lines = outcome.lines().map(str::trim_end);
            lines.for_each(|line| writeln!(out, "  {line}").unwrap());
        }
        out
    })
}

#[derive(Default)]
struct Player {
    cluster: Cluster,
    /// What was in each node's log after the command before.
    logs: BTreeMap<NodeId, Vec<Line>>,
}

impl Player {
    /// Executes one command; gives back what it tells, and what happened.
    async fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let told = self.execute(words[0], &words[1..]).await;
        let mut out = String::new();
        for (_, text) in self.cluster.record.take() {
            writeln!(out, "{text}").unwrap();
        }
        self.tell_truncated(&mut out).await;
        out + &told
    }

    async fn execute(&mut self, command: &str, words: &[&str]) -> String {
        match (command, words) {
            ("cluster", ids) => self.make(ids).await,
            ("start", [id]) => self.cluster.start(number(id)).await,
            ("crash", ids) => ids.iter().for_each(|id| self.cluster.crash(number(id), Loss::All)),
            ("restart", ids) => {
                for id in ids {
                    self.cluster.start(number(id)).await;
                }
            }
            ("cut", ways) => {
                let ways = ways.iter().flat_map(|way| parse_ways(way));
                ways.for_each(|way| self.cluster.network.cut(way));
            }
            ("isolate", [id]) => self.isolate(number(id)),
            ("heal", []) => self.cluster.network.heal(),
            ("hold", ways) => {
                let ways = ways.iter().flat_map(|way| parse_ways(way));
                ways.for_each(|way| self.cluster.network.hold(way));
            }
            ("release", ways) => {
                let ways = ways.iter().flat_map(|way| parse_ways(way));
                ways.for_each(|way| self.cluster.network.release(way));
            }
            ("pause-disk", [id]) => self.cluster.pause_disk(number(id), true),
            ("resume-disk", [id]) => self.cluster.pause_disk(number(id), false),
            ("run", [time]) => {
                let time = humantime::parse_duration(time).unwrap();
                cores::sleep(time).await;
            }
            ("elect", [id]) => return self.elect(number(id)).await,
            ("transfer", [id]) => return self.transfer(number(id)).await,
            ("propose", [id, texts @ ..]) => return self.propose(number(id), texts).await,
            ("add-learner" | "promote" | "remove" | "finish-change", _) => {
                return self.change_members(command, words).await;
            }
            ("read", [id]) => return self.read(number(id)).await,
            ("state", []) => return self.state(),
            ("members", []) => return self.of_each(|node| written(&node.membership())),
            ("list", []) => return self.of_each(|node| node.changes().join(" ")),
            ("log", [id]) => return self.log(number(id)).await,
            ("outcomes", []) => return self.outcomes(),
            _ => panic!("no such command: {command} {words:?}"),
        }
        String::new()
    }

    async fn make(&mut self, ids: &[&str]) {
        for id in ids {
            self.cluster.start(number(id)).await;
        }
        self.cluster.initialize().await;
        wait(ELECTION, || self.cluster.leader().is_some()).await;
        cores::sleep(ANSWER).await;
        // Only who leads is worth telling.
        let notes = self.cluster.record.take();
        let leads = notes.into_iter().filter(|(_, text)| text.contains("leads"));
        leads.for_each(|(_, text)| self.cluster.record.note(text));
    }

    fn isolate(&self, id: NodeId) {
        for other in self.cluster.ids() {
            self.cluster.network.cut((id, other));
            self.cluster.network.cut((other, id));
        }
    }

    async fn elect(&self, id: NodeId) -> String {
        let may_campaign = |may| {
            self.cluster.running().for_each(|(_, node)| node.raft.runtime_config().elect(may));
        };
        may_campaign(false);
        let node = self.cluster.node(id).expect("it is down");
        let mut waited = Duration::ZERO;
        while !node.leads() && waited < ELECTION {
            node.raft.trigger().elect(true).await.unwrap();
            waited += ANSWER;
            wait(ANSWER, || node.leads()).await;
        }
        // Its first entry reaches those whom it reaches.
        cores::sleep(ANSWER).await;
        may_campaign(true);
        if node.leads() { String::new() } else { format!("{id} does not win") }
    }

    async fn transfer(&self, id: NodeId) -> String {
        if self.cluster.leader().is_none() {
            return "nobody leads".into();
        }
        self.cluster.transfer(id).await;
        wait(10 * ANSWER, || self.cluster.leader().is_some_and(|(leader, _)| leader == id)).await;
        cores::sleep(ANSWER).await;
        String::new()
    }

    async fn propose(&self, id: NodeId, texts: &[&str]) -> String {
        for text in texts {
            self.cluster.propose(id, text).await;
        }
        let pending = || {
            let outcomes = self.cluster.outcomes();
            let is_pending = |text: &&&str| outcomes.get(**text) == Some(&Outcome::Pending);
            texts.iter().filter(is_pending).copied().collect::<Vec<_>>()
        };
        wait(ANSWER, || pending().is_empty()).await;
        pending().iter().map(|text| format!("{text}: pending\n")).collect()
    }

    async fn read(&self, id: NodeId) -> String {
        let what = format!("read {id}");
        self.cluster.read(id, what.clone());
        wait(ANSWER, || !self.cluster.is_open(&what)).await;
        if self.cluster.is_open(&what) { format!("{what}: pending") } else { String::new() }
    }

    async fn change_members(&self, command: &str, words: &[&str]) -> String {
        let what = [&[command], words].concat().join(" ");
        let ids: BTreeSet<NodeId> = words.iter().map(|id| number(id)).collect();
        match command {
            "add-learner" => self.cluster.add_learner(number(words[0])),
            "promote" => {
                let nodes = ids.iter().map(|&id| (id, address(id))).collect();
                self.cluster.change_members(what.clone(), ChangeMembers::AddVoters(nodes));
            }
            "remove" => {
                self.cluster.change_members(what.clone(), ChangeMembers::RemoveVoters(ids));
            }
            _ => self.cluster.finish_change(what.clone()),
        }
        wait(ANSWER, || !self.cluster.is_open(&what)).await;
        if self.cluster.is_open(&what) { format!("{what}: pending") } else { String::new() }
    }

    fn state(&self) -> String {
        let mut out = String::new();
        for id in self.cluster.ids() {
            let Some(node) = self.cluster.node(id) else {
                writeln!(out, "{id} down").unwrap();
                continue;
            };
            let now = node.standing();
            let index = |index: Option<u64>| index.map_or("-".into(), |index| index.to_string());
            let last = now.last.map_or("-".into(), |last| last.to_string());
            let (committed, applied) = (index(now.committed), index(now.applied));
            let role = match (now.state, now.leader) {
                (ServerState::Leader, _) => "leader".into(),
                (ServerState::Candidate, _) => "candidate".into(),
                (ServerState::Follower, Some(leader)) => format!("follower of {leader}"),
                (ServerState::Follower, None) => "follower of nobody".into(),
                (ServerState::Learner, Some(leader)) => format!("learner from {leader}"),
                (ServerState::Learner, None) => "learner from nobody".into(),
                (ServerState::Shutdown, _) => "stopped".into(),
            };
            let term = now.term;
            writeln!(
                out,
                "{id} {role:<18}  term {term}  last {last}  committed {committed}  applied {applied}"
            )
            .unwrap();
        }
        out
    }

    /// What each node says, where several say the same once.
    fn of_each(&self, what: impl Fn(&Node) -> String) -> String {
        let mut said: Vec<(String, String)> = Vec::new();
        for (id, node) in self.cluster.running() {
            let text = what(&node);
            match said.iter_mut().find(|(_, other)| *other == text) {
                Some((ids, _)) => write!(ids, " {id}").unwrap(),
                None => said.push((id.to_string(), text)),
            }
        }
        said.iter().map(|(ids, text)| format!("{ids}: {text}\n")).collect()
    }

    async fn log(&self, id: NodeId) -> String {
        let entries = self.cluster.node(id).expect("it is down").entries().await;
        entries.iter().map(|(id, text)| format!("{id} {text}\n")).collect()
    }

    fn outcomes(&self) -> String {
        let outcomes = self.cluster.outcomes();
        outcomes.iter().map(|(text, outcome)| format!("{text}: {outcome}\n")).collect()
    }

    /// Tells of entries that a running node had and has no more.
    async fn tell_truncated(&mut self, out: &mut String) {
        let mut logs = BTreeMap::new();
        for (id, node) in self.cluster.running() {
            let log = node.entries().await;
            let has = |entry: &LogId| log.iter().any(|(id, _)| id == entry);
            let before = self.logs.get(&id).into_iter().flatten();
            for (entry, text) in before.filter(|(entry, _)| !has(entry)) {
                writeln!(out, "{id} truncated {entry} {text}").unwrap();
            }
            logs.insert(id, log);
        }
        self.logs = logs;
    }
}

/// Lets time pass until `done`, or until `limit` has passed.
async fn wait(limit: Duration, done: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while !done() && waited < limit {
        cores::sleep(LOOK).await;
        waited += LOOK;
    }
}

fn number(word: &str) -> NodeId {
    word.parse().unwrap_or_else(|_| panic!("{word} is not the number of a node"))
}

/// `1-2` or `1>2`.
fn parse_ways(word: &str) -> Vec<Way> {
    if let Some((one, other)) = word.split_once('-') {
        let (one, other) = (number(one), number(other));
        return vec![(one, other), (other, one)];
    }
    let (from, to) = word.split_once('>').unwrap_or_else(|| panic!("{word} is not a link"));
    vec![(number(from), number(to))]
}
