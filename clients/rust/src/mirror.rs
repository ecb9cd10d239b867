//! A local copy of a list, or of the keys of a list, in SQLite.

use std::{fmt, path::Path, time::Duration};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{
    client::Client,
    connector::Connector,
    error::{Error, Problem},
    follow::{Follow, Follower, Since},
    model::Page,
    place::ask,
    state::{Resume, StateReader},
    tables::{Place, Tables},
};

/// How long to wait for another writer of the database.
const BUSY: Duration = Duration::from_secs(30);

/// What a hook fails of.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
type OnPage = Box<dyn FnMut(&Transaction<'_>, &Page) -> Result<(), BoxError> + Send>;
type OnReset = Box<dyn FnMut(&Transaction<'_>, &Problem) -> Result<(), BoxError> + Send>;

/// What is kept in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All changes.
    #[default]
    Changes,
    /// The current version of each live key, of a tenant or a collection.
    Keys,
    /// Nothing but the position.
    Nothing,
}

impl Keep {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Keys => "keys",
            Self::Nothing => "nothing",
        }
    }
}

/// What a mirror keeps, and how.
#[derive(Default)]
pub struct MirrorOptions {
    /// What is kept in the table.
    pub keep: Keep,
    /// The name of the table: `changes` or `keys` if none is given.
    pub table: Option<String>,
    /// Whether to empty the table and start anew after [`Error::Reset`], if the list is
    /// still there.
    pub rebuild: bool,
    /// Called within the transaction of each page, for tables of your own.
    pub on_page: Option<OnPage>,
    /// Called within the transaction that empties the table.
    pub on_reset: Option<OnReset>,
}

impl fmt::Debug for MirrorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorOptions")
            .field("keep", &self.keep)
            .field("table", &self.table)
            .field("rebuild", &self.rebuild)
            .finish_non_exhaustive()
    }
}

/// Where the next page comes from.
enum Source<C: Connector> {
    State(Box<StateReader<C>>),
    List(Box<Follower<C>>),
}

/// Follows a list into a table: the rows of each page and the position after them are
/// written in one transaction, so however it ends it goes on exactly there.
///
/// SQLite works on the task that calls it, for the time of a transaction.
pub struct Mirror<C: Connector> {
    client: Client<C>,
    db: Connection,
    follow: Follow,
    options: MirrorOptions,
    tables: Tables,
    at: Place,
    source: Option<Source<C>>,
}

impl<C: Connector> fmt::Debug for Mirror<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("tables", &self.tables)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<C: Connector> Mirror<C> {
    /// A copy in the file `path`.
    ///
    /// # Errors
    /// SQLite failed, or the file has another copy.
    pub fn open(
        client: Client<C>,
        path: impl AsRef<Path>,
        follow: Follow,
        options: MirrorOptions,
    ) -> Result<Self, Error> {
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        Self::new(client, db, follow, options)
    }

    /// A copy in that database.
    ///
    /// # Errors
    /// SQLite failed, or the database has another copy.
    pub fn new(
        client: Client<C>,
        mut db: Connection,
        follow: Follow,
        options: MirrorOptions,
    ) -> Result<Self, Error> {
        let is_partial = follow.place.is_everything() || !follow.tags.is_empty();
        if options.keep == Keep::Keys && is_partial {
            let what = "the keys are those of a tenant or of a collection, without tags";
            return Err(Error::Usage(what.into()));
        }
        let mut list = format!("{}/changes", follow.place.path());
        for tag in &follow.tags {
            ask(&mut list, "tag", tag);
        }
        let usual = if options.keep == Keep::Keys { "keys" } else { "changes" };
        let name = options.table.clone().unwrap_or_else(|| usual.to_owned());
        let tables = Tables::new(name, options.keep, list)?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tables.create(&transaction)?;
        let at = tables.read(&transaction)?;
        transaction.commit()?;
        Ok(Self { client, db, follow, options, tables, at, source: None })
    }

    /// The database.
    pub fn db(&self) -> &Connection {
        &self.db
    }

    /// Follows the list until that fails: see [`next_page`](Self::next_page).
    ///
    /// # Errors
    /// What it failed of.
    pub async fn run(&mut self) -> Result<std::convert::Infallible, Error> {
        loop {
            self.next_page().await?;
        }
    }

    /// The next page, once it is in the database: waits for it for ever. May be given up
    /// (dropped) at any time.
    ///
    /// # Errors
    /// [`Error::Reset`] where the list cannot be followed any more and the options do not
    /// say to start anew; what SQLite or a hook failed of, with nothing written.
    pub async fn next_page(&mut self) -> Result<Page, Error> {
        loop {
            let outcome = match self.source()? {
                Source::List(follower) => follower.next_page().await.map(Some),
                Source::State(state) => state.next_page().await,
            };
            let page = match outcome {
                Ok(Some(page)) => page,
                Ok(None) => {
                    self.source = None;
                    continue;
                }
                Err(Error::Reset(problem)) => {
                    self.start_anew(problem)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let written = self.write(&page);
            if written.is_err() {
                // What was not written is asked for again.
                self.source = None;
            }
            return written.map(|()| page);
        }
    }

    fn is_loading(&self) -> bool {
        let is_begun = self.at.position.is_some() && self.at.loading.is_none();
        self.options.keep == Keep::Keys && !is_begun
    }

    fn source(&mut self) -> Result<&mut Source<C>, Error> {
        let source = match self.source.take() {
            Some(source) => source,
            None if self.is_loading() => {
                Source::State(Box::new(self.client.state(&self.follow.place, self.resume())?))
            }
            None => {
                let mut follow = self.follow.clone();
                if let Some(position) = &self.at.position {
                    follow.since = Since::Position(position.clone());
                }
                Source::List(Box::new(self.client.follow(follow)))
            }
        };
        Ok(self.source.insert(source))
    }

    fn resume(&self) -> Option<Resume> {
        let (collection, key) = self.at.loading.as_deref()?.split_once('/')?;
        let position = self.at.position.clone()?;
        Some(Resume { position, collection: collection.to_owned(), key: key.to_owned() })
    }

    /// Where the state goes on after this page.
    fn loading_after(&self, page: &Page) -> Option<String> {
        if page.at_end || !matches!(self.source, Some(Source::State(_))) {
            return None;
        }
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let last = page.changes.last();
        let last = last.map(|last| format!("{}/{}", name(&last.collection), name(&last.key)));
        last.or_else(|| self.at.loading.clone()).or_else(|| Some(String::new()))
    }

    fn write(&mut self, page: &Page) -> Result<(), Error> {
        let next =
            Place { position: Some(page.position.clone()), loading: self.loading_after(page) };
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.tables.read(&transaction)? != self.at {
            return Err(Error::Conflict);
        }
        for change in &page.changes {
            self.tables.apply(&transaction, change)?;
        }
        if let Some(on_page) = &mut self.options.on_page {
            on_page(&transaction, page).map_err(Error::Hook)?;
        }
        self.tables.move_to(&transaction, &next)?;
        transaction.commit()?;
        self.at = next;
        Ok(())
    }

    fn start_anew(&mut self, problem: Box<Problem>) -> Result<(), Error> {
        self.source = None;
        if !self.options.rebuild || problem.code == "not-found" {
            return Err(Error::Reset(problem));
        }
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.tables.read(&transaction)? != self.at {
            return Err(Error::Conflict);
        }
        self.tables.clear(&transaction)?;
        if let Some(on_reset) = &mut self.options.on_reset {
            on_reset(&transaction, &problem).map_err(Error::Hook)?;
        }
        transaction.commit()?;
        self.at = Place::default();
        Ok(())
    }
}
