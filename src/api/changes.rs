//! `/changes`: the global list, written to, read and waited on, and
//! `/changes/<id>`.

use std::{
    borrow::Cow,
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Api,
    answer::{self, ListAnswer},
    change_body, content_type,
    error::{ApiError, Code},
    query::{ChangesQuery, Since},
    reply::{Parked, Reply, Write, purged, refused},
    tag_filter::TagFilter,
};
use crate::{
    base::{
        batch::Batch,
        ids::ChangeId,
        limits::{MIN_ID_WAIT, READ_AHEAD_BYTES, READ_EXAMINED_MAX},
    },
    http::{Request, Response},
    io::cores,
    state::{Located, SealedSegment},
};

/// Bodies above this size are parsed off the core: about a millisecond's work.
const INLINE_PARSE_BYTES: usize = 256 << 10;
/// Answers up to this size are kept for the next one with the same question.
const SHARED_ANSWER_BYTES: usize = 1 << 20;
/// Batches gone through without letting other connections of the core run.
const BATCHES_AT_ONCE: usize = 64;

/// A read of the list, as it is asked again after each wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    since: ChangeId,
    limit: usize,
    tags: TagFilter,
    /// Answer from a state that holds this id.
    min_id: ChangeId,
    /// Whether to wait for a change to answer with.
    block: bool,
}

/// The newest answer, for the many who ask the same.
#[derive(Default)]
pub(super) struct SharedAnswer(RefCell<Option<(Question, ChangeId, Page)>>);

/// A rendered answer.
#[derive(Clone)]
struct Page {
    body: Bytes,
    changes: usize,
    /// The last id examined.
    last: ChangeId,
    at_end: bool,
}

impl Api {
    /// `POST /changes`
    pub(super) async fn append(&self, request: Box<Request>) -> Result<Reply, ApiError> {
        if request.header("idempotency-key").is_some() {
            let detail = "this version does not support the header Idempotency-Key yet";
            return Err(ApiError::new(Code::InvalidParameter, detail));
        }
        if request.header("content-encoding").is_some_and(|coding| coding != b"identity") {
            let detail = "a compressed body is not supported";
            return Err(ApiError::new(Code::UnsupportedMediaType, detail));
        }
        let form = match request.content_type() {
            None => content_type::form(None)?,
            Some(value) => content_type::form(Some(&String::from_utf8_lossy(value)))?,
        };
        let body = request.body().clone();
        drop(request);
        let parsed = if body.len() <= INLINE_PARSE_BYTES {
            change_body::parse(&body, form, &self.limits)
        } else {
            let limits = Arc::clone(&self.limits);
            cores::off_core(move || change_body::parse(&body, form, &limits)).await
        };
        let change_body::ChangeBody { shape, append } = parsed?;
        let pending = self.node.propose(append).map_err(refused)?;
        Ok(Reply::Write(Write { pending, shape }))
    }

    /// `GET /changes`
    pub(super) async fn list(&self, request: &Request, now: Instant) -> Result<Reply, ApiError> {
        let pairs = request.query().map(|(name, value)| (Cow::from(name), Cow::from(value)));
        // On its only node, everything acknowledged is applied: `strong` is
        // what `local` is.
        let query = ChangesQuery::parse(pairs)?;
        let block = query.block.unwrap_or(Duration::ZERO);
        let wait = match query.min_id {
            Some(_) => query.block.unwrap_or(MIN_ID_WAIT),
            None => block,
        };
        let question = Question {
            since: match query.since {
                Since::Id(id) => id,
                Since::Now => self.node.last(),
            },
            limit: query.limit,
            tags: query.tags,
            min_id: query.min_id.unwrap_or_default(),
            block: block > Duration::ZERO,
        };
        self.ask(question, now + wait, now).await
    }

    /// Goes on with a parked read, because something changed or because it
    /// has waited long enough.
    pub async fn resume(&self, parked: Parked, now: Instant) -> Reply {
        let deadline = if self.node.is_stopping() { now } else { parked.deadline };
        let reply = self.ask(parked.question, deadline, now).await;
        reply.unwrap_or_else(|error| Reply::Now(error.into()))
    }

    async fn ask(
        &self,
        mut question: Question,
        deadline: Instant,
        now: Instant,
    ) -> Result<Reply, ApiError> {
        let may_wait = now < deadline && !self.node.is_stopping();
        let last = self.node.last();
        if question.min_id > last {
            if may_wait {
                let wait = self.node.beyond(ChangeId(question.min_id.0 - 1));
                return Ok(Reply::Park(Parked { question, wait, deadline }));
            }
            let detail = format!("this node holds changes up to {last}, not {}", question.min_id);
            return Err(ApiError::new(Code::Behind, detail));
        }
        let page = self.page(&question).await?;
        if page.changes == 0 && page.at_end && question.block && may_wait {
            // What was examined need not be examined again.
            question.since = page.last;
            let wait = self.node.beyond(question.since);
            return Ok(Reply::Park(Parked { question, wait, deadline }));
        }
        Ok(Reply::Now(Response::json(200, page.body)))
    }

    async fn page(&self, question: &Question) -> Result<Page, ApiError> {
        let (first, last) = {
            let history = self.node.history();
            (history.first(), history.last())
        };
        if question.since != ChangeId::ZERO && question.since.0 < first.0 - 1 {
            return Err(purged(first));
        }
        if let Some((asked, at, page)) = &*self.shared.0.borrow()
            && asked == question
            && *at == last
        {
            return Ok(page.clone());
        }
        let page = self.render(question, first, last).await?;
        let shared = (page.body.len() <= SHARED_ANSWER_BYTES)
            .then(|| (question.clone(), last, page.clone()));
        *self.shared.0.borrow_mut() = shared;
        Ok(page)
    }

