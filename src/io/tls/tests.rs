use std::{
    io::{self, IoSlice},
    net::TcpListener,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use super::*;
use crate::io::{
    Dialer, cores,
    cores::Executor,
    net::{Callers, Listener, Stream},
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

/// Files of a node whose certificate has `name`, and is of a root that is in `ca.pem` there, which is
/// made where it is not given.
fn node_files(
    directory: &std::path::Path,
    name: &str,
    root: Option<rcgen::CertifiedIssuer<'static, rcgen::KeyPair>>,
) -> (Pair, rcgen::CertifiedIssuer<'static, rcgen::KeyPair>) {
    let root = root.unwrap_or_else(|| {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap();
        std::fs::write(directory.join("ca.pem"), root.pem()).unwrap();
        root
    });
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &root).unwrap();
    let pair = Pair {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}-key.pem")),
    };
    std::fs::write(&pair.certificate, certificate.pem()).unwrap();
    std::fs::write(&pair.key, key.serialize_pem()).unwrap();
    (pair, root)
}

/// Listens, and gives the address and who accepts there.
fn listener() -> (String, Listener) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (address, Listener::new(socket, Callers::Clients).unwrap())
}

/// Runs `test` on an executor, with both ends of a connection under TLS: the one that was connected to
/// first.
fn run<T>(test: impl AsyncFnOnce(Rc<Stream>, Rc<Stream>) -> T) -> T {
    let files = files();
    Executor::new().block_on(async {
        let entrance = Entrance::new(files.pair.clone(), None).unwrap();
        let caller = Caller::new(Some(&files.ca)).unwrap();
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
            let caller = Caller::new(Some(ca)).unwrap();
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

#[test]
fn a_node_takes_up_no_certificate_that_the_others_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, root) = node_files(directory.path(), "127.0.0.1", None);
    let (other, root) = node_files(directory.path(), "elsewhere", Some(root));
    let ca = directory.path().join("ca.pem");
    let node = NodeTls::new(pair.clone(), ca.clone(), None, false).unwrap();
    assert!(node.check_own_name("elsewhere").is_err());
    let node = NodeTls::new(pair.clone(), ca.clone(), None, false).unwrap();
    node.check_own_name("127.0.0.1").unwrap();
    assert_eq!(node.entrance().look(), []);
    std::fs::copy(&other.key, &pair.key).unwrap();
    std::fs::copy(&other.certificate, &pair.certificate).unwrap();
    let told = node.entrance().look();
    assert!(matches!(&*told, [Told::Kept(why)] if why.contains("\"127.0.0.1\"")), "{told:?}");
    // One that has expired.
    let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let expired = parameters.signed_by(&key, &root).unwrap();
    std::fs::write(&pair.certificate, expired.pem()).unwrap();
    std::fs::write(&pair.key, key.serialize_pem()).unwrap();
    let told = node.entrance().look();
    assert!(matches!(&*told, [Told::Kept(why)] if why.contains("has expired")), "{told:?}");
    // One that has the name, of another root.
    let strangers = files();
    std::fs::copy(&strangers.pair.key, &pair.key).unwrap();
    std::fs::copy(&strangers.pair.certificate, &pair.certificate).unwrap();
    let told = node.entrance().look();
    assert!(matches!(&*told, [Told::Kept(why)] if why.contains("UnknownIssuer")), "{told:?}");
    let refused = NodeTls::new(pair, ca, None, false).err().unwrap().to_string();
    assert!(refused.contains("other nodes would not trust it"), "{refused}");
}

#[test]
fn a_node_is_told_from_another_by_the_name_in_its_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, root) = node_files(directory.path(), "127.0.0.1", None);
    let (other, _) = node_files(directory.path(), "elsewhere", Some(root));
    let dialer = |pair: &Pair| {
        let ca = directory.path().join("ca.pem");
        Dialer::new(Some(NodeTls::new(pair.clone(), ca, None, false).unwrap().into()))
    };
    let (accepting, connecting) = (dialer(&pair), dialer(&other));
    Executor::new().block_on(async {
        let (address, listener) = listener();
        let accepted = cores::spawn({
            let accepting = accepting.clone();
            async move {
                let stream = accepting.admit(listener.accept().await).unwrap();
                accepting.come_to_terms(&stream, async || ()).await.unwrap();
                stream
            }
        });
        // It trusts who accepts by the name, and is trusted by the root alone as yet.
        let _connected = connecting.connect(&address, LIMIT).await.unwrap();
        let accepted = accepted.await.unwrap();
        assert!(accepting.may_be_at(&accepted, Some("elsewhere:1")));
        assert!(accepting.may_be_at(&accepted, None));
        assert!(!accepting.may_be_at(&accepted, Some("127.0.0.1:1")), "it is not that node");
    });
}

/// Connects twice by one client; whether the second time resumed the first.
fn resumes(entrance: Entrance, caller: &Caller) -> bool {
    let entrance = Rc::new(entrance);
    Executor::new().block_on(async {
        let (address, listener) = listener();
        let mut resumed = false;
        for _ in 0..2 {
            let socket = std::net::TcpStream::connect(&address).unwrap();
            let accepted = {
                let (stream, entrance) = (listener.accept().await, Rc::clone(&entrance));
                cores::spawn(async move { stream.secured(&entrance, async || ()).await.unwrap() })
            };
            let config = caller.config();
            let (told, tells) = tokio::sync::oneshot::channel();
            let client = std::thread::spawn(move || {
                let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
                let client = rustls::ClientConnection::new(config, name).unwrap();
                let mut stream = rustls::StreamOwned::new(client, socket);
                std::io::Read::read_exact(&mut stream, &mut [0]).unwrap();
                let _ = told.send(stream.conn.handshake_kind());
            });
            let accepted = accepted.await.unwrap();
            write_all(&accepted, b"!", 8).await;
            let kind = tells.await.unwrap();
            client.join().unwrap();
            resumed = kind == Some(rustls::HandshakeKind::Resumed);
        }
        resumed
    })
}

#[test]
fn who_must_show_a_certificate_shows_it_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, _) = node_files(directory.path(), "127.0.0.1", None);
    let ca = directory.path().join("ca.pem");
    let anybody = Entrance::new(pair.clone(), None).unwrap();
    assert!(resumes(anybody, &Caller::new(Some(&ca)).unwrap()));
    let nodes = NodeTls::new(pair.clone(), ca.clone(), None, false).unwrap();
    assert!(!resumes(Entrance::new(pair, Some(ca)).unwrap(), &nodes.caller()));
}

#[test]
fn roots_that_change_are_taken_up() {
    let (files, others) = (files(), super::tests::files());
    let ca = files.ca.clone();
    let caller = Caller::new(Some(&ca)).unwrap();
    let before = caller.config();
    assert_eq!(caller.look(), None);
    std::fs::write(&ca, "nothing").unwrap();
    let told = caller.look();
    assert!(matches!(&told, Some(Told::Kept(why)) if why.contains("PEM")), "{told:?}");
    assert_eq!(caller.look(), None, "it is told once");
    assert!(std::sync::Arc::ptr_eq(&before, &caller.config()));
    std::fs::copy(&others.ca, &ca).unwrap();
    assert_eq!((caller.look(), caller.look()), (Some(Told::Reloaded), None));
    assert!(!std::sync::Arc::ptr_eq(&before, &caller.clone().config()), "clones share it");
}
