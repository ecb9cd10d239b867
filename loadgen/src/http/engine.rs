//! The event loop that drives many connections over one epoll. It keeps connections open, sends
//! what a [`Workload`] gives it and hands back answers: one read and one write system call for a
//! request, and no allocation.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::http::connection::{Arrival, Connection, Failure, State, source_address};
use crate::http::target::{Target, Targets};
use crate::http::workload::{Census, Workload};

/// How many events one wait may bring.
const EVENTS_MAX: usize = 1024;
/// How many connections may be in the making at once, to stay below the server's backlog.
const CONNECTING_MAX: usize = 128;
/// How often time-outs are looked for; also the longest wait, so that a stop is seen.
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);
/// How much one read may bring, in bytes.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Connections, their epoll and their queues.
#[derive(Debug)]
pub(crate) struct Engine {
    epoll: OwnedFd,
    targets: Targets,
    /// Bodies that come in chunks are handed out as they come.
    streaming: bool,
    /// Index of the first connection among those of all threads.
    offset: usize,
    timeout: Duration,
    connections: Vec<Connection>,
    /// Connections that wait for their turn to connect.
    unconnected: VecDeque<usize>,
    /// Connections in state `Idle` that may be asked to send.
    idle: VecDeque<usize>,
    /// Connections that rest until a moment, after which they connect or are idle again.
    resting: BinaryHeap<Reverse<(Instant, usize)>>,
    connecting: usize,
    connected: usize,
    busy: usize,
    /// Since when there is a connection in `idle`.
    idle_since: Instant,
    next_sweep: Instant,
    scratch: Vec<u8>,
}

