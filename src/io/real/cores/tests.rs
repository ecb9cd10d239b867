//! What holds of a core whatever it runs on.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpListener,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
    time::Instant,
};

use super::*;
use crate::io::real::{core::FileAccess, executor::spawn_apart};

const MS: Duration = Duration::from_millis(1);

/// Runs a test on cores of both kinds.
fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for kind in Kind::ALL {
        println!("on {kind}");
        let ended = Cell::new(false);
        Executor::of(kind).block_on(async {
            test().await;
            ended.set(true);
        });
        assert!(ended.get());
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_sleep_that_is_polled_often_wakes_once() {
    on_both(async || {
        let woken = Arc::new(Woken::default());
        let time = 20 * MS;
        let mut polled = sleep(time);
        for _ in 0..100 {
            let waker = Arc::clone(&woken).into();
            assert!(Pin::new(&mut polled).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        sleep(2 * time).await;
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        polled.await;
    });
}

#[test]
fn sleeps_last_their_time_and_those_that_are_given_up_wake_nobody() {
    on_both(async || {
        let begin = Instant::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30, 10, 20]
            .map(|ms| {
                let order = Rc::clone(&order);
                spawn(async move {
                    sleep(ms * MS).await;
                    assert!(begin.elapsed() >= ms * MS);
                    order.borrow_mut().push(ms);
                })
            })
            .into();
        let woken = Arc::new(Woken::default());
        let mut given_up = sleep(5 * MS);
        let waker = Arc::clone(&woken).into();
        assert!(Pin::new(&mut given_up).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(given_up);
        for task in tasks {
            assert!(task.await.is_some());
        }
        assert_eq!(*order.borrow(), [10, 20, 30]);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn work_off_the_core_wakes_who_waits_each_time() {
    on_both(async || {
        for round in 0..2_000 {
            assert_eq!(off_core(move || round + 1).await, round + 1);
            assert_eq!(on_disk(move || round + 2).await, round + 2);
        }
        assert_eq!(on_own_thread("test", || 7).await.unwrap(), 7);
        let (done, told) = oneshot::channel();
        off_core_detached(move || done.send(1).unwrap());
        assert_eq!(told.await, Ok(1));
    });
}

#[test]
fn cores_wake_each_other() {
    const ROUNDS: usize = 2_000;
    for kind in Kind::ALL {
        let (there, mut come) = tokio::sync::mpsc::channel::<usize>(1);
        let (back, mut returned) = tokio::sync::mpsc::channel::<usize>(1);
        let other = std::thread::spawn(move || {
            Executor::of(kind).block_on(async {
                while let Some(number) = come.recv().await {
                    back.send(number + 1).await.unwrap();
                }
            });
        });
        Executor::of(kind).block_on(async {
            // A task and the main future are woken by different ways.
            let (main, mut of_task) = tokio::sync::mpsc::channel(1);
            spawn(async move {
                for number in 0..ROUNDS {
                    there.send(number).await.unwrap();
                    main.send(returned.recv().await.unwrap()).await.unwrap();
                }
            });
            for number in 0..ROUNDS {
                assert_eq!(of_task.recv().await, Some(number + 1));
            }
        });
        other.join().unwrap();
    }
}

#[test]
fn a_cancelled_task_is_gone_and_one_whose_handle_is_dropped_goes_on() {
    on_both(async || {
        let held = Rc::new(());
        let kept = Rc::clone(&held);
        let task = spawn(async move {
            sleep(Duration::from_secs(3_600)).await;
            drop(kept);
        });
        yield_now().await;
        task.cancel();
        task.cancel();
        assert!(task.await.is_none());
        assert_eq!(Rc::strong_count(&held), 1);

        let early = spawn(async { 1 });
        early.cancel();
        // Whether it has run by then is up to the executor.
        let _ = early.await;

        let done = spawn(async { 2 });
        sleep(2 * MS).await;
        done.cancel();
        let _ = done.await;

        let (told, outcome) = oneshot::channel();
        drop(spawn(async move {
            sleep(2 * MS).await;
            told.send(3).unwrap();
        }));
        assert_eq!(outcome.await, Ok(3));
    });
}

#[test]
fn who_works_for_long_lets_others_run_and_hear_of_sockets_and_time() {
    on_both(async || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let listener =
            crate::io::net::Listener::new(listener, crate::io::net::Callers::Clients).unwrap();
        let is_done = Rc::new(Cell::new(false));
        let (seen, count) = (Rc::clone(&is_done), Rc::new(Cell::new(0_u64)));
        let counted = Rc::clone(&count);
        let busy = spawn(async move {
            while !seen.get() {
                counted.set(counted.get() + 1);
                yield_if_needed().await;
            }
        });
        let caller = std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"ping").unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            answer
        });
        let stream = listener.accept().await;
        let mut read = [0; 4];
        stream.read_exact(&mut read).await.unwrap();
        sleep(2 * MS).await;
        stream.write(&[io::IoSlice::new(&read)]).await.unwrap();
        while !caller.is_finished() {
            yield_now().await;
        }
        assert_eq!(&caller.join().unwrap(), b"ping");
        is_done.set(true);
        busy.await;
        assert!(count.get() > 0);
    });
}

#[test]
fn queues_that_are_apart_take_turns() {
    on_both(async || {
        let turns = Rc::new(RefCell::new(BTreeSet::new()));
        let (done, mut told) = tokio::sync::mpsc::unbounded_channel();
        for name in ["a", "b"] {
            let (turns, done) = (Rc::clone(&turns), done.clone());
            // Each waits until the other has had its turn, and never for anything else.
            spawn_apart(name, async move {
                while turns.borrow().len() < 2 {
                    turns.borrow_mut().insert(name);
                    yield_now().await;
                }
                // What it starts runs in the same queue.
                spawn(async move { done.send(name).unwrap() }).await;
            });
        }
        let ended = [told.recv().await, told.recv().await].map(Option::unwrap);
        assert_eq!(BTreeSet::from(ended), ["a", "b"].into());
    });
}

#[test]
fn what_still_waits_at_the_end_of_an_executor_is_dropped() {
    let executor = Executor::of(Kind::Portable(FileAccess::Threads));
    let held = Rc::new(());
    let (never, told) = oneshot::channel::<()>();
    executor.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener =
            crate::io::net::Listener::new(listener, crate::io::net::Callers::Clients).unwrap();
        let [a, b, c] = [(); 3].map(|()| Rc::clone(&held));
        spawn(async move {
            listener.acceptable().await;
            drop(a);
        });
        spawn(async move {
            sleep(Duration::from_secs(3_600)).await;
            drop(b);
        });
        spawn(async move {
            let _ = told.await;
            drop(c);
        });
        yield_now().await;
        sleep(MS).await;
    });
    assert_eq!(Rc::strong_count(&held), 4);
    drop(executor);
    assert_eq!(
        Rc::strong_count(&held),
        2,
        "nobody here knows the one that waits for another thread"
    );
    // Whoever wakes it finds that it is not run any more.
    drop(never);
    assert_eq!(Rc::strong_count(&held), 2);
}

#[test]
fn the_time_of_day_is_in_microseconds() {
    let year_2025_micros = 1_735_689_600_000_000;
    let year_2200_micros = 7_258_118_400_000_000;
    assert!((year_2025_micros..year_2200_micros).contains(&super::wall_micros()));
}
