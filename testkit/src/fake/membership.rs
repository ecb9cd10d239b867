//! The members of the cluster that a fake pretends to be part of. What is asked
//! for comes about only after somebody has looked often enough, so that a test
//! decides for how long a command has to wait.

use serde_json::{Value, json};

use super::http::{Answer, problem};

/// A member.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: u64,
    pub voter: bool,
    pub address: String,
    pub matched: u64,
}

/// What has been accepted and has not come about yet.
#[derive(Debug)]
enum Pending {
    List(Member),
    Vote(u64, bool),
    Remove(u64),
    Lead(u64),
}

/// The cluster.
#[derive(Debug)]
pub struct Membership {
    pub leader: Option<u64>,
    pub members: Vec<Member>,
    /// The look at the cluster that the next change comes about with; 0 is at once.
    pub looks: u64,
    /// Whether the answer to a new member names its number.
    pub numbers: bool,
    /// The address that a new member is listed under; the one given, if none.
    pub advertised: Option<String>,
    /// Each change that was asked for: method, target and body.
    pub asked: Vec<String>,
    pending: Vec<Pending>,
    seen: u64,
    /// Those taken out, who do not hear of it.
    removed: Vec<Member>,
}

impl Default for Membership {
    fn default() -> Self {
        let mut one = Self {
            leader: Some(1),
            members: Vec::new(),
            looks: 0,
            numbers: false,
            advertised: None,
            asked: Vec::new(),
            pending: Vec::new(),
            seen: 0,
            removed: Vec::new(),
        };
        one.put(1, true, 9);
        one
    }
}

impl Membership {
    /// Puts a member in place as if it had been there before.
    pub fn put(&mut self, id: u64, voter: bool, matched: u64) {
        self.members.push(Member { id, voter, address: format!("127.0.0.1:{id}"), matched });
    }

    /// What a node says of the cluster.
    pub(super) fn look(&mut self, node: u64) -> Answer {
        self.seen += u64::from(!self.pending.is_empty());
        if self.seen > 0 && self.seen >= self.looks {
            self.seen = 0;
            let next = self.pending.remove(0);
            self.come_about(next);
        }
        let mut known = self.members.clone();
        if !known.iter().any(|member| member.id == node) {
            known.extend(self.removed.iter().cloned());
        }
        let members: Vec<Value> = known.iter().map(|member| self.json(member, node)).collect();
        let (leader, state) = (self.leader, self.state(node));
        let answer = json!({
            "cluster": "c", "node": node, "leader": leader, "term": 3, "state": state, "last": 4,
            "committed": 9, "applied": 9, "members": members,
        });
        (200, "application/json", answer.to_string())
    }

    fn state(&self, id: u64) -> &str {
        let learns = self.members.iter().any(|member| member.id == id && !member.voter);
        match self.leader {
            Some(leader) if leader == id => "leader",
            _ if learns => "learner",
            _ => "follower",
        }
    }

    fn json(&self, member: &Member, node: u64) -> Value {
        let Member { id, voter, address, matched } = member;
        // Only the leader knows how far the others are.
        let matched = if self.leader == Some(node) { *matched } else { 0 };
        json!({
            "id": id, "address": address, "cluster_address": format!("10.0.0.{id}:9001"),
            "role": if *voter { "voter" } else { "learner" }, "state": self.state(*id),
            "matched": matched,
        })
    }

    fn accept(&mut self, change: Pending) {
        if self.looks == 0 { self.come_about(change) } else { self.pending.push(change) }
    }

    fn come_about(&mut self, change: Pending) {
        match change {
            Pending::List(member) => self.members.push(member),
            Pending::Vote(id, voter) => {
                let member = self.members.iter_mut().find(|member| member.id == id);
                member.expect("a member").voter = voter;
            }
            Pending::Remove(id) => {
                self.removed.extend(self.members.extract_if(.., |member| member.id == id));
                if self.leader == Some(id) {
                    self.leader = self.members.first().map(|member| member.id);
                }
            }
            Pending::Lead(id) => self.leader = Some(id),
        }
    }

    /// Takes a change of the members, or refuses it.
    pub(super) fn change(&mut self, method: &str, target: &str, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        self.asked.push(format!("{method} {target} {text}").trim_end().to_owned());
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let named = target.strip_prefix("/cluster/members/").and_then(|id| id.parse().ok());
        let voter = body["role"] == "voter";
        match (method, named) {
            ("POST", None) if target == "/cluster/members" => {
                let id = self.add(body["address"].as_str().expect("an address"), voter);
                let number = if self.numbers { json!({"id": id}) } else { json!({}) };
                return (202, "application/json", number.to_string());
            }
            ("POST", None) if target == "/cluster/leader" => {
                let id = body["id"].as_u64().expect("a number");
                match self.members.iter().find(|member| member.id == id) {
                    Some(member) if member.voter => self.accept(Pending::Lead(id)),
                    _ => return problem(400, "invalid-parameter", ""),
                }
            }
            (_, Some(id)) if !self.members.iter().any(|member| member.id == id) => {
                return problem(404, "not-found", "");
            }
            ("PATCH", Some(id)) => self.accept(Pending::Vote(id, voter)),
            ("DELETE", Some(id)) => self.accept(Pending::Remove(id)),
            other => panic!("{other:?} {target}"),
        }
        (202, "application/json", "{}".into())
    }

    /// A node is first listed as a learner, and gets its vote when it has caught up.
    fn add(&mut self, address: &str, voter: bool) -> u64 {
        let id = 1 + self.members.iter().map(|member| member.id).max().unwrap_or(0);
        let address = self.advertised.clone().unwrap_or_else(|| address.to_owned());
        self.accept(Pending::List(Member { id, voter: false, address, matched: 2 }));
        if voter {
            self.accept(Pending::Vote(id, true));
        }
        id
    }
}
