//! Clients over TLS: what is spoken, who comes in, and what becomes of those who do not come to terms.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use testkit::{
    Node, NodeBuilder, PATIENCE, Stream, Watched, eventually, installed, run, temporary,
};

pub(crate) mod client;

use client::{Root, TlsClient};

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// What the node logged as a warning.
fn warnings(node: &Node) -> Vec<String> {
    let text = node.stderr();
    text.lines().filter(|line| line.contains("WARN")).map(ToOwned::to_owned).collect()
}

#[test]
fn a_pair_for_a_first_try_serves_every_command() {
    let directory = temporary();
    let out = directory.path().join("tls");
    let made = ["tls", "self-signed", "--out", out.to_str().unwrap()];
    let told = run("", &made).ok();
    assert!(told.contains("localhost, 127.0.0.1, ::1"), "{told}");
    let mode = |name: &str| out.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key.pem"), mode("cert.pem"), mode("ca.pem")), (0o600, 0o644, 0o644));
    let key = std::fs::read(out.join("key.pem")).unwrap();
    run("", &made).fails_saying(&["ca.pem is there already"]);
    assert_eq!(std::fs::read(out.join("key.pem")).unwrap(), key);

    let [ca, certificate, key] =
        ["ca.pem", "cert.pem", "key.pem"].map(|name| out.join(name).display().to_string());
    let node = Node::with(&["--tls-cert", &certificate, "--tls-key", &key]);
    let url = node.url();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let with_ca = |words: &[&str]| {
        let words: Vec<&str> = words.iter().copied().chain(["--ca", &*ca]).collect();
        run(&url, &words).ok()
    };
    assert_eq!(with_ca(&["post", "--data", "1"]), "{\"_id\":1}\n");
    assert!(with_ca(&["tail"]).contains("\"data\":1"));
    assert!(with_ca(&["export"]).contains("\"data\":1"));
    assert!(with_ca(&["status"]).contains("ready      yes"));
    assert!(with_ca(&["members", "list"]).contains("leader, this node"));
    let lines = testkit::file(directory.path(), "lines", "{\"data\":2}\n{\"data\":3}\n");
    with_ca(&["import", lines.to_str().unwrap()]);
    let copy = directory.path().join("copy").display().to_string();
    with_ca(&["backup", "--out", &copy]);
    let restored = directory.path().join("restored").display().to_string();
    run("", &["restore", "--from", &copy, "--data", &restored]).ok();
    assert!(with_ca(&["export"]).lines().count() == 3);

    // Under a name that the certificate has.
    let named = url.replace("127.0.0.1", "localhost");
    run(&named, &["status", "--ca", &ca]).ok();
    // Whom nobody vouches for is sent nothing, and asked once: all tries take half a minute.
    let other = directory.path().join("other");
    run("", &["tls", "self-signed", "--out", other.to_str().unwrap()]).ok();
    let other = other.join("ca.pem").display().to_string();
    let begun = Instant::now();
    for trusted in [&[][..], &["--ca", &other]] {
        let failed = run(&url, &[&["post", "--data", "1"], trusted].concat());
        failed.fails_saying(&[
            "its certificate is not signed by a root that is trusted: give --ca FILE",
        ]);
        assert!(!failed.stderr.contains("it may have happened"), "{failed:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn nothing_but_tls_1_2_and_1_3_with_strong_suites_is_spoken() {
    let Some(openssl) = installed("openssl") else { return };
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let node = root.pair("node").node().start();
    // What is agreed on, as protocol and suite; nothing where it is refused.
    let agreed = |flags: &[&str]| {
        let mut command = Command::new(&openssl);
        command.args(["s_client", "-connect", &node.address().to_string(), "-CAfile"]);
        command.arg(&root.file).args(["-verify_return_error", "-ign_eof"]).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let request = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";
        // It may have ended before it reads.
        let _ = child.stdin.take().unwrap().write_all(request);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("New, ")).unwrap_or_default();
        let is_served = text.contains("ChangeAgent-Last: ");
        assert_eq!(is_served, output.status.success(), "{flags:?} {text}");
        is_served.then(|| line.trim_start_matches("New, ").to_owned())
    };
    let usual = agreed(&[]).expect("what is usual is spoken");
    assert!(usual.starts_with("TLSv1.3, Cipher is TLS_AES"), "{usual}");
    let older = agreed(&["-tls1_2"]).expect("TLS 1.2 is spoken");
    assert!(older.starts_with("TLSv1.2, Cipher is ECDHE-ECDSA-"), "{older}");
    for suite in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"] {
        let with = agreed(&["-tls1_2", "-cipher", suite]).expect(suite);
        assert!(with.ends_with(suite), "{with}");
    }
    // The client is told to speak what it may, however weak.
    let weak = "@SECLEVEL=0";
    for flags in [
        &["-tls1", "-cipher", &format!("ALL:{weak}")][..],
        &["-tls1_1", "-cipher", &format!("ALL:{weak}")],
        &[
            "-tls1_2",
            "-cipher",
            &format!("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:{weak}"),
        ],
        &["-tls1_2", "-cipher", &format!("AES128-GCM-SHA256:AES128-SHA:{weak}")],
        &["-tls1_2", "-cipher", &format!("aNULL:eNULL:{weak}")],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
    ] {
        assert_eq!(agreed(flags), None, "{flags:?}");
    }
}

