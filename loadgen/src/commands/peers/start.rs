//! How each peer is started, and with which settings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::process::{Process, Scratch, free_address, installed, listens, version};
use crate::answers::json;
use crate::args::{PeerName, PeersArguments};
use crate::http::control::Control;
use crate::http::target::{Access, Target};

/// How long a question to a peer that is starting may take.
const QUESTION_TIME: Duration = Duration::from_secs(2);
/// The bytes of an answer of 100 changes, which nginx has as a file.
const PAGE_BYTES: usize = 29_000;
/// The file that nginx hands out.
pub(super) const PAGE: &str = "/page";

/// A peer that runs.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: PeerName,
    pub(super) label: String,
    pub(super) version: String,
    /// What it promises of a write that it has answered.
    pub(super) durability: &'static str,
    /// The node that is asked: the leader of several.
    pub(super) target: Target,
    _processes: Vec<Process>,
}

/// What a peer is called.
pub(super) fn label(name: PeerName) -> &'static str {
    match name {
        PeerName::Changeagent => "ChangeAgent",
        PeerName::Redis => "Redis streams",
        PeerName::Etcd => "etcd",
        PeerName::Nginx => "nginx",
    }
}

/// The program of a peer, if it is there.
pub(super) fn program(name: PeerName, arguments: &PeersArguments) -> Option<PathBuf> {
    match (name, &arguments.program) {
        (PeerName::Changeagent, Some(program)) => program.canonicalize().ok(),
        (PeerName::Changeagent, None) => {
            let beside = std::env::current_exe().ok()?.with_file_name("changeagent");
            if beside.is_file() { Some(beside) } else { installed("changeagent") }
        }
        (PeerName::Redis, _) => installed("redis-server"),
        (PeerName::Etcd, _) => installed("etcd"),
        (PeerName::Nginx, _) => installed("nginx"),
    }
}

/// Starts so many nodes of a peer, each in a directory of its own.
pub(super) fn start(
    name: PeerName,
    program: &Path,
    nodes: usize,
    scratch: &Scratch,
) -> Result<Peer> {
    let directory = scratch.path().join(format!("{}-{nodes}", label(name).replace(' ', "-")));
    let (processes, address) = match name {
        PeerName::Changeagent => changeagent(program, nodes, &directory)?,
        PeerName::Redis => redis(program, &directory)?,
        PeerName::Etcd => etcd(program, nodes, &directory)?,
        PeerName::Nginx => nginx(program, &directory)?,
    };
    let flag = if name == PeerName::Nginx { "-v" } else { "--version" };
    let count = if nodes > 1 { format!(", {nodes} nodes") } else { String::new() };
    Ok(Peer {
        name,
        label: format!("{}{count}", label(name)),
        version: version(program, flag),
        durability: match name {
            PeerName::Changeagent => {
                "default: answered when it is on the disk, of a majority where there are several nodes"
            }
            PeerName::Redis => "`appendonly yes`, `appendfsync always`, no snapshots",
            PeerName::Etcd => {
                "default: `fsync` before the answer, of a majority where there are several nodes; asked through its JSON gateway"
            }
            PeerName::Nginx => "none: it answers `204` and forgets; reads are of a file of 29 KB",
        },
        target: target(address)?,
        _processes: processes,
    })
}

fn target(address: SocketAddr) -> Result<Target> {
    Target::resolve(&format!("http://{address}"), &Access::default())
}

/// Whether a GET succeeds.
fn answers(address: SocketAddr, path: &str) -> bool {
    let control = target(address).map(|target| Control::new(&target, QUESTION_TIME));
    control.is_ok_and(|mut control| control.get(path).is_ok())
}

