//! Following a list.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    connector::Connector,
    core::{Core, Request, cluster_of},
    error::Error,
    lines::Lines,
    model::{Change, Mark, Page, Position, SentChange, SentPage, read},
    place::{Place, ask},
    retry::Backoff,
};

/// No node waits for longer, whatever it is asked for.
const BLOCK_MAX: Duration = Duration::from_secs(300);
/// A node that answers that nothing is new without having waited is asked again
/// after this.
const UNASKED: Duration = Duration::from_millis(200);

/// Where to start.
#[derive(Clone, Debug)]
pub enum Since {
    /// After this id of whichever history the nodes serve; 0 is the oldest change held.
    Id(u64),
    /// With what comes from now on.
    Now,
    /// After this place, of its history only.
    Position(Position),
}

/// How to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Page after page, by long-poll.
    Wait,
    /// One answer that is kept open.
    Stream,
}

/// Which list to follow, and how.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Whose changes.
    pub place: Place,
    /// Only changes that bear one of these; all if there is none.
    pub tags: Vec<String>,
    /// Where to start.
    pub since: Since,
    /// By long-poll or by a stream.
    pub mode: Mode,
    /// Changes in one page.
    pub limit: u32,
    /// How long a node is asked to wait for something new.
    pub block: Duration,
}

impl Follow {
    /// All of a list, by long-poll.
    pub fn of(place: Place) -> Self {
        let block = Duration::from_secs(60);
        Self { place, tags: Vec::new(), since: Since::Id(0), mode: Mode::Wait, limit: 1000, block }
    }

    /// From another place than its beginning.
    #[must_use]
    pub fn since(mut self, since: Since) -> Self {
        self.since = since;
        self
    }
}

/// Pages of a list for ever, each change in exactly one of them.
///
/// A call of [`next_page`](Self::next_page) may be given up (dropped) at any time:
/// the next one goes on where it was.
pub struct Follower<C: Connector> {
    core: Arc<Core<C>>,
    follow: Follow,
    path: String,
    /// Whether the list has every id.
    is_dense: bool,
    cluster: Option<String>,
    /// Invariant: everything up to here was handed over, and nothing after it.
    last: u64,
    is_new: bool,
    has_answered: bool,
    /// Nodes in a row that do not know the list.
    missing: usize,
    backoff: Backoff,
    stream: Option<(usize, Lines<C::Connection>)>,
    /// Since when nothing new has come on the stream, or of the page that is asked for.
    asked: Instant,
    /// To wait so long before the next try.
    pause: Duration,
    queue: VecDeque<Change>,
}

