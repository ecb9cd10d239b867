use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    rc::Rc,
    time::Duration,
};

use rand::{Rng, RngExt};

use super::{Entry, Link, Network};
use crate::io::{
    cores,
    net::{Listener, Stream},
    simulated::executor::{Executor, Process, run, spawn_in},
};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// Who calls, and who is called.
const ONE: Process = 1;
const TWO: Process = 2;

/// Two ends of a connection of these processes.
async fn connected(one: Process, two: Process) -> (Stream, Stream) {
    let address = format!("node-{two}:7001");
    let bound = address.clone();
    let (ready, listens) = tokio::sync::oneshot::channel();
    let accepted = spawn_in(two, async move {
        let listener = Listener::simulated(&bound).unwrap();
        ready.send(()).unwrap();
        listener.accept().await
    });
    listens.await.unwrap();
    let connect = async move { Stream::connect(&address, PATIENCE).await.unwrap() };
    let stream = spawn_in(one, connect).await.unwrap();
    (stream, accepted.await.unwrap())
}

async fn send(stream: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let (one, other) = bytes.split_at(bytes.len() / 2);
        let written = stream.write(&[IoSlice::new(one), IoSlice::new(other)]).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// How a stream ends, whatever comes before that.
async fn end_of(stream: &Stream) -> io::Result<()> {
    let mut bytes = Vec::new();
    while stream.read_onto(&mut bytes, 1 << 16).await? > 0 {}
    Ok(())
}

fn kind<T>(outcome: io::Result<T>) -> Result<T, ErrorKind> {
    outcome.map_err(|error| error.kind())
}

#[test]
fn what_is_sent_arrives_whole_and_in_order_however_it_is_split() {
    for seed in 0..12 {
        let pieces = run(seed, async {
            let (one, two) = connected(ONE, TWO).await;
            let mut sent = vec![0; 300_000];
            cores::rng().fill_bytes(&mut sent);
            let expected = sent.clone();
            drop(spawn_in(ONE, async move { send(&one, &sent).await.unwrap() }));
            let (mut received, mut pieces) = (Vec::new(), 0);
            while two.read_onto(&mut received, 1 << 16).await.unwrap() > 0 {
                pieces += 1;
            }
            assert_eq!(received.len(), expected.len());
            assert!(received == expected);
            pieces
        });
        assert!(pieces > 4, "{pieces}");
    }
}

#[test]
fn whoever_writes_waits_for_whoever_reads() {
    for seed in 0..8 {
        run(seed, async {
            let (one, two) = connected(ONE, TWO).await;
            let sent = Rc::new(Cell::new(0));
            let (count, part) = (Rc::clone(&sent), [7; 10_000]);
            let writer = spawn_in(ONE, async move {
                for _ in 0..1_000 {
                    send(&one, &part).await.unwrap();
                    count.set(count.get() + part.len());
                }
            });
            cores::sleep(5 * SECOND).await;
            assert!(sent.get() <= 4 << 20, "{} bytes went nowhere", sent.get());
            let mut received = Vec::new();
            while two.read_onto(&mut received, 1 << 16).await.unwrap() > 0 {}
            writer.await.unwrap();
            assert_eq!(received.len(), 10_000_000);
        });
    }
}

#[test]
fn whoever_reads_nothing_for_long_loses_the_connection() {
    run(1, async {
        let (one, _two) = connected(ONE, TWO).await;
        let begun = Executor::current().elapsed();
        assert_eq!(kind(send(&one, &vec![7; 20 << 20]).await), Err(ErrorKind::TimedOut));
        let waited = Executor::current().elapsed() - begun;
        assert!((10 * SECOND..12 * SECOND).contains(&waited), "{waited:?}");
    });
}

#[test]
fn of_two_connections_either_may_be_faster() {
    let first_is_first = |seed| {
        run(seed, async {
            let (one, two) = (connected(ONE, TWO).await, connected(ONE, TWO).await);
            let order = Rc::new(RefCell::new(Vec::new()));
            let read = |n, stream: Stream| {
                let order = Rc::clone(&order);
                cores::spawn(async move {
                    stream.read_exact(&mut [0; 3]).await.unwrap();
                    order.borrow_mut().push(n);
                })
            };
            let (first, second) = (read(1, one.1), read(2, two.1));
            send(&one.0, b"abc").await.unwrap();
            send(&two.0, b"abc").await.unwrap();
            first.await.unwrap();
            second.await.unwrap();
            order.take() == [1, 2]
        })
    };
    let first = (0..40).filter(|seed| first_is_first(*seed)).count();
    assert!((5..=35).contains(&first), "{first} of 40");
}

#[test]
fn both_ends_of_a_cut_connection_see_a_reset_and_the_next_one_works() {
    run(1, async {
        let (one, two) = connected(ONE, TWO).await;
        let (other, another) = connected(TWO, 3).await;
        Network::current().cut(TWO, ONE, 100);
        assert_eq!(kind(end_of(&one).await), Err(ErrorKind::ConnectionReset));
        assert_eq!(kind(end_of(&two).await), Err(ErrorKind::ConnectionReset));
        assert_eq!(kind(send(&one, b"x").await), Err(ErrorKind::ConnectionReset));
        send(&other, b"x").await.unwrap();
        another.read_exact(&mut [0]).await.unwrap();
        let (one, two) = connected(ONE, TWO).await;
        send(&two, b"y").await.unwrap();
        one.read_exact(&mut [0]).await.unwrap();
    });
}

#[test]
fn what_is_sent_on_a_blocked_way_is_kept_and_the_other_way_works() {
    for seed in 0..8 {
        run(seed, async {
            let (one, two) = connected(ONE, TWO).await;
            let network = Network::current();
            network.block((ONE, TWO));
            send(&one, b"kept").await.unwrap();
            send(&two, b"answer").await.unwrap();
            one.read_exact(&mut [0; 6]).await.unwrap();
            let mut buffer = [0; 4];
            assert!(cores::within(8 * SECOND, two.read_exact(&mut buffer)).await.is_none());
            network.open((ONE, TWO));
            let begun = cores::now();
            two.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"kept");
            assert!(cores::elapsed(begun) <= 3 * SECOND);
        });
    }
}