#[test]
fn who_has_no_certificate_of_the_right_root_is_kept_out() {
    let directory = temporary();
    let [ours, others] = ["ours", "others"].map(|name| Root::new(directory.path(), name));
    let (node, client, stranger) =
        (ours.pair("node"), ours.pair("client"), others.pair("stranger"));
    let ca = ours.file.to_str().unwrap();
    let node = node.node().flags(&["--tls-client-ca", ca]).start();
    let post = |shown: &[&str]| {
        let words = [&["post", "--data", "1", "--retries", "0", "--ca", ca], shown].concat();
        run(&node.url(), &words)
    };
    let show = |pair: &client::Pair| {
        let [certificate, key] =
            [&pair.certificate, &pair.key].map(|path| path.display().to_string());
        ["--client-cert".to_owned(), certificate, "--client-key".to_owned(), key]
    };
    let shown = show(&client);
    assert_eq!(post(&shown.each_ref().map(|word| &**word)).ok(), "{\"_id\":1}\n");
    // It is told as often as the connection is not closed before.
    let with_tries = ["--retries", "10"];
    let words = [&["tail", "-n", "1", "--ca", ca], &with_tries[..]].concat();
    run(&node.url(), &words)
        .fails_saying(&["the node asks for a certificate: give --client-cert and --client-key"]);
    assert_eq!(post(&[]).code, Some(1));
    let shown = show(&stranger);
    assert_eq!(post(&shown.each_ref().map(|word| &**word)).code, Some(1));
    // What does not fit is found before anything is sent.
    let certificate = client.certificate.to_str().unwrap();
    let key = stranger.key.to_str().unwrap();
    post(&["--client-cert", certificate, "--client-key", key])
        .fails_saying(&["client-cert.pem", "the key is not that of the certificate"]);
    let shown = show(&client);
    assert_eq!(post(&shown.each_ref().map(|word| &**word)).ok(), "{\"_id\":2}\n");
}

