use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    rc::Rc,
    time::Duration,
};

use super::*;
use crate::io::{
    cores::{self, yield_now},
    net::Callers,
    real::{core::Kind, cores::Executor},
};

const LIMIT: Duration = Duration::from_secs(20);

/// Runs `test` on executors of both kinds, against a listener of this machine.
fn run(test: impl AsyncFn(&Listener, &str)) {
    for kind in Kind::ALL {
        Executor::of(kind).block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            let address = socket.local_addr().unwrap().to_string();
            let listener = Listener::new(socket, Callers::Clients).unwrap();
            cores::within(LIMIT, test(&listener, &address)).await.expect("the test ends in time");
        });
    }
}

/// A stream of this core, and the other end of it.
async fn pair(listener: &Listener, address: &str) -> (Stream, TcpStream) {
    let other = TcpStream::connect(address).unwrap();
    (listener.accept().await, other)
}

async fn read_to_end(stream: &Stream) -> Vec<u8> {
    let mut read = Vec::new();
    while stream.read_onto(&mut read, 7).await.unwrap() > 0 {}
    read
}

#[test]
fn bytes_and_the_end_that_came_together_are_both_read() {
    run(async |listener, address| {
        for length in [0, 1, 6, 7, 8, 700] {
            let (stream, mut other) = pair(listener, address).await;
            let sent: Vec<u8> = (0..length).map(|at| at as u8).collect();
            other.write_all(&sent).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&stream).await, sent);
            // The end stays what is read.
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
    });
}

#[test]
fn who_waits_is_woken_by_each_part_that_comes() {
    run(async |listener, address| {
        let (stream, mut other) = pair(listener, address).await;
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        cores::spawn(async move {
            let mut buffer = [0; 64];
            loop {
                let read = stream.read(&mut buffer).await.unwrap();
                sender.send(buffer[..read].to_vec()).unwrap();
                if read == 0 {
                    return;
                }
            }
        });
        for part in ["one", "another", "a last one"] {
            yield_now().await;
            other.write_all(part.as_bytes()).unwrap();
            assert_eq!(told.recv().await.unwrap(), part.as_bytes());
        }
        drop(other);
        assert_eq!(told.recv().await.unwrap(), b"");
    });
}

#[test]
fn a_full_socket_takes_more_once_the_other_end_has_read() {
    run(async |listener, address| {
        let (stream, mut other) = pair(listener, address).await;
        let stream = Rc::new(stream);
        let sent: Vec<u8> = (0..8_000_000u32).map(|at| (at / 251) as u8).collect();
        let length = sent.len();
        let writer = Rc::clone(&stream);
        let whole = sent.clone();
        let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
        let written = cores::spawn(async move {
            let mut rest = &whole[..];
            while !rest.is_empty() {
                match writer.try_write(&[IoSlice::new(rest)]) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                        let _ = waits.send(());
                        let count = writer.write(&[IoSlice::new(rest)]).await.unwrap();
                        rest = &rest[count..];
                    }
                }
            }
        });
        // Nothing is read until the socket is full: a reader that keeps up would never fill it.
        waiting.recv().await.expect("more is sent than fits");
        let reader = cores::on_own_thread("reader", move || {
            let mut read = vec![0; length];
            other.read_exact(&mut read).map(|()| read)
        });
        assert!(reader.await.unwrap().unwrap() == sent, "it comes as it was sent");
        written.await.unwrap();
    });
}

#[test]
fn more_sockets_than_are_reported_at_once_are_all_heard() {
    const SOCKETS: usize = 700;
    run(async |listener, address| {
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut others = Vec::new();
        for at in 0..SOCKETS {
            let (stream, other) = pair(listener, address).await;
            let sender = sender.clone();
            cores::spawn(async move {
                let mut read = [0; 2];
                assert_eq!(stream.read(&mut read).await.unwrap(), 2);
                sender.send((at, u16::from_le_bytes(read))).unwrap();
            });
            others.push(other);
        }
        yield_now().await;
        for (at, other) in others.iter_mut().enumerate() {
            other.write_all(&(at as u16).to_le_bytes()).unwrap();
        }
        let mut heard = vec![false; SOCKETS];
        for _ in 0..SOCKETS {
            let (at, said) = told.recv().await.unwrap();
            assert_eq!(at, usize::from(said));
            assert!(!std::mem::replace(&mut heard[at], true));
        }
    });
}

#[test]
fn a_socket_in_the_place_of_one_that_was_closed_hears_its_own_bytes() {
    run(async |listener, address| {
        let (first, mut to_first) = pair(listener, address).await;
        to_first.write_all(b"unread").unwrap();
        drop(first);
        let (second, mut to_second) = pair(listener, address).await;
        let mut buffer = [0; 16];
        let early = cores::within(Duration::from_millis(50), second.read(&mut buffer)).await;
        assert!(early.is_none(), "nothing was sent there");
        to_second.write_all(b"2").unwrap();
        assert_eq!(second.read(&mut buffer).await.unwrap(), 1);
    });
}

#[test]
fn connecting_tells_whether_anybody_is_there() {
    run(async |listener, address| {
        let connected = Stream::connect(address, LIMIT).await.unwrap();
        let accepted = listener.accept().await;
        assert_eq!(connected.write(&[IoSlice::new(b"hi"), IoSlice::new(b"!")]).await.unwrap(), 3);
        let mut buffer = [0; 16];
        assert_eq!(accepted.read(&mut buffer).await.unwrap(), 3);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = Stream::connect(&nobody.to_string(), LIMIT).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_connection_that_is_reset_is_an_error_for_who_reads() {
    run(async |listener, address| {
        let (stream, other) = pair(listener, address).await;
        socket2::SockRef::from(&other).set_linger(Some(Duration::ZERO)).unwrap();
        drop(other);
        let reset = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    });
}
