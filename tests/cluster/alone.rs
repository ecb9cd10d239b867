//! A node without any cluster settings keeps what a cluster promises.

use testkit::{cluster::Cluster, workload::Workload};

use crate::{ROUNDS, SOME};

#[test]
fn kills_lose_nothing_and_keys_are_linearizable() {
    let mut cluster = Cluster::alone();
    let workload = Workload::with_keys(&cluster, 3);
    for _ in 0..ROUNDS {
        workload.goes_on(SOME);
        cluster.kill(0);
        cluster.restart(0);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn a_pause_and_a_stop_lose_nothing() {
    let mut cluster = Cluster::alone();
    let workload = Workload::start(&cluster);
    workload.goes_on(SOME);
    cluster.pause(0);
    cluster.resume(0);
    workload.goes_on(SOME);
    cluster.stop(0);
    cluster.restart(0);
    workload.goes_on(SOME);
    workload.ends(&cluster);
}