#[test]
fn a_client_that_speaks_plain_http_is_told() {
    let directory = temporary();
    let node = Root::new(directory.path(), "root").pair("node").node().start();
    for cookie_bytes in [0, 8 << 10, 200 << 10] {
        let mut client = TcpStream::connect(node.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let cookie = "x".repeat(cookie_bytes);
        let head = format!("GET /changes HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
        client.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(json(body.as_bytes())["code"], "bad-request");
        assert!(body.contains("https://"), "{body}");
    }
    let told = warnings(&node);
    assert_eq!(told.len(), 1, "it is told once in a while: {told:?}");
    assert!(told[0].contains("plain HTTP"), "{told:?}");
}

#[test]
fn bytes_come_through_as_they_are_however_many_and_slow() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let node = root.pair("node").node().start();
    let mut client = TlsClient::connect(node.address(), &root.file);
    // Of no period that a record or a buffer could have.
    let text: String = (0..900_001u32).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    for id in 1..=12 {
        let (status, body) =
            client.request("POST", "/changes", format!("{{\"data\":\"{text}\"}}").as_bytes());
        assert_eq!((status, &*body), (201, format!("{{\"_id\":{id}}}").as_bytes()));
    }
    let (status, page) = client.request("GET", "/changes", b"");
    let page = json(&page);
    assert_eq!(status, 200);
    let changes = page["changes"].as_array().unwrap();
    assert!(changes.len() > 5 && changes.iter().all(|change| change["data"] == *text));
    // One that reads only after the node has filled all there is between them.
    client.send(b"GET /changes HTTP/1.1\r\nHost: localhost\r\n\r\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(json(&client.answer().1), page);
    // Many small ones at once.
    client.send(&b"GET /changes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3));
    for _ in 0..3 {
        assert_eq!(json(&client.answer().1)["data"], *text);
    }
}

#[test]
fn files_that_change_are_taken_up_and_broken_ones_are_not() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let [pair, next] = ["node", "next"].map(|name| root.pair(name));
    let node = pair.node().start();
    let ca = root.file.display().to_string();
    let follower = Watched::start(&node.url(), &["tail", "-f", "--ca", &ca]);
    let post = |data: &str| run(&node.url(), &["post", "--data", data, "--ca", &ca]).ok();
    post("1");
    assert!(follower.line().contains("\"data\":1"));
    let mut kept = TlsClient::connect(node.address(), &root.file);
    let shown = kept.shown();

    std::fs::write(&pair.key, "no key").unwrap();
    eventually("that it cannot be used is told", || {
        warnings(&node)
            .iter()
            .any(|line| line.contains("no private key") && line.contains("stay in use"))
    });
    assert_eq!(TlsClient::connect(node.address(), &root.file).shown(), shown);

    pair.become_like(&next);
    eventually("the new one is shown", || {
        TlsClient::connect(node.address(), &root.file).shown() != shown
    });
    post("2");
    assert!(follower.line().contains("\"data\":2"), "who follows goes on");
    assert_eq!(kept.request("GET", "/changes/2", b"").0, 200, "so do connections");
    assert!(node.stderr().contains("taken up anew"), "{}", node.stderr());
}

#[test]
fn what_is_wrong_with_the_time_of_a_certificate_is_told() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    for (name, from, until, want) in [
        ("past", 2001, 2002, "the certificate has expired, at 2002-01-01T00:00:00Z"),
        ("future", 2301, 2302, "the certificate is not valid yet, only from 2301-01-01T00:00:00Z"),
    ] {
        let pair = root.pair_with(name, |parameters| {
            parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        });
        let node = pair.node().start();
        assert!(warnings(&node).iter().any(|line| line.contains(want)), "{}", node.stderr());
        let refused = TlsClient::try_connect(node.address(), &root.file).err().unwrap().to_string();
        assert!(refused.contains("certificate"), "{refused}");
    }
}

#[test]
fn files_that_are_of_no_use_are_named_and_nothing_is_begun() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let [pair, other] = ["node", "other"].map(|name| root.pair(name));
    let [certificate, key] = [&pair.certificate, &pair.key].map(|path| path.to_str().unwrap());
    let nothing = directory.path().join("nothing.pem").display().to_string();
    let refused = |flags: &[&str], want: &[&str]| {
        let node = NodeBuilder::new().flags(flags).launch();
        let (data, stderr) = (node.data(), node.stderr.clone());
        let (status, _builder) = node.ends_within(PATIENCE);
        let said = std::fs::read_to_string(stderr).unwrap();
        assert_eq!((status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(want.iter().all(|word| said.contains(word)), "{said}");
        assert!(!data.exists());
    };
    refused(&["--tls-cert", &nothing, "--tls-key", key], &["nothing.pem", "No such file"]);
    let other = other.key.to_str().unwrap();
    refused(
        &["--tls-cert", certificate, "--tls-key", other],
        &["the key is not that of the certificate"],
    );
    refused(&["--tls-cert", key, "--tls-key", key], &["node-key.pem", "no certificate in it"]);
    refused(&["--tls-cert", certificate, "--tls-key", certificate], &["no private key in it"]);
    refused(&["--tls-cert", certificate], &["tls-cert and tls-key need each other"]);
    refused(&["--tls-client-ca", certificate], &["tls-client-ca needs tls-cert and tls-key"]);
    let [pair_flags, ca] = [pair.flags().to_vec(), vec!["--tls-client-ca", key]];
    refused(&[pair_flags, ca].concat(), &["no certificate in it"]);
}

/// A number that the metrics tell.
fn metric(client: &mut TlsClient, name: &str) -> u64 {
    let text = String::from_utf8(client.request("GET", "/metrics", b"").1).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).expect(name);
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn who_never_comes_to_terms_holds_nobody_up() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let node = root.pair("node").node().start();
    let mut client = TlsClient::connect(node.address(), &root.file);
    assert_eq!(client.request("POST", "/changes", br#"{"data":1}"#).0, 201);
    let connect = || TcpStream::connect(node.address()).unwrap();

    // Each needs a descriptor here, too.
    rlimit::increase_nofile_limit(4_096).unwrap();
    // More than may be under way, of which none says anything.
    let silent: Vec<_> = (0..1_100).map(|_| connect()).collect();
    eventually("they are let in up to the limit", || {
        metric(&mut client, "changeagent_tls_handshakes ") >= 1_000
    });
    // A beginning, and then nothing; and what claims to be larger than anything may be.
    let mut begun = connect();
    begun.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).unwrap();
    let mut huge = connect();
    huge.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]).unwrap();
    let flood = [0x16; 1 << 16];
    let _ = huge.write_all(&flood);
    let mut garbage = connect();
    garbage.write_all(&[0x16, 3, 3, 0, 4, 9, 9, 9, 9]).unwrap();
    // Those before and those after are served.
    assert_eq!(client.request("POST", "/changes", br#"{"data":2}"#).0, 201);
    eventually("a new client finds a place", || {
        TlsClient::try_connect(node.address(), &root.file)
            .is_ok_and(|mut client| client.request("POST", "/changes", br#"{"data":3}"#).0 == 201)
    });
    // What is nonsense is closed at once; what is silent, in time.
    for mut stream in [huge, garbage] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let reset = ended.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(ended.is_ok() || reset, "{ended:?}");
    }
    for mut stream in silent.into_iter().chain([begun]) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "nothing is said to the silent");
    }
    assert_eq!(metric(&mut client, "changeagent_tls_handshakes "), 0);
    assert!(metric(&mut client, "changeagent_tls_failed_handshakes_total ") >= 1_000);
    assert_eq!(client.request("GET", "/changes/2", b"").0, 200);
}

#[test]
fn a_node_stops_while_handshakes_are_under_way() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let node = root.pair("node").node().start();
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(node.address()).unwrap()).collect();
    let mut client = TlsClient::connect(node.address(), &root.file);
    eventually("all are let in", || metric(&mut client, "changeagent_tls_handshakes ") == 20);
    // One that waits hears what there is at the stop.
    client.send(b"GET /changes?block=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut watcher = TlsClient::connect(node.address(), &root.file);
    eventually("it waits", || metric(&mut watcher, "changeagent_parked ") == 1);
    let node = node.stop();
    assert_eq!(client.answer().0, 200);
    assert_eq!(client.read(&mut [0]), 0, "the end is meant");
    drop((silent, node));
}

