//! One connection: two ends, and what carries bytes from each to the other.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::select;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Network, Stream, Way,
    end::{Broken, End, Segment, Side},
};
use crate::io::{
    cores,
    real::net::{KEEPALIVE_INTERVAL, KEEPALIVE_TIME, UNACKNOWLEDGED},
    simulated::{
        executor::{Executor, Process, SURROUNDINGS, spawn_in},
        tally::{Event, count as tally},
    },
};

/// An idle connection whose other end is silent breaks after so long: when one question
/// was not answered and nothing came for as long as nothing may be unacknowledged.
const SILENCE: Duration = KEEPALIVE_TIME.saturating_add(KEEPALIVE_INTERVAL);
/// How much each end of a connection may have sent that has not arrived, and how much
/// may have arrived there that is not read: one of these, by chance.
const BUFFER_BYTES: [usize; 4] = [1 << 10, 16 << 10, 128 << 10, 2 << 20];
/// The rest of a piece that was split comes after up to so long.
const SPLIT: Duration = Duration::from_micros(200);
/// Whose bytes take so much longer than others, lags behind them.
const LAG: Duration = Duration::from_millis(1);
/// The longest time until what was kept is sent again once it may pass.
const RESEND_MAX: Duration = Duration::from_secs(2);

pub(super) struct Connection {
    network: Network,
    /// By side.
    ends: [End; 2],
    buffer_bytes: usize,
    rng: RefCell<StdRng>,
}

impl Connection {
    /// Connects two processes and gives each its end.
    pub(super) fn establish(
        network: &Network,
        client: Process,
        server: Process,
    ) -> (Stream, Stream) {
        let mut rng = StdRng::seed_from_u64(network.0.rng.borrow_mut().random());
        let mut end = |process, way| {
            End::new(process, rng.random_range(Duration::ZERO..=network.link(way).lag_max))
        };
        let ends = [end(client, (client, server)), end(server, (server, client))];
        if ends.iter().any(|end| end.lag > LAG) {
            tally(Event::ConnectionLags);
        }
        let buffer_bytes = BUFFER_BYTES[rng.random_range(0..BUFFER_BYTES.len())];
        let (network, rng) = (network.clone(), RefCell::new(rng));
        let connection = Rc::new(Self { network, ends, buffer_bytes, rng });
        let known = &connection.network.0.connections;
        known.borrow_mut().retain(|known| known.strong_count() > 0);
        known.borrow_mut().push(Rc::downgrade(&connection));
        let [one, other] = [Side::Client, Side::Server].map(|side| {
            drop(spawn_in(SURROUNDINGS, Rc::clone(&connection).carry(side)));
            Stream::new(Rc::clone(&connection), side)
        });
        (one, other)
    }

    pub(super) fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    /// The processes that it connects: who asked for it, and who accepted it.
    pub(super) fn processes(&self) -> (Process, Process) {
        (self.end(Side::Client).process, self.end(Side::Server).process)
    }

    /// Whether bytes may still pass.
    pub(super) fn is_standing(&self) -> bool {
        !self.ends.iter().any(End::is_over)
    }

    fn way(&self, from: Side) -> Way {
        (self.end(from).process, self.end(from.other()).process)
    }

    /// Breaks one end, unless it is broken already.
    pub(super) fn break_end(&self, side: Side, how: Broken) {
        let end = self.end(side);
        if end.broken.get().is_some() {
            return;
        }
        end.broken.set(Some(how));
        end.sent.take();
        end.sent_bytes.set(0);
        // What arrived before may still be there to be read, or not.
        if self.rng.borrow_mut().random() {
            end.arrived.take();
        }
        end.readable.wake();
        end.writable.wake();
        end.carrier.notify_one();
        self.end(side.other()).carrier.notify_one();
    }

    /// Both ends see a reset; what was under way is lost.
    pub(super) fn cut(&self) {
        if self.is_standing() {
            tally(Event::ConnectionIsCut);
        }
        self.break_end(Side::Client, Broken::Reset);
        self.break_end(Side::Server, Broken::Reset);
    }

