//! Follows the log of an origin: asks for what comes after the last entry held, and has it appended
//! as from a leader.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    age::{CopyAge, remember, remembered},
    anew,
    beside::Lengths,
    frames::{Frames, SEGMENT_IDS},
    of::ORIGIN_NODE,
    origins::Origins,
    pause::pause,
    said::{Age, Piece, Said, Stands},
    standing::{Standings, Watch, Why},
};
use crate::{
    base::{
        ids::{ChangeId, LogId},
        planted::planted,
        timing::{COPY_BLOCK, COPY_ORIGIN_AGE, COPY_REMEMBER, ROOM_LOOK},
    },
    io::{Disk, cores},
    log::Vote,
    node::Status,
    raft::{
        AppendRequest, Inbound, Replica,
        peer::{Answer, AppendAnswer, Lane},
    },
};

/// Reasons for which origins are not followed that are logged between two steps that did not fail.
const SAID_MAX: usize = 50;

/// Why a step came to nothing.
enum Failure {
    /// Another origin, or another time, may do.
    Passing(String),
    /// The origin has the history of this copy, and nothing now that could be taken in here, but
    /// another one may.
    Behind(String),
    /// With this origin the copy has to begin anew.
    Lasting(Why, String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Passing(text)
    }
}

/// Commits what the log of a copy holds, all of which an origin gave as committed, and waits until it
/// is applied; says how old it may be.
pub(in crate::node) async fn begin<D: Disk>(
    replica: &Replica<D>,
    status: &Status,
    age: &CopyAge,
) -> Result<(), String> {
    let log = replica.log();
    let Some(last) = log.last().filter(|last| Some(*last) > log.purged()) else { return Ok(()) };
    let term = log.vote().map_or(0, |vote| vote.term).max(last.term);
    let request = AppendRequest {
        lane: Lane::Entries,
        from: ORIGIN_NODE,
        vote: Vote { term, node: ORIGIN_NODE, committed: true },
        previous: Some(last),
        committed: Some(last),
        entries: 0,
    };
    match replica.inbound().append(request, &Bytes::new()).await {
        Answer::Append(AppendAnswer::Held { .. }) => {}
        other => return Err(format!("what the log holds cannot be committed: {other:?}")),
    }
    replica.applied(last.index).await;
    let (files, cluster) = (log.files(), log.identity().cluster);
    if let Some(known) = cores::off_core(move || remembered(&files, cluster)).await {
        age.note(cores::now(), known);
    }
    status.set_recovered();
    Ok(())
}

/// Follows the origin from the last entry of the log on, for as long as it is polled.
pub(in crate::node) async fn feed<D: Disk>(
    replica: Rc<Replica<D>>,
    status: Arc<Status>,
    age: Arc<CopyAge>,
) {
    let origins = Origins::new(age.of()).of(age.tenants());
    let (inbound, standings) = (replica.inbound(), Standings::new(origins.count()));
    let mut feeder = Feeder {
        replica,
        inbound,
        status,
        age,
        origins,
        is_compared: false,
        said: Vec::new(),
        standings,
        failures: 0,
        remembered: None,
        segment: (0, ChangeId::ZERO),
    };
    feeder.run().await;
}

struct Feeder<D: Disk> {
    replica: Rc<Replica<D>>,
    inbound: Inbound<D>,
    status: Arc<Status>,
    age: Arc<CopyAge>,
    origins: Origins,
    /// The last entry here is known to be one of the current origin's.
    is_compared: bool,
    /// What was said of the origins since the last step that did not fail.
    ///
    /// Invariant: at most [`SAID_MAX`].
    said: Vec<String>,
    /// How the origins stand to this copy since then.
    standings: Standings,
    /// Steps that failed since then.
    failures: usize,
    /// When it was last written down how old the copy is.
    remembered: Option<Instant>,
    /// The segment that is written to, and the newest change when that was found.
    segment: (u64, ChangeId),
}

impl<D: Disk> Feeder<D> {
    async fn run(&mut self) {
        loop {
            match self.step().await {
                Ok(()) => {
                    if !std::mem::take(&mut self.said).is_empty() {
                        tracing::info!(origin = self.origins.address(), "the origin is followed");
                    }
                    self.failures = 0;
                    self.standings.clear();
                }
                Err(failure) => self.failed(failure).await,
            }
        }
    }

