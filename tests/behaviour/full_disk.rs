//! A disk that fills up: writes are refused in time, reads go on, and nothing
//! needs a restart once there is room again.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::common::{Client, NodeBuilder, eventually, temporary};

/// An ext4 file system in a file, mounted where only this test sees it: the
/// mount goes away with the process that holds it, which ends with this one.
struct SmallDisk {
    holder: Child,
    directory: crate::common::Temporary,
}

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn new(mib: u64) -> Option<Self> {
        let directory = temporary();
        let image = directory.path().join("image");
        let mount = directory.path().join("mount");
        fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        fs::create_dir(&mount).unwrap();
        let format = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image).output();
        if !format.is_ok_and(|output| output.status.success()) {
            println!("skipped: mkfs.ext4 is not here");
            return None;
        }
        let script = "mount -o loop \"$1\" \"$2\" && echo mounted && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .args([&image, &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim() != "mounted" {
            println!("skipped: mounting is not allowed");
            let _ = holder.wait();
            return None;
        }
        Some(Self { holder, directory })
    }

    fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// The mounted directory, as it is reached from outside.
    fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mount().strip_prefix("/").unwrap())
    }

    fn node(&self) -> NodeBuilder {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        NodeBuilder::bare(&self.directory, &self.mount().join("data"))
            .flags(&["--max-body", "1MiB", "--max-batch", "1000", "--segment-size", "2MiB"])
            .launcher(&["nsenter", &namespace])
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while ballast.write(&vec![0x55; piece]).is_ok_and(|count| count > 0) {}
        }
        let _ = ballast.sync_all();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.outside().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn content(n: usize) -> String {
    format!("\"{n}{}\"", "x".repeat(50_000))
}

/// Writes until the node refuses; the contents that it acknowledged.
fn write_until_refused(client: &mut Client, acknowledged: &mut Vec<String>) {
    loop {
        let content = content(acknowledged.len());
        let answer = client.post(format!("{{\"data\":{content}}}"));
        if answer.status != 201 {
            let problem = answer.problem(503, "storage");
            assert!(problem["detail"].as_str().unwrap().contains("full"), "{problem}");
            return;
        }
        acknowledged.push(content);
        assert!(acknowledged.len() < 1000, "the disk does not fill up");
    }
}

fn check(client: &mut Client, acknowledged: &[String]) {
    let mut since = 0;
    while since < acknowledged.len() {
        let list = client.list(&format!("?since={since}"));
        for change in list["changes"].as_array().unwrap() {
            assert_eq!(change["_id"], since + 1);
            assert_eq!(change["data"].to_string(), acknowledged[since]);
            since += 1;
        }
    }
    assert_eq!(client.list(&format!("?since={since}"))["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room_and_loses_nothing() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let node = disk.node().start();
    let mut client = node.client();
    let mut acknowledged = Vec::new();
    for _ in 0..2 {
        disk.fill();
        write_until_refused(&mut client, &mut acknowledged);
        check(&mut client, &acknowledged);
        assert_eq!(client.get("/health").status, 200);
        client.post(format!("{{\"data\":{}}}", content(0))).problem(503, "storage");
        let mut parked = node.client();
        let since = acknowledged.len();
        parked.send_request("GET", &format!("/changes?since={since}&block=60"), &[], b"");
        disk.free();
        eventually("writes are taken again", || {
            let answer = client.post(r#"{"data":"room"}"#);
            answer.status == 201
        });
        acknowledged.push("\"room\"".into());
        assert_eq!(parked.answer().json()["last"], acknowledged.len());
    }
    check(&mut client, &acknowledged);
    let node = node.kill().start();
    check(&mut node.client(), &acknowledged);
}

#[test]
fn a_node_on_a_full_disk_restarts_and_serves() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let node = disk.node().start();
    let mut client = node.client();
    let mut acknowledged = Vec::new();
    disk.fill();
    write_until_refused(&mut client, &mut acknowledged);
    let node = node.kill().start();
    let mut client = node.client();
    check(&mut client, &acknowledged);
    client.post(format!("{{\"data\":\"{}\"}}", "x".repeat(900_000))).problem(503, "storage");
    disk.free();
    eventually("writes are taken again", || client.post(r#"{"data":"room"}"#).status == 201);
    acknowledged.push("\"room\"".into());
    check(&mut client, &acknowledged);
}

#[test]
fn a_start_without_room_for_a_log_says_so() {
    let Some(disk) = SmallDisk::new(160) else { return };
    disk.fill();
    let failed = disk.node().fails();
    failed.says(&[]);
    assert!(!has_segments(&disk.outside().join("data")));
    disk.free();
    disk.node().start().holds(0);
}

fn has_segments(data: &Path) -> bool {
    data.is_dir() && crate::common::files(data).values().any(|bytes| bytes.starts_with(b"CAGT"))
}
