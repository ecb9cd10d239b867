//! One thing that goes wrong at a time.

use super::*;
use crate::{base::timing::REQUEST_UNDER_WAY, io::simulated::executor::run};

/// Sends appends with these numbers one behind the other, and collects their answers
/// until there is none.
async fn append_all(channel: &Channel, numbers: std::ops::Range<u64>, bytes: usize) -> Vec<u64> {
    if channel.connect().await.is_err() {
        return Vec::new();
    }
    let send = |number| {
        let (request, body) = append(number, bytes);
        channel.send(&request, body).unwrap()
    };
    let pending: Vec<_> = numbers.map(send).collect();
    let mut numbers = Vec::new();
    for answer in pending {
        match answer.await {
            Ok(answer) => numbers.push(answered(answer)),
            Err(_) => break,
        }
    }
    numbers
}

#[test]
fn entries_are_taken_up_and_answered_in_order_however_their_bytes_arrive() {
    for seed in 0..10 {
        run(seed, async {
            let arrived = Arrived::default();
            let (one, two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, 3 * MS));
            let to = one.channel(two.id(), Lane::Entries);
            let appended = async move { append_all(&to, 1..100, 20_000).await };
            let answers = spawn_in(1, appended).await.unwrap();
            assert_eq!(answers, (1..100).collect::<Vec<_>>());
            assert_eq!(arrived.of(1, 2), answers);
        });
    }
}

#[test]
fn of_what_is_unanswered_at_a_cut_a_beginning_has_arrived_and_nothing_twice() {
    let answers: Vec<_> = (0..20)
        .map(|seed| {
            run(seed, async {
                let arrived = Arrived::default();
                let (one, _two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, 3 * MS));
                let channel = one.channel(2, Lane::Entries);
                let to = channel.clone();
                let sent = spawn_in(1, async move { append_all(&to, 1..100, 20_000).await });
                cores::sleep(cores::rng().random_range(Duration::ZERO..150 * MS)).await;
                Network::current().cut(1, 2, 100);
                let answers = sent.await.unwrap();
                let taken_up = arrived.of(1, 2);
                assert_eq!(taken_up, (1..=taken_up.len() as u64).collect::<Vec<_>>());
                assert!(taken_up.starts_with(&answers), "{answers:?} of {taken_up:?}");
                // The next connection has nothing to do with it.
                let again = async move { append_all(&channel, 200..210, 10).await };
                let again = spawn_in(1, again).await.unwrap();
                assert_eq!(again, (200..210).collect::<Vec<_>>());
                answers.len()
            })
        })
        .collect();
    assert!(
        answers.iter().any(|count| (1..99).contains(count)),
        "no cut came amid it: {answers:?}"
    );
}

#[test]
fn a_connection_on_which_nothing_is_answered_is_given_up() {
    for way in [(1, 2), (2, 1)] {
        run(1, async {
            let arrived = Arrived::default();
            let (one, _two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, MS));
            let channel = one.channel(2, Lane::Requests);
            assert_eq!(call(1, &channel, 1, SECOND).await.unwrap(), 1);
            let network = Network::current();
            network.block(way);
            let begun = cores::now();
            let lost = call(1, &channel, 2, 60 * SECOND).await;
            assert!(matches!(lost, Err(CallError::Lost)), "{lost:?}");
            let waited = cores::elapsed(begun);
            assert!((2 * SECOND..4 * SECOND).contains(&waited), "{waited:?}");
            // Nor is there another as long as it is so.
            let not_sent = call(1, &channel, 3, 60 * SECOND).await;
            assert!(matches!(not_sent, Err(CallError::NotSent(_))), "{not_sent:?}");
            network.heal();
            assert_eq!(call(1, &channel, 4, 60 * SECOND).await.unwrap(), 4);
            let twos = arrived.of(1, 2).into_iter().filter(|number| *number == 2).count();
            assert!(twos <= 1 && !arrived.of(1, 2).contains(&3));
        });
    }
}

