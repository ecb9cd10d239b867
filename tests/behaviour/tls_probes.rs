//! What somebody finds who probes the ports under TLS from outside: clients' and nodes'.

use std::{
    collections::VecDeque,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use testkit::{Client, Node, NodeBuilder, eventually, installed, temporary};

use crate::{
    guesses::client_from,
    tls::client::{Pair, Root, TlsClient},
};

/// Flags of a node that speaks TLS to nodes, too, and asks all for certificates of one root.
fn closed(builder: NodeBuilder, pair: &Pair, root: &Root) -> NodeBuilder {
    let [certificate, key] = [&pair.certificate, &pair.key].map(|path| path.to_str().unwrap());
    let ca = root.file.to_str().unwrap();
    builder
        .flags(&["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", ca])
        .flags(&["--cluster-tls-cert", certificate, "--cluster-tls-key", key])
        .flags(&["--cluster-tls-ca", ca, "--cluster-listen", "127.0.0.1:0"])
}

/// Where other nodes reach a node of its own.
fn cluster_address(node: &Node, pair: &Pair, root: &Root) -> SocketAddr {
    let [ca, certificate, key] =
        [&root.file, &pair.certificate, &pair.key].map(|path| path.to_str().unwrap());
    let words = ["--ca", ca, "--client-cert", certificate, "--client-key", key, "--json"];
    let list = testkit::run(&node.url(), &[&["members", "list"][..], &words].concat()).ok();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list["members"][0]["cluster_address"].as_str().unwrap().parse().unwrap()
}

/// What `openssl s_client` says that is to speak TLS there.
struct Probe {
    openssl: PathBuf,
    root: PathBuf,
}

impl Probe {
    fn says(&self, to: SocketAddr, flags: &[&str], sent: &[u8]) -> String {
        let mut command = Command::new(&self.openssl);
        command.args(["s_client", "-connect", &to.to_string(), "-CAfile"]).arg(&self.root);
        command.args(["-verify_return_error"]).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may have ended before it reads.
        let _ = child.stdin.take().unwrap().write_all(sent);
        let output = child.wait_with_output().unwrap();
        [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat()
    }
}

#[test]
fn both_ports_speak_nothing_old_or_weak_and_let_in_nobody_without_a_certificate() {
    let Some(openssl) = installed("openssl") else { return };
    let directory = temporary();
    let [root, others] = ["ours", "others"].map(|name| Root::new(directory.path(), name));
    let (pair, stranger) = (root.pair("node"), others.pair("stranger"));
    let node = closed(NodeBuilder::new(), &pair, &root).start();
    let ports = [node.address(), cluster_address(&node, &pair, &root)];
    let probe = Probe { openssl, root: root.file.clone() };
    let shown =
        |pair: &Pair| [&pair.certificate, &pair.key].map(|path| path.to_str().unwrap().to_owned());
    let [certificate, key] = shown(&pair);
    let own = ["-cert", &*certificate, "-key", &*key];
    let [certificate, key] = shown(&stranger);
    let wrong = ["-cert", &*certificate, "-key", &*key];
    for port in ports {
        for version in ["-tls1_2", "-tls1_3"] {
            let said = probe.says(port, &[&own[..], &[version]].concat(), b"");
            assert!(said.contains("Verify return code: 0 (ok)"), "{port} {said}");
            assert!(
                !said.contains("Compression: ") || said.contains("Compression: NONE"),
                "{said}"
            );
            for shown in [&[][..], &wrong] {
                let flags = [shown, &[version, "-ign_eof"]].concat();
                let said = probe.says(port, &flags, b"GET /health HTTP/1.0\r\n\r\n");
                let is_refused = said.contains("alert certificate required")
                    || said.contains("alert unknown ca");
                assert!(is_refused && !said.contains("ChangeAgent"), "{port} {flags:?} {said}");
            }
        }
        // The client may speak whatever it has.
        for flags in [
            &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "AES256-GCM-SHA384:AES128-SHA:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "aNULL:eNULL:3DES:RC4:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-CCM8:@SECLEVEL=0"],
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"],
            &["-tls1_2", "-curves", "secp521r1:brainpoolP256r1"],
        ] {
            let said = probe.says(port, &[&own[..], flags].concat(), b"");
            let agreed = said.lines().find(|line| line.starts_with("New, TLS"));
            assert_eq!(agreed, None, "{port} {flags:?} {said}");
            assert!(said.contains("alert") || said.contains("no cipher"), "{flags:?} {said}");
        }
        let said = probe.says(port, &[&own[..], &["-tls1_2"]].concat(), b"R\n");
        assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    }
}

#[test]
fn a_node_whose_certificate_has_expired_is_refused_and_both_sides_say_why() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let pair = root.pair("node");
    let expired = root.pair_with("expired", |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let of = |pair: &Pair| {
        let [certificate, key] = [&pair.certificate, &pair.key].map(|path| path.to_str().unwrap());
        let builder = NodeBuilder::new().flags(&["--cluster-listen", "127.0.0.1:0"]);
        builder.flags(&[
            "--cluster-tls-cert",
            certificate,
            "--cluster-tls-key",
            key,
            "--cluster-tls-ca",
            root.file.to_str().unwrap(),
        ])
    };
    let first = of(&pair).start();
    let second = of(&expired).flags(&["--join", &first.address().to_string()]).start();
    let says = |node: &Node, words: &[&str]| {
        let text = node.stderr();
        text.lines().any(|line| line.contains("WARN") && words.iter().all(|it| line.contains(it)))
    };
    assert!(says(&second, &["the certificate has expired, at 2002-01-01T00:00:00Z"]));
    eventually("the other says why", || {
        says(&first, &["does not become a member", "certificate expired"])
    });
    eventually("it hears why", || says(&second, &["a node was refused", "CertificateExpired"]));
}

/// Ends a thread, also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn who_says_nothing_makes_room_for_who_does() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let node = root.pair("node").node().start();
    rlimit::increase_nofile_limit(4_096).unwrap();
    let (opened, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let address = node.address();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = VecDeque::new();
            while !stop.load(Ordering::SeqCst) {
                silent.push_back(TcpStream::connect(address));
                // More than may be under way.
                if silent.len() > 1_500 {
                    silent.pop_front();
                }
                opened.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _ends = Ends(&stop);
        eventually("all places are taken", || opened.load(Ordering::SeqCst) > 2_000);
        let before = opened.load(Ordering::SeqCst);
        let served = (0..20).filter(|_| {
            let client = TlsClient::try_connect(node.address(), &root.file);
            client.is_ok_and(|mut client| client.request("GET", "/changes", b"").0 == 200)
        });
        let served = served.count();
        let meanwhile = opened.load(Ordering::SeqCst) - before;
        // One may be taken for silent that is late.
        assert!(served >= 15, "{served} of 20 new clients are served while others say nothing");
        assert!(meanwhile > 20, "only {meanwhile} came meanwhile");
    });
}

#[test]
fn ten_thousand_connections_without_a_handshake_hold_up_nobody() {
    const WANTED: u64 = 10_000;
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let node = root.pair("node").node().start();
    // As many as this process may have, and a few for the rest of it.
    let allowed = rlimit::increase_nofile_limit(WANTED + 1_000).unwrap();
    let count = WANTED.min(allowed.saturating_sub(1_000));
    if count < WANTED {
        eprintln!("the limit of open files allows {count} connections instead of {WANTED}");
    }
    let mut client = TlsClient::connect(node.address(), &root.file);
    let mut silent: Vec<Client> = Vec::new();
    for at in 0..count {
        let last = u8::try_from(at % 250 + 1).unwrap();
        silent.push(client_from(last, node.address()));
        if at % 1_000 == 0 {
            let written = client.request("POST", "/changes", br#"{"data":1}"#);
            assert_eq!(written.0, 201, "after {at} connections");
            eventually("a new client finds a place", || {
                TlsClient::try_connect(node.address(), &root.file)
                    .is_ok_and(|mut client| client.request("GET", "/changes/1", b"").0 == 200)
            });
        }
    }
    // No more of them than may be under way take anything of the node.
    eventually("all others are closed", || {
        let text = String::from_utf8(client.request("GET", "/metrics", b"").1).unwrap();
        let metric = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.expect(name).rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        let under_way = metric("changeagent_tls_handshakes");
        assert!(under_way <= 1_024 + 64, "{under_way} are under way");
        let closed = metric("changeagent_limit_refusals_total{limit=\"handshakes\"}")
            + metric("changeagent_tls_failed_handshakes_total");
        closed + 1_100 > count
    });
    drop(silent);
}
