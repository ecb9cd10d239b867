//! How often openraft is answered by nodes that cannot be had. It asks again at once after
//! an error that it gets before it has sent a request.

use std::{rc::Rc, time::Duration};

use openraft::{
    RaftNetworkFactory, RaftNetworkV2,
    network::RPCOption,
    raft::{AppendEntriesRequest, StreamAppendError},
};
use uuid::Uuid;

use super::{
    acknowledged::TOLD_MAX,
    feeding::Feeding,
    network::{Network, Peer},
    peer::Instance,
    snapshot::Source,
    types::{Address, TypeConfig, to_raft_id},
};
use crate::{
    base::{
        ids::{ClusterId, LogId},
        timing::{HEARTBEAT, RECONNECT},
    },
    io::{
        Dialer, Disk, cores,
        simulated::{
            disk::{SimDisk, SimFiles},
            executor::run,
        },
    },
    log::Identity,
};

const TIMES: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

fn network(feeding: Rc<Feeding>) -> Network<SimFiles> {
    let own = Identity { cluster: ClusterId(Uuid::from_u128(1)), node: 1 };
    let source = Source {
        files: SimDisk::new(1).files(),
        written: Rc::new(|| 0),
        feeding,
        damaged: Rc::new(|_, _, _| ()),
    };
    Network::new((Instance::start(own), Dialer::default()), SECOND, Rc::new(|_, _| ()), source)
}

/// How long openraft takes that asks node 2 to append, again and again.
async fn asks_again(mut network: Network<SimFiles>) -> Duration {
    let peer = network.new_client(2, &address()).await;
    asks_by(peer).await
}

fn address() -> Address {
    Address { cluster_address: "node-2:7000".to_owned(), ..Address::default() }
}

async fn asks_by(mut peer: Peer<SimFiles>) -> Duration {
    let begun = cores::now();
    for _ in 0..TIMES {
        let none = futures_util::stream::empty::<AppendEntriesRequest<TypeConfig>>();
        let option = RPCOption::new(SECOND);
        drop(RaftNetworkV2::<TypeConfig>::stream_append(&mut peer, none, option).await);
    }
    cores::elapsed(begun)
}

#[test]
fn a_node_that_is_not_there_is_asked_after_pauses() {
    run(1, async { assert!(asks_again(network(Rc::default())).await >= RECONNECT * (TIMES - 1)) });
}

#[test]
fn a_node_that_is_sent_a_snapshot_is_told_of_commits_no_more_often_than_of_its_leader() {
    run(1, async {
        let feeding = Rc::<Feeding>::default();
        let (mut network, fed) = (network(Rc::clone(&feeding)), feeding.feed(2));
        assert!(asks_again(network.clone()).await >= HEARTBEAT * TIMES);
        // That a leader is there it hears as before.
        let beats = network.new_heartbeat_client(2, &address()).await;
        assert!(asks_by(beats).await < HEARTBEAT * TIMES);
        drop(fed);
        assert!(asks_again(network).await < HEARTBEAT * TIMES);
    });
}

#[test]
fn a_node_that_lost_what_it_acknowledged_is_asked_after_pauses() {
    run(1, async {
        let network = network(Rc::default());
        let entry = to_raft_id(LogId { term: 3, index: 6 });
        let acknowledged = network.acknowledged();
        assert!(acknowledged.note(2, 3, &Ok(Ok(Some(entry)))));
        assert!(!acknowledged.note(2, 3, &Ok(Err(StreamAppendError::Conflict(entry)))));
        assert!(asks_again(network).await >= RECONNECT * (TIMES - u32::from(TOLD_MAX)));
    });
}
