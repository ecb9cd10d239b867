//! The cluster as its nodes see it, and what it waits for.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Cluster, SILENCE, page};
use crate::{Client, eventually};

impl Cluster {
    /// The cluster as a node sees it, where it answers.
    pub fn view(&self, number: usize) -> Option<Value> {
        view(self.address(number))
    }

    /// The views of the nodes that run.
    pub(super) fn views(&self) -> Vec<(usize, Value)> {
        let views = self.running().into_iter().map(|number| (number, self.view(number)));
        views.filter_map(|(number, view)| Some((number, view?))).collect()
    }

    /// The node that leads most voters.
    pub fn leader(&self) -> usize {
        let mut leader = None;
        eventually("the cluster has a leader", || {
            leader = self.try_leader();
            leader.is_some()
        });
        leader.expect("a leader")
    }

    pub(super) fn try_leader(&self) -> Option<usize> {
        let views = self.views();
        let leads = |(_, view): &&(usize, Value)| view["state"] == "leader";
        let (number, view) =
            views.iter().filter(leads).max_by_key(|(_, view)| view["term"].as_u64())?;
        let voters: Vec<_> = members(view).filter(|member| member["role"] == "voter").collect();
        let follows = |(_, other): &&(usize, Value)| {
            let votes = voters.iter().any(|voter| voter["id"] == other["node"]);
            votes && other["leader"] == view["node"] && other["term"] == view["term"]
        };
        (views.iter().filter(follows).count() * 2 > voters.len()).then_some(*number)
    }

    /// Waits until every node that runs follows one leader of so many voters and
    /// learners.
    pub fn waits_for(&self, voters: usize, learners: usize) {
        eventually("every node knows the members and one leader", || {
            let Some(leader) = self.try_leader() else { return false };
            let id = self.id(leader);
            let views = self.views();
            views.len() == self.running().len()
                && views.iter().all(|(_, view)| {
                    let count =
                        |role| members(view).filter(|member| member["role"] == role).count();
                    let counts = (count("voter"), count("learner"));
                    counts == (voters, learners) && view["leader"] == id
                })
        });
    }

    /// Waits until a node has what the leader has now.
    pub fn catches_up(&self, number: usize) {
        let goal = self.leaders_view()["last"].as_u64().expect("an id");
        eventually("the node catches up", || {
            let view = self.view(number).unwrap_or_default();
            view["last"].as_u64().is_some_and(|last| last >= goal)
        });
        eventually("the node is ready", || {
            // It may start anew just then, from a snapshot.
            let client = Client::try_connect(self.address(number), SILENCE);
            let ready = client.and_then(|mut it| it.try_request("GET", "/ready", &[], b""));
            ready.is_some_and(|answer| answer.status == 200)
        });
    }

    /// Waits until every node that runs is as far as the others, and checks that
    /// all of them hold the same list byte for byte, with dense ids; the list.
    pub fn agree(&self) -> Vec<String> {
        let mut last = 0;
        eventually("every node is as far as the others", || {
            let views = self.views();
            let mut lasts = views.iter().map(|(_, view)| view["last"].as_u64().expect("an id"));
            let first = lasts.next();
            last = first.unwrap_or_default();
            views.len() == self.running().len()
                && lasts.all(|other| Some(other) == first)
                && self.try_leader().is_some()
        });
        let mut lists = self.running().into_iter().map(|number| (number, self.list(number, last)));
        let (first, list) = lists.next().expect("a node that runs");
        for (number, other) in lists {
            assert_eq!(other.len(), list.len(), "nodes {first} and {number}");
            for (one, other) in list.iter().zip(&other) {
                assert_eq!(one, other, "nodes {first} and {number}");
            }
        }
        list
    }

    /// The list of one node up to `last`, each change as it came.
    pub fn list(&self, number: usize, last: u64) -> Vec<String> {
        let mut client = self.client(number);
        let (mut list, mut since) = (Vec::new(), 0);
        while since < last {
            let target = format!("/changes?since={since}&limit=1000");
            let (changes, end) = page(since, &client.get(&target));
            assert!(end > since, "node {number} ends at {since} before {last}");
            since = end;
            list.extend(changes);
        }
        list.truncate(usize::try_from(last).unwrap());
        list
    }
}

pub(super) fn view(address: SocketAddr) -> Option<Value> {
    let mut client = Client::try_connect(address, SILENCE)?;
    let answer = client.try_request("GET", "/cluster", &[], b"")?;
    (answer.status == 200).then(|| answer.json())
}

pub(super) fn members(view: &Value) -> impl Iterator<Item = &Value> {
    view["members"].as_array().into_iter().flatten()
}

pub(super) fn member(view: &Value, id: u64) -> Option<Value> {
    members(view).find(|member| member["id"] == id).cloned()
}