    /// Waits until `holds`, which depends on this connection and on the network alone.
    async fn until(&self, side: Side, holds: impl Fn() -> bool) {
        loop {
            let changed = pin!(self.network.0.changed.notified());
            if holds() {
                return;
            }
            select(changed, pin!(self.end(side).carrier.notified())).await;
        }
    }

    /// Whether there is something to be carried from that side.
    fn has_work(&self, from: Side) -> bool {
        let end = self.end(from);
        let must_end = end.is_write_closed.get() && !self.end(from.other()).has_all.get();
        !end.sent.borrow().is_empty() || must_end || end.is_over()
    }

    /// Whether the other side can be asked whether it lives, and answers.
    fn is_answered(&self, from: Side) -> bool {
        let ways = [self.way(from), self.way(from.other())];
        !ways.iter().any(|way| self.network.is_blocked(*way))
    }

    /// Carries what is sent at one side to the other, until that is over.
    async fn carry(self: Rc<Self>, from: Side) {
        let end = self.end(from);
        loop {
            self.until(from, || self.has_work(from) || self.must_be_asked(from)).await;
            if !self.has_work(from) {
                self.ask_whether_it_lives(from).await;
                continue;
            }
            match end.broken.get() {
                Some(Broken::Here(_)) => {
                    self.network.travel(self.way(from)).await;
                    return self.break_end(from.other(), Broken::Reset);
                }
                Some(Broken::Reset | Broken::Silently) => return,
                None => {}
            }
            let arrival = end.sent.borrow().front().map(|segment| segment.arrival);
            let Some(arrival) = arrival else {
                // Nothing more is sent, and all that was sent before has arrived.
                self.network.travel(self.way(from)).await;
                let other = self.end(from.other());
                other.has_all.set(true);
                other.readable.wake();
                if end.is_closed.get() {
                    return;
                }
                continue;
            };
            sleep_until(arrival).await;
            self.hand_over(from).await;
        }
    }

    /// Whether the other side says nothing, which it would if it could.
    fn must_be_asked(&self, from: Side) -> bool {
        !self.is_answered(from) || self.is_forgotten(from)
    }

    /// Whether the other side lost power and has it again.
    fn is_forgotten(&self, from: Side) -> bool {
        let other = self.end(from.other());
        other.broken.get() == Some(Broken::Silently) && !self.network.is_off(other.process)
    }

    /// Breaks an idle connection whose other end does not answer, or does not know of it.
    async fn ask_whether_it_lives(&self, from: Side) {
        let answered = self.until(from, || self.is_answered(from) || self.has_work(from));
        if cores::within(SILENCE, answered).await.is_none() {
            tally(Event::ConnectionTimesOut);
            self.break_end(from, Broken::Here(io::ErrorKind::TimedOut));
        } else if self.is_forgotten(from) {
            self.break_end(from, Broken::Reset);
        }
    }

    /// Has the first segment arrive, or a part of it, as soon as it can.
    async fn hand_over(&self, from: Side) {
        let (way, end, other) = (self.way(from), self.end(from), self.end(from.other()));
        let passes = || {
            let has_room = other.arrived.borrow().len() < self.buffer_bytes || other.is_over();
            end.broken.get().is_some() || (!self.network.is_blocked(way) && has_room)
        };
        let begun = Executor::current().elapsed();
        if self.network.is_blocked(way) {
            tally(Event::BytesAreKept);
        }
        if cores::within(UNACKNOWLEDGED, self.until(from, passes)).await.is_none() {
            tally(Event::ConnectionTimesOut);
            return self.break_end(from, Broken::Here(io::ErrorKind::TimedOut));
        }
        let kept = Executor::current().elapsed() - begun;
        if !kept.is_zero() {
            // It is sent again some time after it may pass.
            let soon = self.rng.borrow_mut().random_range(Duration::ZERO..=kept.min(RESEND_MAX));
            cores::sleep(soon).await;
        }
        if !passes() || end.broken.get().is_some() {
            return;
        }
        if other.is_over() {
            // Nobody is there for it.
            self.network.travel((way.1, way.0)).await;
            return self.break_end(from, Broken::Reset);
        }
        self.move_bytes(from);
    }