    /// Says what is wrong, once, and goes on to the next origin. When no origin will do the copy begins
    /// anew with one that asks for it.
    async fn failed(&mut self, failure: Failure) {
        self.failures += 1;
        let (text, stands, why) = match failure {
            Failure::Passing(text) => (text, Stands::Unknown, None),
            Failure::Behind(text) => (text, Stands::Own { has_more: false }, None),
            Failure::Lasting(why, text) => (text, Stands::Elsewhere, Some(why)),
        };
        let origin = self.origins.address();
        // How far each is changes all the time.
        let kind = text.replace(|digit: char| digit.is_ascii_digit(), "");
        let kind = format!("{origin}: {kind}");
        if self.said.len() < SAID_MAX && !self.said.contains(&kind) {
            tracing::warn!(origin, error = text, "the origin is not followed");
            self.said.push(kind);
        }
        assert!(self.said.len() <= SAID_MAX, "no more is said than may be");
        self.is_compared = false;
        self.standings.note(self.origins.current(), stands);
        if let Some(why) = why {
            self.begin_anew(why).await;
        }
        self.origins.pass_on();
        if self.failures.is_multiple_of(self.origins.count()) {
            pause(self.failures, self.origins.count()).await;
        }
    }

    /// Begins anew with the current origin, unless another may do.
    async fn begin_anew(&mut self, why: Why) {
        let log = self.replica.log();
        let (own, longest) = ((log.identity().cluster, log.last()), log.payload_bytes_max());
        for number in self.origins.others() {
            let stands = self.origins.look(number, own, longest).await;
            self.standings.note(number, stands);
        }
        if !self.standings.allow(self.origins.current(), why) {
            return;
        }
        let segment = usize::try_from(log.segment_bytes()).unwrap_or(usize::MAX);
        let lengths = Lengths { entry: longest, segment };
        let watch = Watch::new(&self.origins, why, own, longest);
        match anew::replace(&log.files(), &watch, self.age.tenants(), lengths).await {
            Ok(cluster) => {
                let origin = self.origins.address();
                tracing::warn!(origin, %cluster, "this copy begins anew");
                if cluster != own.0 {
                    self.age.replace_by(cluster);
                }
                self.replica.supersede();
                // The process is replaced.
                std::future::pending::<()>().await;
            }
            Err(error) => tracing::warn!(error, "this copy cannot begin anew yet"),
        }
    }

    async fn step(&mut self) -> Result<(), Failure> {
        let last = self.replica.log().last();
        let compares = !self.is_compared && last.is_some();
        let from = last.map_or(0, |id| if compares { id.index } else { id.index + 1 });
        let block = if compares { Duration::ZERO } else { COPY_BLOCK };
        let longest = self.replica.log().payload_bytes_max();
        let (mut cluster, mut said) = self.origins.piece(from, longest, block).await?;
        let own = self.replica.log().identity().cluster;
        if cluster != own && matches!(said, Said::Refused(_)) {
            // Another history may be shorter than what this copy has: then its first entries tell.
            (cluster, said) = self.origins.piece(0, longest, Duration::ZERO).await?;
        }
        let Piece { frames, applied, last: newest, age } = match (said, last) {
            (Said::Refused(text), _) if cluster != own => return Err(Failure::Passing(text)),
            (Said::Refused(text), _) => return Err(Failure::Behind(text)),
            _ if cluster != own && !planted!(CopyOtherHistory) => {
                let text = format!("it has the history {cluster}, this copy {own}");
                return Err(Failure::Lasting(Why::OtherHistory, text));
            }
            (Said::Piece(_), _) if let Some(file) = self.age.given_up() => {
                let text = format!("{file} is damaged here, and is not mended by what it has");
                return Err(Failure::Lasting(Why::Damaged, text));
            }
            (Said::Piece(piece), _) => piece,
            // It cannot be compared any more than that.
            (Said::Purged(purged), Some(last)) if compares && purged == last => {
                self.is_compared = true;
                return Ok(());
            }
            (Said::Purged(purged), _) => {
                let text = format!("its log is purged up to entry {purged}, beyond this copy");
                return Err(Failure::Lasting(Why::Purged, text));
            }
        };
        if let Some(newest) = newest {
            self.age.note_newest(newest);
        }
        let behind = |text: &str| Failure::Behind(text.to_owned());
        let damaged = || behind("what it gives of its log is damaged");
        let mut frames = Frames::read(frames, from).ok_or_else(damaged)?;
        if frames.longest_payload() > longest {
            return Err(behind("it has an entry that --segment-size leaves no room for"));
        }
        if let Some(last) = last.filter(|_| compares) {
            match frames.ids.first() {
                None => return Err(behind("it lies behind this copy")),
                Some(&first) if first != last => {
                    let text = format!("entry {last} is another there, {first}");
                    return Err(Failure::Lasting(Why::OtherHistory, text));
                }
                Some(_) => frames = frames.rest(),
            }
            self.is_compared = true;
        }
        let reached = match frames.ids.last().copied() {
            Some(newest) => self.append(last, newest, frames).await?,
            None => last,
        };
        if reached.map_or(0, |id| id.index) >= applied {
            if let Some(age) = age {
                self.caught_up(age).await;
            }
            self.check_age(age.map(|age| age.age))?;
        }
        Ok(())
    }