#[test]
fn a_cache_follows_its_origin_and_hands_on_to_it() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let origin = root.pair("node").node().start();
    let ca = root.file.display().to_string();
    run(&origin.url(), &["post", "--data", "1", "--ca", &ca]).ok();
    let cache =
        |ca: &str| NodeBuilder::new().command("cache").flags(&["--of", &origin.url(), "--ca", ca]);
    let of = cache(&ca).start();
    let mut client = of.client();
    eventually("it has what its origin has", || {
        client.get("/changes").text().contains("\"data\":1")
    });
    assert_eq!(client.append(r#"{"data":2}"#), 2);
    eventually("it follows", || client.get("/changes").text().contains("\"data\":2"));

    // So it passes on what it does not hold.
    client.tenant("one");
    let two = client.tenant("two");
    let part = cache(&ca).flags(&["--tenant", "one"]).start();
    eventually("it has caught up", || part.client().get("/ready").status == 200);
    let path = format!("/tenants/{two}/changes");
    let mut events = Stream::open(part.client(), &path, "text/event-stream");
    for n in 0..3 {
        let id = client.append(format!("{{\"tenant\":\"two\",\"data\":{n}}}"));
        assert_eq!(events.event().unwrap().id, id);
    }
    let large = "k".repeat(300_000);
    client.append(format!("{{\"tenant\":\"two\",\"data\":\"{large}\"}}"));
    let lines = Stream::open(part.client(), &path, "application/x-ndjson").changes();
    assert!(lines.len() == 4 && lines[3].contains(&large), "{} lines", lines.len());

    // Where another answers, nothing is taken from there.
    let other = Root::new(directory.path(), "other").file.display().to_string();
    let stranger = cache(&other).launch();
    eventually("it says why", || stranger.stderr().contains("UnknownIssuer"));
}

#[test]
fn nodes_whose_clients_speak_tls_find_each_other_over_it() {
    let directory = temporary();
    let root = Root::new(directory.path(), "root");
    let pair = root.pair("node");
    let ca = root.file.display().to_string();
    let node = || {
        let builder = pair.node().flags(&["--cluster-listen", "127.0.0.1:0", "--ca", &ca]);
        builder.flags(&["--tls-client-ca", &ca])
    };
    let first = node().start();
    let second = node().flags(&["--join", &first.address().to_string()]).start();
    let (certificate, key) =
        (pair.certificate.display().to_string(), pair.key.display().to_string());
    let show = ["--ca", &ca, "--client-cert", &certificate, "--client-key", &key];
    eventually("both are voters", || {
        let list = run(&second.url(), &[&["members", "list"][..], &show].concat());
        list.stdout.matches("voter").count() == 2
    });
    // One whose clients speak plainly is told what it lacks.
    let plain = ["--cluster-listen", "127.0.0.1:0", "--join", &first.address().to_string()];
    let plain = NodeBuilder::new().flags(&plain).launch();
    let advice = "start this node with --tls-cert and --tls-key, then it asks by https";
    eventually("it says so", || plain.stderr().contains(advice));
}