    /// Answers from the changes `first` to `last`.
    async fn render(
        &self,
        question: &Question,
        first: ChangeId,
        last: ChangeId,
    ) -> Result<Page, ApiError> {
        let mut reader = Reader {
            list: ListAnswer::new(),
            tags: &question.tags,
            limit: question.limit,
            examined: ChangeId(question.since.0.max(first.0 - 1)),
            budget: READ_EXAMINED_MAX,
        };
        while reader.examined < last && !reader.is_full() {
            if let Some((segment, n)) = self.read_some(&mut reader, last)? {
                load(&segment, n).await?;
            }
            cores::yield_if_needed().await;
        }
        // A `since` beyond the newest change stays what it is.
        let examined = reader.examined.max(question.since);
        let at_start = question.since < first || last < first;
        let at_end = examined >= last;
        let changes = reader.list.changes();
        let body = reader.list.finish(at_start, at_end, examined);
        Ok(Page { body, changes, last: examined, at_end })
    }

    /// Reads some batches; gives back one that is on disk and not in memory.
    fn read_some(
        &self,
        reader: &mut Reader<'_>,
        last: ChangeId,
    ) -> Result<Option<(Arc<SealedSegment>, usize)>, ApiError> {
        let history = self.node.history();
        for _ in 0..BATCHES_AT_ONCE {
            if reader.examined >= last || reader.is_full() {
                break;
            }
            match history.locate(reader.examined.next()) {
                Some(Located::Recent(first, batch)) => reader.take(first, batch),
                Some(Located::Sealed(segment, n)) => {
                    if !segment.map().is_resident(segment.range(n)) {
                        return Ok(Some((Arc::clone(segment), n)));
                    }
                    let (first, batch) = segment.batch(n).map_err(|error| damaged(&error))?;
                    reader.take(first, &batch);
                }
                None => unreachable!("every change from the first to the last is held"),
            }
        }
        Ok(None)
    }

    /// `GET /changes/<id>`
    pub(super) async fn one(&self, id: &str) -> Result<Reply, ApiError> {
        let not_found = || ApiError::new(Code::NotFound, format!("there is no change {id:?}"));
        let canonical = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
        let id = id.parse().ok().filter(|_| canonical).map(ChangeId).ok_or_else(not_found)?;
        loop {
            let (segment, n) = {
                let history = self.node.history();
                if id < history.first() {
                    return Err(purged(history.first()));
                }
                let one = |first: ChangeId, batch: &dyn OneOf| {
                    Ok(Reply::Now(Response::json(200, batch.one(first, id))))
                };
                match history.locate(id) {
                    None => return Err(not_found()),
                    Some(Located::Recent(first, batch)) => return one(first, batch),
                    Some(Located::Sealed(segment, n)) => {
                        if segment.map().is_resident(segment.range(n)) {
                            let (first, batch) =
                                segment.batch(n).map_err(|error| damaged(&error))?;
                            return one(first, &batch);
                        }
                        (Arc::clone(segment), n)
                    }
                }
            };
            load(&segment, n).await?;
        }
    }
}

/// A batch in memory or on disk, as one change of it is answered.
trait OneOf {
    fn one(&self, first: ChangeId, id: ChangeId) -> Bytes;
}

impl<B: AsRef<[u8]>> OneOf for Batch<B> {
    fn one(&self, first: ChangeId, id: ChangeId) -> Bytes {
        answer::change(id, self.at(), self.change((id.0 - first.0) as u32).0)
    }
}

/// A list under construction.
struct Reader<'q> {
    list: ListAnswer,
    tags: &'q TagFilter,
    limit: usize,
    /// The last change looked at.
    examined: ChangeId,
    /// Changes that may still be looked at.
    budget: usize,
}

impl Reader<'_> {
    fn is_full(&self) -> bool {
        self.list.changes() >= self.limit || self.budget == 0
    }

    /// Adds what belongs to the answer of a batch that starts with `first` and
    /// holds the change after `examined`.
    fn take<B: AsRef<[u8]>>(&mut self, first: ChangeId, batch: &Batch<B>) {
        let skip = (self.examined.next().0 - first.0) as u32;
        for n in skip..batch.changes() {
            if self.is_full() {
                return;
            }
            let id = ChangeId(first.0 + u64::from(n));
            let (tail, tags) = batch.change(n);
            let wanted = self.tags.is_empty() || self.tags.passes(tags);
            if wanted && !self.list.push(id, batch.at(), tail) {
                self.budget = 0;
                return;
            }
            self.examined = id;
            self.budget -= 1;
        }
    }
}

/// Brings a batch of a sealed segment, and what follows it, into memory.
async fn load(segment: &Arc<SealedSegment>, n: usize) -> Result<(), ApiError> {
    let range = segment.range(n);
    let map = Arc::clone(segment.map());
    let ahead = range.start..map.len().min(range.end.max(range.start + READ_AHEAD_BYTES));
    let loaded = cores::off_core(move || map.populate(ahead)).await;
    loaded.map_err(|error| damaged(&error))
}

fn damaged(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "cannot read a stored change");
    ApiError::new(Code::Internal, format!("a stored change cannot be read: {error}"))
}
