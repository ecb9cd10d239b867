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
    Api, answer, change_body, content_type,
    error::{ApiError, Code},
    page_reader::{Cold, PageReader, Resident},
    query::{ChangesQuery, Since},
    reply::{Parked, Reply, Write, purged, refused},
    tag_filter::TagFilter,
};
use crate::{
    base::{batch::Batch, ids::ChangeId, limits::MIN_ID_WAIT},
    http::{Request, Response},
    io::cores,
    state::Located,
};

/// Bodies above this size are parsed off the core: about a millisecond's work.
const INLINE_PARSE_BYTES: usize = 256 << 10;
/// Answers up to this size are kept for the next one with the same question.
const SHARED_ANSWER_BYTES: usize = 1 << 20;

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
        let since = ChangeId(question.since.0.max(first.0 - 1));
        let mut reader = PageReader::new(since, last, question.limit, &question.tags);
        while !reader.is_done() {
            let some = reader.read_some(&self.node.history(), &mut self.verified.borrow_mut());
            if let Some(cold) = some.map_err(|error| damaged(&error))? {
                reader.loaded(self.load(cold).await?);
            }
            cores::yield_if_needed().await;
        }
        // A `since` beyond the newest change stays what it is.
        let examined = reader.examined().max(question.since);
        let at_start = question.since < first || last < first;
        let at_end = examined >= last;
        let list = reader.into_list();
        let changes = list.changes();
        let body = list.finish(at_start, at_end, examined);
        Ok(Page { body, changes, last: examined, at_end })
    }

    /// Brings a batch into memory. What comes back from the disk is checked
    /// anew.
    async fn load(&self, cold: Cold) -> Result<Resident, ApiError> {
        self.verified.borrow_mut().forget(cold.segment.sequence);
        cold.load().await.map_err(|error| damaged(&error))
    }

    /// `GET /changes/<id>`
    pub(super) async fn one(&self, id: &str) -> Result<Reply, ApiError> {
        let not_found = || ApiError::new(Code::NotFound, format!("there is no change {id:?}"));
        let canonical = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
        let id = id.parse().ok().filter(|_| canonical).map(ChangeId).ok_or_else(not_found)?;
        let mut loaded = false;
        loop {
            let cold = {
                let history = self.node.history();
                if id < history.first() {
                    return Err(purged(history.first()));
                }
                match history.locate(id) {
                    None => return Err(not_found()),
                    Some(Located::Recent(first, batch)) => return Ok(one(id, first, batch)),
                    Some(Located::Sealed(segment, n)) => {
                        if loaded || Resident::find(segment, n).is_some() {
                            let mut verified = self.verified.borrow_mut();
                            let read =
                                verified.batch(segment, n).map_err(|error| damaged(&error))?;
                            return Ok(one(id, read.first, &read.batch));
                        }
                        Cold { segment: Arc::clone(segment), n }
                    }
                }
            };
            self.load(cold).await?;
            loaded = true;
        }
    }
}

fn one<B: AsRef<[u8]>>(id: ChangeId, first: ChangeId, batch: &Batch<B>) -> Reply {
    let (tail, _) = batch.change((id.0 - first.0) as u32);
    Reply::Now(Response::json(200, answer::change(id, batch.at(), tail)))
}

fn damaged(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "cannot read a stored change");
    ApiError::new(Code::Internal, format!("a stored change cannot be read: {error}"))
}
