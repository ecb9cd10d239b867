use std::{
    io::{self, IoSlice},
    net::TcpListener,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use super::*;
use crate::io::{
    cores,
    net::{Callers, Listener, Stream},
    real::cores::Executor,
};

const LIMIT: Duration = Duration::from_secs(20);

/// Files of a root and of a pair for `127.0.0.1`, which go with the directory.
struct Files {
    _directory: tempfile::TempDir,
    ca: PathBuf,
    pair: Pair,
}

fn files() -> Files {
    let directory = tempfile::tempdir().unwrap();
    let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let name = directory.path().display().to_string();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let cert = parameters.self_signed(&signing_key).unwrap();
    let put = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = put("cert.pem", cert.pem());
    let key = put("key.pem", signing_key.serialize_pem());
    Files { _directory: directory, pair: Pair { certificate: ca.clone(), key }, ca }
}

/// Runs `test` on an executor, with both ends of a connection under TLS: the one that was connected to
/// first.
fn run<T>(test: impl AsyncFnOnce(Rc<Stream>, Rc<Stream>) -> T) -> T {
    let files = files();
    Executor::new().block_on(async {
        let entrance = Entrance::new(files.pair.clone(), None).unwrap();
        let caller = Caller::new(&system_roots([&*files.ca]).unwrap()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let listener = Listener::new(socket, Callers::Clients).unwrap();
        let accepted = cores::spawn(async move {
            let accepted = listener.accept().await;
            accepted.secured(&entrance, async || cores::yield_now().await).await.unwrap()
        });
        let connected = Stream::connect_secured(&address, LIMIT, &caller).await.unwrap();
        let accepted = accepted.await.unwrap();
        let test = test(Rc::new(accepted), Rc::new(connected));
        cores::within(LIMIT, test).await.expect("the test ends in time")
    })
}

fn bytes(count: usize, from: u8) -> Vec<u8> {
    (0..count).map(|at| from.wrapping_add((at / 251) as u8)).collect()
}

async fn write_all(stream: &Stream, all: &[u8], at_once: usize) {
    let mut rest = all;
    while !rest.is_empty() {
        let (first, second) = rest.split_at(rest.len().min(at_once) / 2);
        let second = &second[..second.len().min(at_once)];
        let written = stream.write(&[IoSlice::new(first), IoSlice::new(second)]).await.unwrap();
        assert!(written > 0);
        rest = &rest[written..];
    }
}

#[test]
fn both_ends_write_at_once_more_than_fits_and_read_what_was_written() {
    const COUNT: usize = 3_000_000;
    run(async |one, other| {
        let mut tasks = Vec::new();
        for (stream, from, at_once) in [(&one, 1, 100_000), (&other, 2, 7_001)] {
            let writer = Rc::clone(stream);
            tasks.push(cores::spawn(async move {
                write_all(&writer, &bytes(COUNT, from), at_once).await;
            }));
        }
        for (stream, from) in [(one, 2), (other, 1)] {
            tasks.push(cores::spawn(async move {
                let mut read = Vec::new();
                while read.len() < COUNT {
                    // So that the other end has to wait.
                    cores::sleep(Duration::from_millis(u64::from(read.len() % 64 == 0))).await;
                    assert!(stream.read_onto(&mut read, 50_000).await.unwrap() > 0);
                }
                assert!(read == bytes(COUNT, from), "it comes as it was written");
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn an_end_that_is_meant_is_told_from_one_that_is_not() {
    run(async |one, other| {
        write_all(&one, b"all of it", 100).await;
        one.close_write().unwrap();
        let mut read = Vec::new();
        while other.read_onto(&mut read, 4).await.unwrap() > 0 {}
        assert_eq!(read, b"all of it");
        assert_eq!(other.read(&mut [0]).await.unwrap(), 0, "the end stays what is read");
        // The other direction goes on.
        write_all(&other, b"an answer", 100).await;
        let mut answer = [0; 9];
        one.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"an answer");
        assert!(other.reset_on_drop(true));
        drop(other);
        let cut = one.read(&mut [0]).await.unwrap_err();
        assert!(
            matches!(cut.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset),
            "{cut}"
        );
    });
}

#[test]
fn nothing_is_read_that_has_not_come() {
    run(async |one, other| {
        let nothing = other.try_read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let early = cores::within(Duration::from_millis(50), other.read(&mut [0])).await;
        assert!(early.is_none());
        write_all(&one, b"1", 100).await;
        let mut read = [0; 8];
        assert_eq!(other.read(&mut read).await.unwrap(), 1);
        let nothing = other.try_read(&mut read).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_certificate_must_be_of_a_trusted_root_and_bear_the_name() {
    let (files, strangers) = (super::tests::files(), super::tests::files());
    Executor::new().block_on(async {
        let entrance = Rc::new(Entrance::new(files.pair.clone(), None).unwrap());
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let port = socket.local_addr().unwrap().port();
        let listener = Listener::new(socket, Callers::Clients).unwrap();
        cores::spawn(async move {
            loop {
                let (accepted, entrance) = (listener.accept().await, Rc::clone(&entrance));
                let _ = accepted.secured(&entrance, async || ()).await;
            }
        });
        for (host, ca, want) in [
            ("127.0.0.1", &files.ca, None),
            ("127.0.0.1", &strangers.ca, Some("UnknownIssuer")),
            ("localhost", &files.ca, Some("not valid for name")),
        ] {
            let caller = Caller::new(&system_roots([&**ca]).unwrap()).unwrap();
            let address = format!("{host}:{port}");
            let outcome = Stream::connect_secured(&address, LIMIT, &caller).await;
            match (outcome, want) {
                (Ok(_), None) => {}
                (Err(error), Some(want)) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    assert!(error.to_string().contains(want), "{error}");
                }
                (outcome, want) => panic!("{:?} instead of {want:?}", outcome.err()),
            }
        }
    });
}

#[test]
fn files_are_taken_up_when_they_are_sound() {
    let (files, others) = (files(), super::tests::files());
    let entrance = Entrance::new(files.pair.clone(), None).unwrap();
    assert_eq!(entrance.look(), []);
    let key = std::fs::read(&files.pair.key).unwrap();
    std::fs::copy(&others.pair.key, &files.pair.key).unwrap();
    let told = entrance.look();
    assert!(matches!(&*told, [Told::Kept(why)] if why.contains("not that of")), "{told:?}");
    assert_eq!(entrance.look(), [], "it is told once");
    std::fs::remove_file(&files.pair.key).unwrap();
    let told = entrance.look();
    assert!(matches!(&*told, [Told::Kept(why)] if why.contains("cannot read")), "{told:?}");
    std::fs::write(&files.pair.key, key).unwrap();
    assert_eq!(entrance.look(), [], "it is as it was");
    std::fs::copy(&others.pair.key, &files.pair.key).unwrap();
    std::fs::copy(&others.pair.certificate, &files.pair.certificate).unwrap();
    assert_eq!(entrance.look(), [Told::Reloaded]);
    assert_eq!(entrance.look(), []);
}