    /// Whether another origin may have more than the current one, which has given all that it has and
    /// is `age` old.
    fn check_age(&self, age: Option<Duration>) -> Result<(), Failure> {
        let why = match age {
            _ if self.origins.count() == 1 => return Ok(()),
            None => "it knows no leader".to_owned(),
            Some(age) if age > COPY_ORIGIN_AGE => {
                format!("it last had all of its own origin {} s ago", age.as_secs())
            }
            Some(_) => return Ok(()),
        };
        Err(Failure::Behind(why))
    }

    /// Appends entries after `last`, up to `newest`; they are durable and applied on return.
    async fn append(
        &mut self,
        last: Option<LogId>,
        newest: LogId,
        frames: Frames,
    ) -> Result<Option<LogId>, Failure> {
        if last.is_some_and(|last| frames.ids.first().is_some_and(|first| first.term < last.term)) {
            return Err(Failure::Behind("the terms of its entries decrease".to_owned()));
        }
        self.room_for(frames.bytes.len() as u64).await;
        let entries =
            u32::try_from(frames.ids.len()).map_err(|error| Failure::Behind(error.to_string()))?;
        let term = self.replica.log().vote().map_or(0, |vote| vote.term).max(newest.term);
        let request = AppendRequest {
            lane: Lane::Entries,
            from: ORIGIN_NODE,
            vote: Vote { term, node: ORIGIN_NODE, committed: true },
            previous: last,
            committed: Some(newest),
            entries,
        };
        match self.inbound.append(request, &frames.bytes).await {
            Answer::Append(AppendAnswer::Held { .. }) => {}
            other => {
                return Err(Failure::Behind(format!("entries are not taken in: {other:?}")));
            }
        }
        self.replica.applied(newest.index).await;
        self.end_segment_in_time();
        Ok(Some(newest))
    }

    /// Waits while neither the log has room for so many bytes nor its disk for a further part of it:
    /// what waits in the log itself would hold up the purge that makes room.
    async fn room_for(&self, bytes: u64) {
        while self.replica.log().headroom() < bytes && self.status.segment_problem().is_some() {
            cores::sleep(ROOM_LOOK).await;
        }
    }

    /// Has the segment that is written to completed before it spans more ids than its index can tell
    /// apart: most of them may be of others where this is a copy of some tenants.
    fn end_segment_in_time(&mut self) {
        let (log, last) = (self.replica.log(), self.replica.last());
        let active = log.active_segment();
        let (known, begun) = self.segment;
        if known != active {
            self.segment = (active, last);
        } else if last.0 - begun.0 > SEGMENT_IDS {
            log.complete_active();
        }
    }

    /// Notes that all is here that the origin had, of which it said how old it may be.
    async fn caught_up(&mut self, Age { moment, age }: Age) {
        if self.remembered.is_none_or(|at| cores::elapsed(at) >= COPY_REMEMBER) {
            // Before anything is served by it: a restart must serve what this process did.
            self.remembered = Some(cores::now());
            let files = self.replica.log().files();
            let cluster = self.replica.log().identity().cluster;
            let age = age.saturating_add(cores::elapsed(moment));
            if let Err(error) = cores::off_core(move || remember(&files, cluster, age)).await {
                tracing::warn!(%error, "how old this copy is could not be written down");
            }
        }
        self.age.note(moment, age);
        if !self.status.has_recovered() {
            self.status.set_recovered();
            let last = self.replica.last_applied();
            tracing::info!(last, origin = self.origins.address(), "caught up with the origin");
        }
    }
}
