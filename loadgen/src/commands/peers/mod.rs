//! `loadgen peers`: ChangeAgent and other servers through the same work in one run, in turns, so that whatever else the
//! machine does meanwhile hits all alike. It starts them itself, on free loopback ports in a temporary directory,
//! and ends them by their process id.

mod page;
mod parked;
mod process;
mod start;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::args::{PeerName, PeersArguments, Work};
use crate::base::stop;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part};
use crate::measure::span;
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;
use process::Scratch;
use start::Peer;
use work::{BATCH_CONNECTIONS, Brought, READ_CONNECTIONS};

/// Nodes of a cluster.
const NODES: usize = 3;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    work: Work,
    connections: u16,
}

/// What all turns of one peer at one kind of work brought.
#[derive(Debug)]
struct Row {
    cell: Cell,
    label: String,
    /// Changes in a request.
    batch: u16,
    /// Requests a second of each turn.
    rates: Vec<f64>,
    tally: Tally,
    measured: Duration,
}

/// All that was found out.
#[derive(Debug, Default)]
struct Compared {
    rows: Vec<Row>,
    /// Who took part, with version and durability.
    peers: Vec<String>,
    /// Who did not, and why.
    skipped: Vec<String>,
    verification: Option<Verification>,
    /// Changes that peers have less than they acknowledged.
    missing: u64,
    /// Turns that began too late to be taken.
    turns_left_out: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &PeersArguments) -> Result<Outcome> {
    ensure!(!arguments.turn.slice.is_zero(), "--slice must be above 0");
    ensure!(arguments.client.threads > 0, "--threads must be at least 1");
    if let Some(docs) = &arguments.docs {
        page::check(docs)?;
    }
    let report = Report::begin("peers", arguments)?;
    let scratch = Scratch::new(arguments.directory.as_deref())?;
    let deadline = Instant::now() + arguments.time_max;
    let mut compared = Compared::default();
    let (clusters, single): (Vec<Cell>, Vec<Cell>) =
        cells(arguments).into_iter().partition(|cell| cell.work == Work::Cluster);
    for (cells, nodes) in [(single, 1), (clusters, NODES)] {
        if !cells.is_empty() && !stop::requested() {
            compared.compare(arguments, &cells, nodes, &scratch, deadline)?;
        }
    }
    if let Some(docs) = &arguments.docs {
        page::write(docs, arguments, &compared)?;
    }
    // What comes next may end early: nothing of it may stay.
    drop(scratch);
    for line in &compared.peers {
        println!("{line}");
    }
    for line in &compared.skipped {
        println!("skipped: {line}");
    }
    let missing = compared.missing;
    let mut findings = Findings::new(Vec::new())
        .count("peers", compared.peers.clone())
        .count("skipped", compared.skipped.clone())
        .count("missing", missing)
        .count("turns_left_out", compared.turns_left_out)
        .verified(compared.verification.take());
    for row in compared.rows {
        findings = findings.count(&format!("{} requests/s", row.name()), row.rate().round());
        findings.parts.push(row.part(arguments)?);
    }
    findings.passed &= missing == 0;
    report.finish(&findings, &arguments.client.output)
}

/// What is done, in order.
fn cells(arguments: &PeersArguments) -> Vec<Cell> {
    let mut connections = arguments.connections.clone();
    connections.sort_unstable();
    connections.dedup();
    let mut extremes = connections.clone();
    extremes.retain(|c| Some(c) == connections.first() || Some(c) == connections.last());
    let cells_of = |work: &Work| {
        let connections = match work {
            Work::Append => connections.clone(),
            Work::Batch => vec![BATCH_CONNECTIONS],
            Work::Read => vec![READ_CONNECTIONS],
            Work::Wait => vec![arguments.waiters],
            Work::Cluster => extremes.clone(),
        };
        let work = *work;
        connections.into_iter().map(move |connections| Cell { work, connections })
    };
    // What is named twice is done once.
    let mut cells: Vec<Cell> = arguments.works.iter().flat_map(cells_of).collect();
    let mut seen = Vec::new();
    cells.retain(|cell| {
        let is_new = !seen.contains(cell);
        seen.push(*cell);
        is_new
    });
    cells
}

/// Whether a peer can do this work at all.
fn takes_part(name: PeerName, work: Work) -> bool {
    match work {
        Work::Append | Work::Batch | Work::Read => true,
        Work::Wait => matches!(name, PeerName::Changeagent | PeerName::Redis),
        Work::Cluster => matches!(name, PeerName::Changeagent | PeerName::Etcd),
    }
}

