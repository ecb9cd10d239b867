//! Keys behave as if there were one copy of each, whatever happens to the nodes.

use crate::{
    ROUNDS, SOME, cluster::Cluster, common::eventually, network::Network, workload::Workload,
};

const KEYS: usize = 3;

#[test]
fn keys_are_linearizable_where_leaders_die() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::with_keys(&cluster, KEYS);
    for _ in 0..ROUNDS {
        workload.goes_on(SOME);
        let leader = cluster.leader();
        cluster.kill(leader);
        workload.goes_on(SOME);
        cluster.restart(leader);
        cluster.catches_up(leader);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn keys_are_linearizable_where_leaders_stand_still() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::with_keys(&cluster, KEYS);
    for _ in 0..ROUNDS {
        workload.goes_on(SOME);
        let leader = cluster.leader();
        cluster.pause(leader);
        workload.goes_on(SOME);
        cluster.resume(leader);
        cluster.catches_up(leader);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn keys_are_linearizable_where_leaders_are_isolated() {
    Network::with(3, |network| {
        let cluster = Cluster::inside(network, 3);
        let workload = Workload::with_keys(&cluster, KEYS);
        for _ in 0..ROUNDS {
            workload.goes_on(SOME);
            let leader = cluster.leader();
            network.isolate(leader);
            eventually("another one leads", || cluster.leader() != leader);
            workload.goes_on(SOME);
            network.heal();
            cluster.catches_up(leader);
        }
        workload.goes_on(SOME);
        workload.ends(&cluster);
    });
}