impl<C: Connector> fmt::Debug for Follower<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("path", &self.path)
            .field("cluster", &self.cluster)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl<C: Connector> Follower<C> {
    pub(crate) fn new(core: Arc<Core<C>>, follow: Follow) -> Self {
        let (cluster, last) = match &follow.since {
            Since::Position(position) => (Some(position.cluster.clone()), position.id),
            Since::Id(id) => (core.options.cluster.clone(), *id),
            Since::Now => (core.options.cluster.clone(), 0),
        };
        Self {
            path: format!("{}/changes", follow.place.path()),
            is_dense: follow.place.is_everything() && follow.tags.is_empty(),
            cluster,
            last,
            is_new: matches!(follow.since, Since::Now),
            has_answered: false,
            missing: 0,
            backoff: Backoff::new(&core, None),
            stream: None,
            asked: Instant::now(),
            pause: Duration::ZERO,
            queue: VecDeque::new(),
            core,
            follow,
        }
    }

    /// The next page: waits for it for ever.
    ///
    /// Store its position together with what you make of its changes, and start from
    /// there again: then each change counts exactly once. The first answer gives a
    /// page even if it is empty, so that its position is known; later ones only where
    /// the position moves.
    ///
    /// # Errors
    /// [`Error::Reset`] where the list cannot be followed from there, and what a node
    /// refuses for good.
    pub async fn next_page(&mut self) -> Result<Page, Error> {
        loop {
            let pause = self.pause;
            self.core.sleep(pause).await;
            self.pause = Duration::ZERO;
            let node = self.stream.as_ref().map_or_else(|| self.core.node(), |(node, _)| *node);
            let outcome = if self.is_new || self.follow.mode == Mode::Wait {
                self.read_page(node).await
            } else {
                self.read_stream(node).await
            };
            match outcome {
                Ok(Some(page)) => return Ok(page),
                Ok(None) => {}
                Err(error) => {
                    self.stream = None;
                    if self.is_refused_parameter(&error) {
                        continue;
                    }
                    let passing = self.check(error)?;
                    self.core.leave(node);
                    self.pause = self.backoff.after(passing)?;
                }
            }
        }
    }

    /// The next change, which has its position.
    ///
    /// # Errors
    /// The same.
    pub async fn next(&mut self) -> Result<Change, Error> {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return Ok(change);
            }
            self.queue = self.next_page().await?.changes.into();
        }
    }

    /// An earlier node does not know `cluster`; its answers are checked all the same.
    fn is_refused_parameter(&self, error: &Error) -> bool {
        let Some(problem) = error.problem() else { return false };
        let parameter = problem.members.get("parameter").and_then(Value::as_str);
        problem.code == "invalid-parameter"
            && parameter == Some("cluster")
            && self.core.names_cluster.swap(false, Ordering::Relaxed)
    }

    /// Gives the error back where asking again may help.
    fn check(&mut self, error: Error) -> Result<Error, Error> {
        if error.may_pass() {
            return Ok(error);
        }
        if error.is("not-found") {
            // A node that lies behind may not know it yet.
            self.missing += 1;
            if self.missing < self.core.nodes_count() {
                return Ok(error);
            }
        }
        Err(error.into_reset())
    }

    fn request(&self, is_stream: bool) -> Request {
        let mut target = self.path.clone();
        let wait = if self.is_new { Duration::ZERO } else { self.follow.block.min(BLOCK_MAX) };
        if self.is_new {
            ask(&mut target, "since", "now");
        } else {
            ask(&mut target, "since", self.last);
        }
        if is_stream {
            ask(&mut target, "cursors", "true");
        } else {
            ask(&mut target, "limit", if self.is_new { 1 } else { self.follow.limit });
        }
        if is_stream || !wait.is_zero() {
            ask(&mut target, "block", wait.as_secs_f64());
        }
        let names_cluster = self.core.names_cluster.load(Ordering::Relaxed);
        if let Some(cluster) = self.cluster.as_ref().filter(|_| names_cluster) {
            ask(&mut target, "cluster", cluster);
        }
        for tag in &self.follow.tags {
            ask(&mut target, "tag", tag);
        }
        Request { wait: if is_stream { Duration::ZERO } else { wait }, ..Request::get(target) }
    }

    async fn read_page(&mut self, node: usize) -> Result<Option<Page>, Error> {
        self.asked = Instant::now();
        let reply = self.core.once(node, &self.request(false)).await?;
        let cluster = cluster_of(&reply.head, self.cluster.as_deref())?;
        let page = read::<SentPage>(&reply.body)?.of(&cluster);
        self.cluster = Some(cluster);
        if self.is_new {
            self.is_new = false;
            self.last = page.position.id;
            return Ok(self.progress(Vec::new(), true, true));
        }
        let page = self.hand_over(page.changes, page.position.id, page.at_end)?;
        self.pause_where_unasked(page.is_some());
        Ok(page)
    }

    /// A node that does not wait as it was asked to is not asked again at once.
    fn pause_where_unasked(&mut self, has_moved: bool) {
        if !has_moved && self.asked.elapsed() < UNASKED {
            self.pause = UNASKED;
        }
    }

    async fn read_stream(&mut self, node: usize) -> Result<Option<Page>, Error> {
        if self.stream.is_none() {
            self.asked = Instant::now();
            let request = self.request(true);
            let lines = Lines::open(&self.core, node, request, self.cluster.as_deref()).await?;
            self.cluster = Some(lines.cluster.clone());
            self.stream = Some((node, lines));
        }
        let Some((_, lines)) = &mut self.stream else { return Ok(None) };
        let Some(batch) = lines.next(&self.core).await? else {
            if let Some((_, lines)) = self.stream.take() {
                lines.close(&self.core);
            }
            self.pause_where_unasked(false);
            return Ok(None);
        };
        let cluster = lines.cluster.clone();
        let (mut changes, mut last, mut at_end) = (Vec::new(), self.last, false);
        for line in &batch {
            let cursor = cursor_of(line)?;
            at_end = cursor.is_some();
            last = match cursor {
                Some(cursor) => cursor,
                None => {
                    let change = read::<SentChange>(line)?.of(&cluster);
                    let id = change.id;
                    changes.push(change);
                    id
                }
            };
        }
        let page = self.hand_over(changes, last.max(self.last), at_end)?;
        if page.is_some() {
            self.asked = Instant::now();
        }
        Ok(page)
    }

    /// Those that were not handed over yet; moves on to `last`.
    fn hand_over(
        &mut self,
        changes: Vec<Change>,
        last: u64,
        at_end: bool,
    ) -> Result<Option<Page>, Error> {
        let missing = |id| Err(Error::Broken(format!("the changes after {id} are missing")));
        let mut reached = self.last;
        let mut fresh = Vec::with_capacity(changes.len());
        for change in changes {
            if change.id <= self.last || change.id == reached {
                continue;
            }
            if change.id < reached {
                return Err(Error::Broken("changes are out of order".into()));
            }
            if self.is_dense && reached > 0 && change.id != reached + 1 {
                return missing(reached);
            }
            reached = change.id;
            fresh.push(change);
        }
        if last > reached && self.is_dense && reached > 0 {
            return missing(reached);
        }
        let has_moved = reached.max(last) > self.last;
        self.last = reached.max(last);
        Ok(self.progress(fresh, at_end, has_moved))
    }

    fn progress(&mut self, changes: Vec<Change>, at_end: bool, has_moved: bool) -> Option<Page> {
        self.backoff.reset();
        self.missing = 0;
        let cluster = self.cluster.clone()?;
        let is_first = !std::mem::replace(&mut self.has_answered, true);
        let position = Position { cluster, id: self.last };
        (has_moved || is_first).then_some(Page { changes, position, at_end })
    }
}

/// The id of a line `{"last":N}`; none of a change.
fn cursor_of(line: &[u8]) -> Result<Option<u64>, Error> {
    if line.starts_with(b"{\"_id\"") {
        return Ok(None);
    }
    let mark: Mark = read(line)?;
    Ok(mark.last.filter(|_| mark.id.is_none()))
}