impl Compared {
    /// Starts who takes part with so many nodes, and gives each its turns.
    fn compare(
        &mut self,
        arguments: &PeersArguments,
        cells: &[Cell],
        nodes: usize,
        scratch: &Scratch,
        deadline: Instant,
    ) -> Result<()> {
        let peers = self.start(arguments, cells, nodes, scratch)?;
        let mut acknowledged = vec![0; peers.len()];
        let mut turn = 0;
        for cell in cells {
            if cell.work == Work::Read && !stop::requested() {
                for (peer, acknowledged) in peers.iter().zip(&mut acknowledged) {
                    *acknowledged += work::fill(arguments, peer)
                        .with_context(|| format!("{} before the reads", peer.label))?;
                }
            }
            let first = self.rows.len();
            for slice in 0..arguments.slices {
                let taking = peers.iter().zip(&mut acknowledged);
                let taking = taking.filter(|(peer, _)| takes_part(peer.name, cell.work));
                for (at, (peer, acknowledged)) in taking.enumerate() {
                    if stop::requested() || Instant::now() >= deadline {
                        self.turns_left_out += 1;
                        continue;
                    }
                    turn += 1;
                    if !arguments.client.quiet {
                        let label = &peer.label;
                        eprintln!("{}: {label}, turn {}", cell.name(), slice + 1);
                    }
                    let brought = cell
                        .run(arguments, peer, turn)
                        .with_context(|| format!("{}, {}", peer.label, cell.name()))?;
                    *acknowledged += brought.acknowledged;
                    self.add(first + at, *cell, peer, brought, arguments)?;
                }
            }
        }
        for (peer, acknowledged) in peers.iter().zip(acknowledged) {
            let stored = work::stored(arguments, peer).with_context(|| peer.label.clone())?;
            self.missing += stored.map_or(0, |stored| acknowledged.saturating_sub(stored));
        }
        Ok(())
    }

    /// Starts the peers; who is missing is named. Without ChangeAgent there is nothing to compare.
    fn start(
        &mut self,
        arguments: &PeersArguments,
        cells: &[Cell],
        nodes: usize,
        scratch: &Scratch,
    ) -> Result<Vec<Peer>> {
        let mut peers = Vec::new();
        for &name in &arguments.peers {
            if !cells.iter().any(|cell| takes_part(name, cell.work)) {
                continue;
            }
            let label = start::label(name);
            let Some(program) = start::program(name, arguments) else {
                let line = format!("{label} is not installed");
                if !self.skipped.contains(&line) {
                    self.skipped.push(line);
                }
                continue;
            };
            match start::start(name, &program, nodes, scratch) {
                Ok(peer) => {
                    let Peer { label, version, durability, .. } = &peer;
                    self.peers.push(format!("{label}: {version}; {durability}"));
                    peers.push(peer);
                }
                Err(error) => self.skipped.push(format!("{label} did not start: {error:#}")),
            }
        }
        ensure!(!peers.is_empty(), "nobody takes part: {}", self.skipped.join("; "));
        Ok(peers)
    }

    /// Adds a turn to its row, which is the next one where it is the first of its peer.
    fn add(
        &mut self,
        at: usize,
        cell: Cell,
        peer: &Peer,
        brought: Brought,
        arguments: &PeersArguments,
    ) -> Result<()> {
        if let Some(verification) = brought.verification {
            self.verification.get_or_insert_default().merge(verification);
        }
        if at >= self.rows.len() {
            let batch = if cell.work == Work::Batch { work::batch(peer.name) } else { 1 };
            let (label, tally) = (peer.label.clone(), Tally::new()?);
            let measured = Duration::ZERO;
            self.rows.push(Row { cell, label, batch, rates: Vec::new(), tally, measured });
        }
        let Some(row) = self.rows.get_mut(at) else { return Ok(()) };
        let seconds = brought.measured.as_secs_f64();
        if seconds > 0.0 && cell.work != Work::Wait {
            row.rates.push(brought.tally.requests as f64 / seconds);
        }
        let interval = span::interval(arguments.turn.slice).as_secs_f64();
        let before = (row.measured.as_secs_f64() / interval).round();
        row.measured += brought.measured;
        row.tally.merge_later(brought.tally, before as u32)
    }
}

impl Cell {
    fn name(self) -> String {
        let connections = self.connections;
        match self.work {
            Work::Append => format!("append, c={connections}"),
            Work::Batch => format!("append many, c={connections}"),
            Work::Read => format!("read 100, c={connections}"),
            Work::Wait => format!("last of {connections} who wait"),
            Work::Cluster => format!("append at three nodes, c={connections}"),
        }
    }

    fn run(self, arguments: &PeersArguments, peer: &Peer, turn: u32) -> Result<Brought> {
        let connections = self.connections;
        match self.work {
            Work::Append | Work::Cluster => work::append(arguments, peer, connections, 1, turn),
            Work::Batch => work::append(arguments, peer, connections, work::batch(peer.name), turn),
            Work::Read => work::read(arguments, peer, turn),
            Work::Wait => parked::wait(arguments, peer),
        }
    }
}

impl Row {
    fn name(&self) -> String {
        format!("{}: {}", self.cell.name(), self.label)
    }

    /// The median of the requests a second of all turns.
    fn rate(&self) -> f64 {
        let mut sorted = self.rates.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn part(self, arguments: &PeersArguments) -> Result<Part> {
        let interval = span::interval(arguments.turn.slice);
        Part::new(self.name(), [self.tally], self.measured, interval)
    }
}