#[test]
fn a_connection_stands_as_long_as_more_of_a_request_arrives_however_slowly() {
    run(1, async {
        let arrived = Arrived::default();
        let (one, _two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, MS));
        let slow = crate::io::simulated::net::Link {
            bytes_per_second: 20_000,
            ..crate::io::simulated::net::Link::default()
        };
        Network::current().set_link((1, 2), slow);
        let channel = one.channel(2, Lane::Entries);
        let begun = cores::now();
        let to = channel.clone();
        let sent = spawn_in(1, async move { append_all(&to, 1..2, 1_300_000).await });
        assert_eq!(sent.await.unwrap(), [1]);
        assert!(cores::elapsed(begun) > REQUEST_UNDER_WAY, "it was fast");
        // It ends when nothing more of one does.
        let to = channel.clone();
        let sent = spawn_in(1, async move { append_all(&to, 2..3, 1_300_000).await });
        cores::sleep(10 * SECOND).await;
        Network::current().block((1, 2));
        let begun = cores::now();
        assert_eq!(sent.await.unwrap(), Vec::<u64>::new());
        assert!(cores::elapsed(begun) < 5 * SECOND, "{:?}", cores::elapsed(begun));
        assert_eq!(arrived.of(1, 2), [1]);
    });
}

#[test]
fn a_lane_full_of_bytes_does_not_hold_up_another() {
    run(1, async {
        let arrived = Arrived::default();
        let (one, _two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, MS));
        let slow = crate::io::simulated::net::Link {
            bytes_per_second: 1_000_000,
            ..crate::io::simulated::net::Link::default()
        };
        Network::current().set_link((1, 2), slow);
        let entries = one.channel(2, Lane::Entries);
        let bulk = spawn_in(1, async move { append_all(&entries, 1..10, 500_000).await });
        let control = one.channel(2, Lane::Requests);
        for number in 100..120 {
            let begun = cores::now();
            assert_eq!(call(1, &control, number, SECOND).await.unwrap(), number);
            assert!(cores::elapsed(begun) < 20 * MS, "{:?}", cores::elapsed(begun));
        }
        assert_eq!(bulk.await.unwrap().len(), 9);
    });
}

#[test]
fn a_node_that_is_killed_and_started_again_is_reached_again() {
    for seed in 0..10 {
        run(seed, async {
            let arrived = Arrived::default();
            let (one, two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, MS));
            let (there, back) = (one.channel(2, Lane::Requests), two.channel(1, Lane::Requests));
            assert_eq!(call(1, &there, 1, SECOND).await.unwrap(), 1);
            assert_eq!(call(2, &back, 2, SECOND).await.unwrap(), 2);
            Executor::current().kill(2);
            let gone = call(1, &there, 3, SECOND).await;
            assert!(gone.is_err());
            let again = Node::start(2, &arrived, MS);
            assert_eq!(call(1, &there, 4, 2 * SECOND).await.unwrap(), 4);
            // It is another process, and the one at the member's address.
            let back = again.channel(1, Lane::Requests);
            assert_eq!(call(2, &back, 5, 2 * SECOND).await.unwrap(), 5);
            assert!(again.refused.borrow().is_empty());
        });
    }
}

#[test]
fn a_second_process_with_the_number_of_a_member_is_refused_while_that_is_there() {
    run(1, async {
        let arrived = Arrived::default();
        let (one, two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, MS));
        let back = two.channel(1, Lane::Requests);
        assert_eq!(call(2, &back, 1, SECOND).await.unwrap(), 1);
        // On a copy of the directory, elsewhere, reached by nobody.
        let instance = Instance { process: two.instance.process ^ 1, ..two.instance };
        let copy = Node::silent(instance);
        let copied = copy.channel(1, Lane::Requests);
        for number in 10..13 {
            let refused = call(3, &copied, number, SECOND).await;
            assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
        }
        assert_eq!(*copy.refused.borrow(), [Refusal::OtherProcess; 3]);
        assert_eq!(call(2, &back, 2, SECOND).await.unwrap(), 2);
        // When the first has ended the second is the member.
        Executor::current().kill(2);
        cores::sleep(3 * SECOND).await;
        assert_eq!(call(3, &copied, 13, SECOND).await.unwrap(), 13);
        assert_eq!(arrived.of(2, 1), [1, 2, 13]);
        drop(one);
    });
}