#[test]
fn what_is_kept_too_long_breaks_the_connection_and_the_other_end_hears_of_it_later() {
    run(1, async {
        let (one, two) = connected(ONE, TWO).await;
        let network = Network::current();
        network.block((ONE, TWO));
        send(&one, b"lost").await.unwrap();
        let begun = cores::now();
        assert_eq!(kind(end_of(&one).await), Err(ErrorKind::TimedOut));
        assert!((10 * SECOND..11 * SECOND).contains(&cores::elapsed(begun)));
        assert!(cores::within(SECOND, end_of(&two)).await.is_none(), "nobody can tell it");
        network.open((ONE, TWO));
        assert_eq!(kind(end_of(&two).await), Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn idle_connections_end_in_a_partition_and_live_through_a_short_one() {
    run(1, async {
        let (one, two) = connected(ONE, TWO).await;
        let network = Network::current();
        network.partition(&[&[ONE], &[TWO, 3]]);
        cores::sleep(10 * SECOND).await;
        network.heal();
        send(&one, b"x").await.unwrap();
        two.read_exact(&mut [0]).await.unwrap();
        network.partition(&[&[ONE], &[TWO, 3]]);
        assert_eq!(kind(end_of(&one).await), Err(ErrorKind::TimedOut));
        assert_eq!(kind(end_of(&two).await), Err(ErrorKind::TimedOut));
    });
}

#[test]
fn whoever_connects_hears_that_nobody_listens_or_waits_for_an_answer() {
    run(1, async {
        let network = Network::current();
        let connect = || async {
            let begun = cores::now();
            let outcome = Stream::connect("node-2:7001", SECOND).await;
            (kind(outcome.map(drop)), cores::elapsed(begun))
        };
        assert_eq!(connect().await.0, Err(ErrorKind::ConnectionRefused));
        let listener = spawn_in(TWO, async { Listener::simulated("node-2:7001").unwrap() });
        let listener = listener.await.unwrap();
        let taken = Listener::simulated("node-2:7001");
        assert_eq!(kind(taken.map(drop)), Err(ErrorKind::AddrInUse));
        assert_eq!(connect().await.0, Ok(()));
        network.set_entry("node-2:7001", Entry::Refused);
        assert_eq!(connect().await.0, Err(ErrorKind::ConnectionRefused));
        network.set_entry("node-2:7001", Entry::Silent);
        assert_eq!(connect().await, (Err(ErrorKind::TimedOut), SECOND));
        network.set_entry("node-2:7001", Entry::Open);
        for way in [(0, TWO), (TWO, 0)] {
            network.block(way);
            assert_eq!(connect().await, (Err(ErrorKind::TimedOut), SECOND));
            network.heal();
            assert_eq!(connect().await.0, Ok(()));
        }
        drop(listener);
        assert_eq!(connect().await.0, Err(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn a_killed_process_leaves_ended_connections_and_its_address_free() {
    let ends: Vec<_> = (0..20)
        .map(|seed| {
            run(seed, async {
                let (one, two) = connected(ONE, TWO).await;
                send(&two, b"last words").await.unwrap();
                drop(spawn_in(TWO, async move {
                    let _listener = Listener::simulated("node-2:7002").unwrap();
                    let _end = end_of(&two).await;
                    std::future::pending::<()>().await;
                }));
                cores::yield_now().await;
                Executor::current().kill(TWO);
                let ended = cores::within(SECOND, end_of(&one)).await;
                let ended = kind(ended.expect("its other end is told"));
                let again = spawn_in(TWO, async { Listener::simulated("node-2:7002").map(drop) });
                again.await.unwrap().unwrap();
                ended
            })
        })
        .collect();
    assert!(ends.contains(&Ok(())), "some end when all has arrived");
    assert!(ends.contains(&Err(ErrorKind::ConnectionReset)), "others at once");
}

#[test]
fn a_process_without_power_says_nothing_and_knows_of_nothing_afterwards() {
    run(1, async {
        let (one, two) = connected(ONE, TWO).await;
        let (other, another) = connected(ONE, TWO).await;
        let network = Network::current();
        drop(spawn_in(TWO, async move {
            let _both = (two, another);
            std::future::pending::<()>().await;
        }));
        cores::yield_now().await;
        network.switch_off(TWO);
        Executor::current().kill(TWO);
        let begun = cores::now();
        let refused = Stream::connect("node-2:7001", SECOND).await;
        assert_eq!(kind(refused.map(drop)), Err(ErrorKind::TimedOut), "nobody even refuses");
        send(&one, b"x").await.unwrap();
        assert_eq!(kind(end_of(&one).await), Err(ErrorKind::TimedOut));
        assert!((10 * SECOND..13 * SECOND).contains(&cores::elapsed(begun)));
        network.switch_on(TWO);
        send(&other, b"x").await.unwrap();
        let ended = cores::within(3 * SECOND, end_of(&other)).await;
        assert_eq!(ended.map(kind), Some(Err(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_slow_way_takes_its_time() {
    run(1, async {
        let (one, two) = connected(ONE, TWO).await;
        let slow = Link { bytes_per_second: 100_000, ..Link::default() };
        Network::current().set_link((ONE, TWO), slow);
        drop(cores::spawn(async move { send(&one, &[1; 300_000]).await }));
        let begun = cores::now();
        end_of(&two).await.unwrap();
        let took = cores::elapsed(begun);
        assert!((3 * SECOND..4 * SECOND).contains(&took), "{took:?}");
    });
}

#[test]
fn a_closed_end_has_the_other_read_to_the_end_and_then_writes_nothing() {
    run(1, async {
        let (one, two) = connected(ONE, TWO).await;
        send(&one, b"bye").await.unwrap();
        one.close();
        assert_eq!(kind(send(&one, b"x").await), Err(ErrorKind::BrokenPipe));
        assert_eq!(kind(end_of(&one).await), Ok(()));
        assert_eq!(kind(end_of(&two).await), Ok(()));
        send(&two, b"x").await.unwrap();
        cores::sleep(SECOND).await;
        assert_eq!(kind(send(&two, b"x").await), Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let trace = |seed| {
        run(seed, async {
            let mut trace = Vec::new();
            for _ in 0..10 {
                let (one, two) = connected(ONE, TWO).await;
                let bytes = cores::rng().random_range(1..100_000);
                drop(cores::spawn(async move { send(&one, &vec![1; bytes]).await }));
                let mut buffer = Vec::new();
                while two.read_onto(&mut buffer, 1 << 16).await.unwrap() > 0 {
                    trace.push((Executor::current().elapsed(), buffer.len()));
                }
            }
            trace
        })
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}

#[test]
fn whoever_sends_no_more_may_still_be_answered() {
    for seed in 0..12 {
        run(seed, async {
            let (one, two) = connected(ONE, TWO).await;
            send(&one, b"question").await.unwrap();
            one.close_write().unwrap();
            assert_eq!(kind(send(&one, b"more").await), Err(ErrorKind::BrokenPipe));
            let mut question = Vec::new();
            while two.read_onto(&mut question, 1 << 16).await.unwrap() > 0 {}
            assert_eq!(question, b"question");
            let other = spawn_in(TWO, async move { send(&two, b"answer").await.unwrap() });
            let mut answer = [0; 6];
            one.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
            other.await.unwrap();
            assert_eq!(kind(end_of(&one).await), Ok(()));
        });
    }
}

#[test]
fn a_connection_that_is_to_be_reset_does_not_look_complete() {
    for seed in 0..12 {
        run(seed, async {
            let (one, two) = connected(ONE, TWO).await;
            send(&two, b"half of it").await.unwrap();
            assert!(two.reset_on_drop(true));
            drop(two);
            assert_eq!(kind(end_of(&one).await), Err(ErrorKind::ConnectionReset));

            let (one, two) = connected(ONE, TWO).await;
            send(&two, b"all of it").await.unwrap();
            assert!(two.reset_on_drop(true) && two.reset_on_drop(false));
            drop(two);
            assert_eq!(kind(end_of(&one).await), Ok(()));
        });
    }
}

#[test]
fn a_try_waits_for_nothing_and_a_watch_says_when_to_try_again() {
    run(1, async {
        let (one, two) = connected(ONE, TWO).await;
        let mut byte = [0];
        assert_eq!(kind(two.try_read(&mut byte)), Err(ErrorKind::WouldBlock));
        let read = spawn_in(TWO, async move {
            poll_fn(|cx| two.poll_readable(cx)).await;
            assert_eq!(two.try_read(&mut byte).unwrap(), 1);
            two
        });
        send(&one, b"1").await.unwrap();
        let two = read.await.unwrap();
        let much = vec![0; 8 << 20];
        let mut written = 0;
        while let Ok(count) = one.try_write(&[IoSlice::new(&much[written..])]) {
            written += count;
        }
        assert!(written < much.len(), "a buffer has no end");
        let wait = spawn_in(ONE, async move {
            poll_fn(|cx| one.poll_writable(cx)).await;
            one.try_write(&[IoSlice::new(b"more")]).unwrap()
        });
        let mut taken = Vec::new();
        while taken.len() < written / 2 {
            two.read_onto(&mut taken, 1 << 16).await.unwrap();
        }
        assert!(wait.await.unwrap() > 0);
    });
}