    fn move_bytes(&self, from: Side) {
        let (end, other) = (self.end(from), self.end(from.other()));
        let (mut sent, mut arrived) = (end.sent.borrow_mut(), other.arrived.borrow_mut());
        let Some(segment) = sent.front_mut() else { return };
        let mut rng = self.rng.borrow_mut();
        let most = segment.bytes.len().min(self.buffer_bytes - arrived.len());
        let count = if rng.random_ratio(3, 4) { most } else { rng.random_range(1..=most) };
        arrived.extend_from_slice(&segment.bytes.split_to(count));
        assert!(arrived.len() <= self.buffer_bytes, "more arrived than there is room for");
        end.sent_bytes.set(end.sent_bytes.get() - count);
        if segment.bytes.is_empty() {
            sent.pop_front();
        } else {
            tally(Event::BytesAreSplit);
            let later = rng.random_range(Duration::ZERO..=SPLIT);
            segment.arrival = Executor::current().elapsed() + later;
        }
        end.writable.wake();
        other.readable.wake();
    }

    /// Takes out what has arrived at that side, `most` at most, or nothing at the end of
    /// the stream. `None` when that is still to come.
    pub(super) fn read(&self, at: Side, most: usize) -> Option<io::Result<Bytes>> {
        let end = self.end(at);
        let mut arrived = end.arrived.borrow_mut();
        if !arrived.is_empty() {
            let count = most.min(arrived.len());
            let bytes = arrived.split_to(count).freeze();
            // There is room for more.
            self.end(at.other()).carrier.notify_one();
            return Some(Ok(bytes));
        }
        let is_at_end = end.is_closed.get() || end.has_all.get();
        match end.error() {
            Some(error) if !end.is_closed.get() => Some(Err(error)),
            _ => is_at_end.then(|| Ok(Bytes::new())),
        }
    }

    /// Sends a part of `parts` from that side. `None` when there is no room yet.
    pub(super) fn write(&self, at: Side, parts: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        let end = self.end(at);
        if end.is_closed.get() || end.is_write_closed.get() {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Some(error) = end.error() {
            return Some(Err(error));
        }
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let most = all.min(self.buffer_bytes - end.sent_bytes.get());
        if most == 0 {
            return (all == 0).then_some(Ok(0));
        }
        let mut rng = self.rng.borrow_mut();
        let count = if rng.random_ratio(7, 8) { most } else { rng.random_range(1..=most) };
        let mut bytes = BytesMut::with_capacity(count);
        for part in parts {
            bytes.extend_from_slice(&part[..part.len().min(count - bytes.len())]);
        }
        let bytes = bytes.freeze();
        let (way, link) = (self.way(at), self.network.link(self.way(at)));
        // A way that got well has no connection be late any more.
        let lag = end.lag.min(link.lag_max);
        let soonest = Executor::current().elapsed() + self.network.delay(way) + lag;
        let arrival = soonest.max(end.last_arrival.get()) + link.passage(count);
        end.last_arrival.set(arrival);
        end.sent.borrow_mut().push_back(Segment { arrival, bytes });
        end.sent_bytes.set(end.sent_bytes.get() + count);
        assert!(end.sent_bytes.get() <= self.buffer_bytes, "more was sent than there is room for");
        end.carrier.notify_one();
        Some(Ok(count))
    }

    /// Whether a read has an outcome.
    pub(super) fn is_readable(&self, at: Side) -> bool {
        let end = self.end(at);
        end.has_unread() || end.has_all.get() || end.is_over()
    }

    /// Whether a write has an outcome.
    pub(super) fn is_writable(&self, at: Side) -> bool {
        let end = self.end(at);
        end.sent_bytes.get() < self.buffer_bytes || end.is_write_closed.get() || end.is_over()
    }

    /// Has nothing more be sent from that side.
    pub(super) fn close_write(&self, side: Side) {
        self.end(side).is_write_closed.set(true);
        self.end(side).carrier.notify_one();
    }

    pub(super) fn close(&self, side: Side) {
        let end = self.end(side);
        end.is_closed.set(true);
        end.readable.wake();
        end.writable.wake();
        end.carrier.notify_one();
        // What waits for room at this end has nobody to wait for.
        self.end(side.other()).carrier.notify_one();
    }
}

async fn sleep_until(moment: Duration) {
    cores::sleep(moment.saturating_sub(Executor::current().elapsed())).await;
}
