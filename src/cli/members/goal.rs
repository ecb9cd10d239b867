//! What a change of the members is to bring about, and how far that is.

use super::{
    super::cluster::{Cluster, Member},
    arguments::Role,
};

/// What is to be seen in the cluster.
#[derive(Debug)]
pub(super) enum Goal {
    /// A member is listed with that role.
    Role(Whom, Role),
    /// That member is listed no longer.
    Gone(u64),
    /// That member leads.
    Leads(u64),
}

/// A member, which may not have its number yet.
#[derive(Debug)]
pub(super) enum Whom {
    Id(u64),
    Address(String),
}

impl Goal {
    /// What has come about, or what is still missing.
    pub(super) fn look(&self, cluster: &Cluster) -> Result<String, String> {
        match self {
            Self::Role(whom, role) => has_role(whom, *role, cluster),
            Self::Gone(id) => match cluster.member(*id) {
                None => Ok(format!("member {id} is out of the cluster")),
                Some(_) => Err(format!("member {id} is still listed")),
            },
            Self::Leads(id) => match cluster.leader {
                Some(leader) if leader == *id => Ok(format!("member {id} leads")),
                Some(leader) => Err(format!("member {leader} still leads")),
                None => Err("no leader is known".to_owned()),
            },
        }
    }
}

fn has_role(whom: &Whom, role: Role, cluster: &Cluster) -> Result<String, String> {
    let member = match whom {
        Whom::Id(id) => cluster.member(*id),
        Whom::Address(address) => {
            cluster.members.iter().find(|member| member.address.as_ref() == Some(address))
        }
    };
    let Some(member) = member else {
        return Err(match whom {
            Whom::Id(id) => format!("member {id} is not listed"),
            Whom::Address(address) => format!("{address} is not listed"),
        });
    };
    let Member { id, address, role: now, .. } = member;
    if now.as_deref() == Some(&role.to_string()) {
        return Ok(format!("member {id} is a {role}: {}", address.as_deref().unwrap_or("-")));
    }
    let now = now.as_deref().unwrap_or("member without a role");
    Err(match cluster.lag(member) {
        Some(1) => format!("member {id} is still a {now}, 1 entry behind"),
        Some(lag) => format!("member {id} is still a {now}, {lag} entries behind"),
        None => format!("member {id} is still a {now}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(node: u64, leader: Option<u64>) -> Cluster {
        let cluster = json!({
            "node": node, "leader": leader, "committed": 9,
            "members": [
                {"id": 1, "address": "h:1", "role": "voter", "matched": 9},
                {"id": 2, "address": "h:2", "role": "learner", "matched": 0},
            ],
        });
        serde_json::from_value(cluster).unwrap()
    }

    #[test]
    fn a_role_is_reached_when_it_is_listed() {
        let is = |whom, role| Goal::Role(whom, role).look(&cluster(1, Some(1)));
        let at = |address: &str| Whom::Address(address.to_owned());
        assert_eq!(is(Whom::Id(1), Role::Voter), Ok("member 1 is a voter: h:1".into()));
        assert_eq!(is(at("h:2"), Role::Learner), Ok("member 2 is a learner: h:2".into()));
        let behind = "member 2 is still a learner, 9 entries behind";
        assert_eq!(is(at("h:2"), Role::Voter), Err(behind.into()));
        assert_eq!(is(at("h:3"), Role::Voter), Err("h:3 is not listed".into()));
        assert_eq!(is(Whom::Id(3), Role::Voter), Err("member 3 is not listed".into()));
        let elsewhere = Goal::Role(Whom::Id(2), Role::Voter).look(&cluster(2, Some(1)));
        assert_eq!(elsewhere, Err("member 2 is still a learner".into()));
    }

    #[test]
    fn a_member_is_gone_when_it_is_not_listed() {
        assert!(Goal::Gone(3).look(&cluster(1, Some(1))).is_ok());
        let listed = Goal::Gone(2).look(&cluster(1, Some(1)));
        assert_eq!(listed, Err("member 2 is still listed".into()));
    }

    #[test]
    fn a_member_leads_when_it_is_named_leader() {
        assert!(Goal::Leads(2).look(&cluster(1, Some(2))).is_ok());
        let other = Goal::Leads(2).look(&cluster(1, Some(1)));
        assert_eq!(other, Err("member 1 still leads".into()));
        assert_eq!(Goal::Leads(2).look(&cluster(1, None)), Err("no leader is known".into()));
    }
}
