//! Reading the current state of a collection or a tenant.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    connector::Connector,
    core::{Core, Request},
    error::Error,
    lines::Lines,
    model::{Change, Mark, Page, Position, SentChange, read},
    place::{Place, ask},
    retry::Backoff,
};

/// A reading of a state that was broken off, and the last key that it came to.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The position of its pages.
    pub position: Position,
    /// The UUID of the last key's collection.
    pub collection: String,
    /// The last key.
    pub key: String,
}

/// The current changes of all live keys, in pages that bear one position.
///
/// Once all pages are taken, follow from that position, and take a change only if its
/// id is above the one that you hold of its key.
pub struct StateReader<C: Connector> {
    core: Arc<Core<C>>,
    path: String,
    /// That of the first reading. Invariant: no later reading is of an older state.
    position: Option<Position>,
    cluster: Option<String>,
    after: Option<String>,
    is_ended: bool,
    /// Nodes in a row that do not know the place.
    missing: usize,
    backoff: Backoff,
    /// To wait so long before the next try.
    pause: Duration,
    reading: Option<Reading<C::Connection>>,
}

/// A reading that is under way.
struct Reading<T> {
    lines: Lines<T>,
    is_first: bool,
}

impl<C: Connector> fmt::Debug for StateReader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateReader")
            .field("path", &self.path)
            .field("position", &self.position)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl<C: Connector> StateReader<C> {
    pub(crate) fn new(
        core: Arc<Core<C>>,
        place: &Place,
        resume: Option<Resume>,
    ) -> Result<Self, Error> {
        if place.is_everything() {
            let what = "the state is that of a tenant or of a collection";
            return Err(Error::Usage(what.into()));
        }
        let after = resume.as_ref().map(|resume| format!("{}/{}", resume.collection, resume.key));
        let position = resume.map(|resume| resume.position);
        let known = position.as_ref().map(|position| position.cluster.clone());
        Ok(Self {
            path: format!("{}/state", place.path()),
            cluster: known.or_else(|| core.options.cluster.clone()),
            position,
            after,
            is_ended: false,
            missing: 0,
            pause: Duration::ZERO,
            reading: None,
            backoff: Backoff::new(&core, Some(core.options.retries)),
            core,
        })
    }

    /// The next page; nothing after the last one, which has `at_end`.
    ///
    /// # Errors
    /// [`Error::Reset`] where it cannot be read any more, and what the last of so many
    /// tries without progress failed of.
    pub async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        while !self.is_ended {
            let pause = self.pause;
            self.core.sleep(pause).await;
            self.pause = Duration::ZERO;
            let node = self.core.node();
            match self.advance(node).await {
                Ok(Some(page)) => return Ok(Some(page)),
                Ok(None) => {}
                Err(error) if error.may_pass() || self.may_lie_behind(&error) => {
                    self.core.leave(node);
                    self.pause = self.backoff.after(error)?;
                }
                Err(error) => return Err(error.into_reset()),
            }
        }
        Ok(None)
    }

    /// Whether the node may not know the place yet, as others do.
    fn may_lie_behind(&mut self, error: &Error) -> bool {
        if !error.is("not-found") {
            return false;
        }
        self.missing += 1;
        self.missing < self.core.nodes_count()
    }

    /// Reads some more. Where that fails or is given up, the reading goes on after the
    /// last key that was handed over.
    async fn advance(&mut self, node: usize) -> Result<Option<Page>, Error> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => {
                let mut target = self.path.clone();
                if let Some(after) = &self.after {
                    ask(&mut target, "after", after);
                }
                if let Some(position) = &self.position {
                    // A node that lies behind the first one would leave out what is neither
                    // in its state nor after the position.
                    ask(&mut target, "min_id", position.id);
                }
                if let Some(cluster) = &self.cluster {
                    ask(&mut target, "cluster", cluster);
                }
                let request = Request::get(target);
                let lines = Lines::open(&self.core, node, request, self.cluster.as_deref()).await?;
                self.cluster = Some(lines.cluster.clone());
                Reading { lines, is_first: true }
            }
        };
        let Some(batch) = reading.lines.next(&self.core).await? else {
            return Err(Error::Broken("a state ended before its end".into()));
        };
        let mut changes = Vec::new();
        for line in &batch {
            if std::mem::take(&mut reading.is_first) {
                self.begin(line, &reading.lines.cluster)?;
            } else if line.starts_with(b"{\"_id\"") {
                changes.push(read::<SentChange>(line)?.of(&reading.lines.cluster));
            } else {
                self.end(line)?;
            }
        }
        self.reading = Some(reading);
        Ok(self.page(changes))
    }

    fn begin(&mut self, line: &[u8], cluster: &str) -> Result<(), Error> {
        let since = read::<Mark>(line)?.since;
        let wrong = || Error::Broken("a state does not begin with its position".into());
        let id = since.ok_or_else(wrong)?;
        if self.position.as_ref().is_some_and(|first| id < first.id) {
            return Err(Error::Broken("the rest of a state is older than its beginning".into()));
        }
        self.position.get_or_insert_with(|| Position { cluster: cluster.to_owned(), id });
        Ok(())
    }

    fn end(&mut self, line: &[u8]) -> Result<(), Error> {
        self.is_ended = read::<Mark>(line)?.end == Some(true);
        let wrong = "a line of a state is neither a change nor its end";
        if self.is_ended { Ok(()) } else { Err(Error::Broken(wrong.into())) }
    }

    fn page(&mut self, changes: Vec<Change>) -> Option<Page> {
        if let Some(last) = changes.last() {
            let name = |name: &Option<String>| name.clone().unwrap_or_default();
            self.after = Some(format!("{}/{}", name(&last.collection), name(&last.key)));
            self.backoff.reset();
            self.missing = 0;
        }
        let position = self.position.clone()?;
        let is_worth_it = self.is_ended || !changes.is_empty();
        is_worth_it.then_some(Page { changes, position, at_end: self.is_ended })
    }
}