#[test]
fn whoever_is_wrong_there_is_refused_and_hears_why() {
    run(1, async {
        let arrived = Arrived::default();
        let one = Node::start(1, &arrived, MS);
        let wrong = |who: Identity, to: NodeId| {
            let node = Node::silent(Instance { who, process: 77, speaks: VERSIONS });
            let channel = node.channel(1, Lane::Requests);
            let channel = match to {
                1 => channel,
                _ => {
                    let other = node.channel(to, Lane::Requests);
                    other.move_to(&address(1));
                    other
                }
            };
            (node, channel)
        };
        let other = ClusterId(Uuid::from_u128(2));
        for (who, to, why) in [
            (Identity { cluster: other, node: 2 }, 1, Refusal::Cluster(identity(1).cluster)),
            (identity(2), 3, Refusal::Node(1)),
            (identity(1), 1, Refusal::SameNode),
            (identity(12), 1, Refusal::Removed),
        ] {
            let (node, channel) = wrong(who, to);
            let refused = call(9, &channel, 1, SECOND).await;
            assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
            assert_eq!(*node.refused.borrow(), [why]);
        }
        assert_eq!(*one.called_as.borrow(), [Identity { cluster: other, node: 1 }]);
        assert!(arrived.0.borrow().is_empty());
        // A stranger of the same cluster may be a member that this node knows nothing of.
        let (_, channel) = wrong(identity(25), 1);
        assert_eq!(call(9, &channel, 1, SECOND).await.unwrap(), 1);
    });
}

#[test]
fn two_programs_speak_the_newest_version_that_both_know() {
    run(1, async {
        let arrived = Arrived::default();
        let old = Versions { oldest: 7, newest: 7 };
        let new = Versions { oldest: 7, newest: 9 };
        let later = Versions { oldest: 8, newest: 10 };
        let nodes: Vec<_> = (1..)
            .zip([old, new, later])
            .map(|(node, speaks)| Node::speaking(node, speaks, &arrived, MS))
            .collect();
        let mut number = 0;
        for (from, to, is_refused) in
            [(0, 1, false), (1, 0, false), (1, 2, false), (2, 1, false), (2, 0, true), (0, 2, true)]
        {
            number += 1;
            let (asking, asked) = (&nodes[from], &nodes[to]);
            let channel = asking.channel(asked.id(), Lane::Requests);
            let answer = call(asking.id(), &channel, number, SECOND).await;
            let told = asking.refused.borrow_mut().drain(..).collect::<Vec<_>>();
            if is_refused {
                let newest = asked.instance.speaks.newest;
                assert_eq!(told, [Refusal::Version(newest)], "{from} asks {to}");
                assert!(matches!(answer, Err(CallError::NotSent(_))), "{answer:?}");
            } else {
                // Nobody hears of what was refused on the way.
                assert_eq!((told, answer.unwrap()), (vec![], number), "{from} asks {to}");
            }
        }
        assert_eq!(arrived.0.borrow().len(), 4);
    });
}

#[test]
fn who_is_removed_while_it_is_connected_hears_so_and_is_not_answered() {
    run(1, async {
        let arrived = Arrived::default();
        let (one, two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, MS));
        let channel = two.channel(1, Lane::Requests);
        assert_eq!(call(2, &channel, 1, SECOND).await.unwrap(), 1);
        one.removed.set(Some(2));
        // The connection ends first; whoever tries again is told why.
        assert!(call(2, &channel, 2, SECOND).await.is_err());
        let again = call(2, &channel, 3, SECOND).await;
        assert!(matches!(again, Err(CallError::NotSent(_))), "{again:?}");
        assert_eq!(*two.refused.borrow(), [Refusal::Removed]);
        assert_eq!(arrived.of(2, 1), [1]);
    });
}

#[test]
fn a_paused_node_costs_its_callers_the_stall_and_no_more() {
    run(1, async {
        let arrived = Arrived::default();
        let (one, _two) = (Node::start(1, &arrived, MS), Node::start(2, &arrived, MS));
        let channel = one.channel(2, Lane::Requests);
        assert_eq!(call(1, &channel, 1, SECOND).await.unwrap(), 1);
        Executor::current().pause(2);
        let begun = cores::now();
        assert!(call(1, &channel, 2, 60 * SECOND).await.is_err());
        assert!(cores::elapsed(begun) < 4 * SECOND, "{:?}", cores::elapsed(begun));
        // Its system takes connections for it, which it does not answer.
        let not_sent = call(1, &channel, 3, 60 * SECOND).await;
        assert!(matches!(not_sent, Err(CallError::NotSent(_))), "{not_sent:?}");
        Executor::current().resume(2);
        assert_eq!(call(1, &channel, 4, 60 * SECOND).await.unwrap(), 4);
        assert!(!arrived.of(1, 2).contains(&3), "what was not sent arrived");
    });
}