/// The first node leads: the others join it.
fn changeagent(
    program: &Path,
    nodes: usize,
    directory: &Path,
) -> Result<(Vec<Process>, SocketAddr)> {
    let (mut processes, mut first) = (Vec::new(), None);
    for node in 0..nodes {
        let address = free_address()?;
        let directory = directory.join(node.to_string());
        let mut command = Command::new(program);
        command.arg("--data").arg(directory.join("data")).args(["--listen", &address.to_string()]);
        if nodes > 1 {
            command.args(["--cluster-listen", &free_address()?.to_string()]);
        }
        let leader: &mut SocketAddr = first.get_or_insert(address);
        match node {
            0 if nodes > 1 => {
                command.arg("--found");
            }
            0 => {}
            _ => {
                command.args(["--join", &leader.to_string()]);
            }
        }
        let mut process = Process::start(command, &directory)?;
        process.await_ready(|| answers(address, "/ready"))?;
        processes.push(process);
    }
    Ok((processes, first.context("no node")?))
}

fn redis(program: &Path, directory: &Path) -> Result<(Vec<Process>, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(directory);
    let mut process = Process::start(command, directory)?;
    process.await_ready(|| listens(address))?;
    Ok((vec![process], address))
}

fn nginx(program: &Path, directory: &Path) -> Result<(Vec<Process>, SocketAddr)> {
    let address = free_address()?;
    std::fs::create_dir_all(directory).context("no directory for nginx")?;
    std::fs::write(directory.join(PAGE.trim_start_matches('/')), vec![b'x'; PAGE_BYTES])?;
    let root = directory.display();
    // In one process, so that nothing outlives it: one worker, as one core of ChangeAgent.
    let settings = format!(
        "daemon off; master_process off; pid {root}/pid; error_log stderr crit;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 0;\n\
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;\n\
         fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
         sendfile on; tcp_nodelay on; open_file_cache max=16;\n\
         server {{ listen {address}; root {root}; location / {{ return 204; }} location = {PAGE} {{ }} }} }}\n"
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, settings)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).arg("-p").arg(directory);
    let mut process = Process::start(command, directory)?;
    process.await_ready(|| listens(address))?;
    Ok((vec![process], address))
}

fn etcd(program: &Path, nodes: usize, directory: &Path) -> Result<(Vec<Process>, SocketAddr)> {
    let mut places = Vec::new();
    for _ in 0..nodes {
        places.push((free_address()?, free_address()?));
    }
    let members = places.iter().enumerate();
    let members: Vec<String> =
        members.map(|(node, (_, peers))| format!("n{node}=http://{peers}")).collect();
    let mut processes = Vec::new();
    for (node, (clients, peers)) in places.iter().enumerate() {
        let directory = directory.join(node.to_string());
        let [clients, peers] = [clients, peers].map(|address| format!("http://{address}"));
        let mut command = Command::new(program);
        command
            .args(["--name", &format!("n{node}"), "--data-dir"])
            .arg(directory.join("data"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &members.join(",")])
            .args(["--logger", "zap", "--log-level", "error"]);
        processes.push(Process::start(command, &directory)?);
    }
    for (process, (clients, _)) in processes.iter_mut().zip(&places) {
        process.await_ready(|| answers(*clients, "/health"))?;
    }
    let mut leader = None;
    if let Some(first) = processes.first_mut() {
        first.await_ready(|| {
            leader = places.iter().map(|(clients, _)| *clients).find(|clients| leads(*clients));
            leader.is_some()
        })?;
    }
    Ok((processes, leader.context("etcd has no leader")?))
}

/// Whether this node of etcd is the leader.
fn leads(address: SocketAddr) -> bool {
    #[derive(Deserialize)]
    struct Status {
        header: Header,
        leader: String,
    }
    #[derive(Deserialize)]
    struct Header {
        member_id: String,
    }
    let Ok(target) = target(address) else { return false };
    let mut control = Control::new(&target, QUESTION_TIME);
    let status = control.post("/v3/maintenance/status", "{}").ok().and_then(json::read);
    status.is_some_and(|Status { header, leader }| header.member_id == leader)
}
