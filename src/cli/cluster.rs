//! The cluster as the node that answers knows it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    failure::Failure,
    node::{Node, Url},
};

/// What `/cluster` says, as far as the members are concerned.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cluster {
    /// The node that answers.
    pub(super) node: Option<u64>,
    /// Who leads, if that is known.
    pub(super) leader: Option<u64>,
    /// The last entry that the node knows to be committed.
    committed: Option<u64>,
    pub(super) members: Vec<Member>,
}

/// One member.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) address: Option<String>,
    pub(super) cluster_address: Option<String>,
    pub(super) role: Option<String>,
    pub(super) state: Option<String>,
    matched: Option<u64>,
    /// Whether it answers the leader.
    pub(super) reachable: Option<bool>,
    /// Since when it did not.
    pub(super) last_heard_ms: Option<u64>,
}

impl Cluster {
    /// Asks until there is an answer, or all tries are used up.
    pub(super) fn ask(node: &Node) -> Result<Self, Failure> {
        Self::ask_for(node, "/cluster")
    }

    /// The same as the node itself knows it, whatever its leader says.
    pub(super) fn ask_local(node: &Node) -> Result<Self, Failure> {
        Self::ask_for(node, "/cluster?view=local")
    }

    fn ask_for(node: &Node, target: &str) -> Result<Self, Failure> {
        let bytes = node.get_json(target)?;
        serde_json::from_slice(&bytes).map_err(|error| not_one(node.url(), &error))
    }

    /// What an answer says.
    pub(super) fn read(answer: &Map<String, Value>, url: &str) -> Result<Self, Failure> {
        let cluster = serde_json::from_value(Value::Object(answer.clone()));
        cluster.map_err(|error| not_one(url, &error))
    }

    pub(super) fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Whether the leader itself answers.
    fn is_of_the_leader(&self) -> bool {
        self.leader.is_some() && self.leader == self.node
    }

    /// The last entry that a member is known to hold. Only the leader learns that
    /// of the others: 0 from another node says nothing.
    pub(super) fn matched(&self, member: &Member) -> Option<u64> {
        member.matched.filter(|&matched| matched > 0 || self.is_of_the_leader())
    }

    /// How many entries a member lacks of the leader's, or of those that are known
    /// to be committed where another node answers.
    pub(super) fn lag(&self, member: &Member) -> Option<u64> {
        let leader = self.leader.filter(|_| self.is_of_the_leader());
        let last = leader.and_then(|id| self.member(id)?.matched).max(self.committed)?;
        self.matched(member).map(|matched| last.saturating_sub(matched))
    }
}

fn not_one(url: impl std::fmt::Display, error: &serde_json::Error) -> Failure {
    Failure::Other(format!("{url}: not a ChangeAgent: {error}"))
}

impl Member {
    /// Where its clients reach it: they speak TLS to all members, or to none.
    pub(super) fn url(&self, is_secured: bool) -> Option<Url> {
        let scheme = if is_secured { "https" } else { "http" };
        format!("{scheme}://{}", self.address.as_deref()?).parse().ok()
    }
}

/// A cell of a table: what is not known, or empty, is a dash.
pub(super) fn cell<T: ToString>(value: Option<T>) -> String {
    let text = value.map(|value| value.to_string()).filter(|text| !text.is_empty());
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lags(node: u64, leader: Option<u64>, matched: [Option<u64>; 3]) -> Vec<String> {
        let members: Vec<_> =
            (1..).zip(matched).map(|(id, matched)| json!({"id": id, "matched": matched})).collect();
        let cluster = json!({"node": node, "leader": leader, "committed": 10, "members": members});
        let cluster: Cluster = serde_json::from_value(cluster).unwrap();
        cluster.members.iter().map(|member| cell(cluster.lag(member))).collect()
    }

    #[test]
    fn the_leader_knows_how_far_each_member_is() {
        // The leader holds two entries that are not committed yet.
        assert_eq!(lags(1, Some(1), [Some(12), Some(10), Some(0)]), ["0", "2", "12"]);
        assert_eq!(lags(1, Some(1), [Some(8), Some(20), None]), ["2", "0", "-"]);
    }

    #[test]
    fn another_node_knows_it_only_where_it_says_so() {
        assert_eq!(lags(2, Some(1), [Some(0), Some(9), Some(0)]), ["-", "1", "-"]);
        assert_eq!(lags(2, None, [Some(0), Some(0), Some(0)]), ["-", "-", "-"]);
    }
}