impl Engine {
    /// An engine for the connections of these global indices; they connect when it runs, each to
    /// the target that [`Targets::index_of`] names.
    pub(crate) fn new(targets: &Targets, indices: Range<usize>, timeout: Duration) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create")?;
        let now = Instant::now();
        Ok(Self {
            epoll,
            targets: targets.clone(),
            streaming: false,
            offset: indices.start,
            timeout,
            unconnected: (0..indices.len()).collect(),
            idle: VecDeque::with_capacity(indices.len()),
            resting: BinaryHeap::new(),
            connecting: 0,
            connected: 0,
            busy: 0,
            idle_since: now,
            next_sweep: now + SWEEP_INTERVAL,
            scratch: vec![0; READ_BYTES_MAX],
            connections: indices.map(|_| Connection::new(now)).collect(),
        })
    }

    /// Runs until the workload has finished.
    pub(crate) fn run(&mut self, workload: &mut impl Workload) -> Result<()> {
        let mut events = [MaybeUninit::uninit(); EVENTS_MAX];
        loop {
            let now = Instant::now();
            self.keep_connected(workload, now);
            self.offer_turns(workload, now);
            if workload.finished(now, self.census()) {
                return Ok(());
            }
            let timeout = self.wait_time(workload, now);
            let (ready, _) = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("epoll_wait"),
            };
            for event in ready {
                self.handle(workload, event.data.u64() as usize, event.flags);
            }
        }
    }

    /// Has bodies that come in chunks handed out as they come, by [`Workload::streamed`].
    pub(crate) fn streaming(&mut self) {
        self.streaming = true;
    }

    /// A target that has connections here of which none stands.
    pub(crate) fn unreached(&self) -> Option<SocketAddr> {
        let count = self.targets.all().len().min(self.connections.len());
        let reached = |first: usize| {
            let mut states = self.connections[first..].iter().step_by(self.targets.all().len());
            states.any(|one| matches!(one.state(), State::Idle | State::Busy))
        };
        (0..count).find(|&first| !reached(first)).map(|first| self.target_of(first))
    }

    /// Where the connection of this index goes.
    fn target_of(&self, index: usize) -> SocketAddr {
        self.target(index).address
    }

    fn target(&self, index: usize) -> &Target {
        &self.targets.all()[self.targets.index_of(self.offset + index)]
    }

    /// How the connections stand.
    pub(crate) fn census(&self) -> Census {
        Census { connected: self.connected, busy: self.busy, total: self.connections.len() }
    }

    fn wait_time(&self, workload: &impl Workload, now: Instant) -> Timespec {
        let mut until = self.next_sweep;
        if let Some(&Reverse((moment, _))) = self.resting.peek() {
            until = until.min(moment);
        }
        // A due request can only go out when a connection is free; else an event comes first.
        if let Some(moment) = workload.wake_at(now).filter(|_| !self.idle.is_empty()) {
            until = until.min(moment);
        }
        let wait = until.saturating_duration_since(now);
        Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) }
    }

    /// Ends rests that are over, looks for time-outs, and connects what is due, in bounded bursts.
    fn keep_connected(&mut self, workload: &mut impl Workload, now: Instant) {
        while let Some(&Reverse((moment, index))) = self.resting.peek()
            && moment <= now
        {
            self.resting.pop();
            match self.connections[index].state() {
                State::Closed => self.unconnected.push_back(index),
                State::Idle => self.push_idle(index, now),
                State::Connecting | State::Busy => {}
            }
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.sweep(workload, now);
        }
        while self.connecting < CONNECTING_MAX
            && let Some(index) = self.unconnected.pop_front()
        {
            // A connection that broke while it rested may stand in two queues.
            if self.connections[index].state() == State::Closed {
                self.connect(workload, index, now);
            }
        }
    }

    fn sweep(&mut self, workload: &mut impl Workload, now: Instant) {
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let pending = matches!(connection.state(), State::Connecting | State::Busy);
            if pending && now.saturating_duration_since(connection.since()) > self.timeout {
                self.fail(workload, index, &Failure::Timeout, now);
            }
        }
    }

    fn connect(&mut self, workload: &mut impl Workload, index: usize, now: Instant) {
        let target = self.target(index).clone();
        let source = source_address(target.address, self.offset + index);
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(index as u64);
        let begun = self.connections[index].connect(&target, source, now).and_then(|socket| {
            epoll::add(&self.epoll, socket, data, flags)
                .map_err(|error| Failure::Connect(error.into()))
        });
        match begun {
            Ok(()) => self.connecting += 1,
            Err(failure) => {
                self.connections[index].close();
                self.rest_after_failure(workload, index, &failure, false, now);
            }
        }
    }

    /// Gives idle connections their turn until the workload has nothing to send.
    fn offer_turns(&mut self, workload: &mut impl Workload, now: Instant) {
        while let Some(&index) = self.idle.front() {
            if self.connections[index].state() != State::Idle {
                self.idle.pop_front();
                continue;
            }
            let Some(intended) = workload.next(index, now) else { return };
            self.idle.pop_front();
            if intended != now {
                let free = self.idle_since.max(intended);
                workload.sent_late(now, now.saturating_duration_since(free));
            }
            self.send(workload, index, intended, now);
        }
    }

    fn send(
        &mut self,
        workload: &mut impl Workload,
        index: usize,
        intended: Instant,
        now: Instant,
    ) {
        self.busy += 1;
        if let Err(failure) = self.connections[index].send(workload.request(index), intended, now) {
            self.fail(workload, index, &failure, now);
        }
    }

    fn handle(&mut self, workload: &mut impl Workload, index: usize, flags: epoll::EventFlags) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.state() == State::Closed {
            return;
        }
        if connection.state() == State::Busy
            && flags.contains(epoll::EventFlags::OUT)
            && let Err(failure) = connection.flush()
        {
            return self.fail(workload, index, &failure, Instant::now());
        }
        let intended = connection.intended();
        let arrival = match connection.state() {
            State::Connecting => connection.finish_connect(),
            _ if flags == epoll::EventFlags::OUT => return,
            _ if self.streaming => connection.receive_part(&mut self.scratch),
            _ => connection.receive(&mut self.scratch),
        };
        let now = Instant::now();
        match arrival {
            Ok(Arrival::Nothing) => {}
            Ok(Arrival::Connected) => {
                self.connecting -= 1;
                self.connected += 1;
                self.take_turn(workload, index, now);
            }
            Ok(Arrival::Response(response)) => {
                let success = workload.answered(index, intended, now, &response);
                let mut close = response.close || flags.contains(epoll::EventFlags::RDHUP);
                // A server that answers before it has the whole request is out of step.
                close |= self.connections[index].has_unsent();
                self.after_answer(workload, index, success, close, now);
            }
            Ok(Arrival::Part { bytes, ended }) => {
                let failure = match workload.streamed(index, now, bytes) {
                    true if ended => Failure::StreamEnded,
                    true => return,
                    false => Failure::NoStream,
                };
                self.fail(workload, index, &failure, now);
            }
            Ok(Arrival::ClosedIdle) => {
                // It rests before it comes back, lest a server that only hangs up is hammered.
                self.drop_socket(index);
                let pause = self.connections[index].failed();
                self.resting.push(Reverse((now + pause, index)));
            }
            Err(failure) => self.fail(workload, index, &failure, now),
        }
    }

    fn after_answer(
        &mut self,
        workload: &mut impl Workload,
        index: usize,
        success: bool,
        close: bool,
        now: Instant,
    ) {
        let connection = &mut self.connections[index];
        connection.finish();
        self.busy -= 1;
        if close {
            self.drop_socket(index);
        }
        let connection = &mut self.connections[index];
        match (success, close) {
            (true, false) => {
                connection.succeeded();
                self.take_turn(workload, index, now);
            }
            (true, true) => self.unconnected.push_back(index),
            (false, _) => {
                let pause = connection.failed();
                self.resting.push(Reverse((now + pause, index)));
            }
        }
    }

    /// Puts a connection to those that may be asked to send.
    fn push_idle(&mut self, index: usize, now: Instant) {
        if self.idle.is_empty() {
            self.idle_since = now;
        }
        self.idle.push_back(index);
    }

    /// Lets a connection that has just become idle go on at once, without a detour by the queue.
    fn take_turn(&mut self, workload: &mut impl Workload, index: usize, now: Instant) {
        match workload.next(index, now) {
            Some(intended) => {
                // Without another free connection it could not go out earlier.
                if intended != now && !self.idle.is_empty() {
                    let free = self.idle_since.max(intended);
                    workload.sent_late(now, now.saturating_duration_since(free));
                }
                self.send(workload, index, intended, now);
            }
            None => self.push_idle(index, now),
        }
    }

    fn fail(
        &mut self,
        workload: &mut impl Workload,
        index: usize,
        failure: &Failure,
        now: Instant,
    ) {
        let in_flight = self.connections[index].state() == State::Busy;
        self.drop_socket(index);
        self.rest_after_failure(workload, index, failure, in_flight, now);
    }

    fn rest_after_failure(
        &mut self,
        workload: &mut impl Workload,
        index: usize,
        failure: &Failure,
        in_flight: bool,
        now: Instant,
    ) {
        let pause = self.connections[index].failed();
        self.resting.push(Reverse((now + pause, index)));
        workload.failed(index, failure, in_flight);
    }

    /// Closes a socket, which also takes it out of the epoll, and keeps the counts true.
    fn drop_socket(&mut self, index: usize) {
        match self.connections[index].state() {
            State::Closed => {}
            State::Connecting => self.connecting -= 1,
            State::Idle => {
                self.connected -= 1;
                self.idle.retain(|&other| other != index);
            }
            State::Busy => {
                self.connected -= 1;
                self.busy -= 1;
            }
        }
        self.connections[index].close();
    }
}
