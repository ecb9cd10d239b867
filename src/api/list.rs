//! Reading a list of changes, the whole one or a part: a page at once, or parked
//! until there is something to answer with.

use std::{
    borrow::Cow,
    cell::RefCell,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Api,
    accept::{self, Media},
    answer::{Frame, ListAnswer},
    error::{ApiError, Code},
    page_reader::{Cold, PageReader, Resident, Source},
    query::{ChangesQuery, Since},
    reply::{Asked, Parked, Reply, purged},
    stream::{Stream, StreamKind, no_last_event_id},
    tag_filter::TagFilter,
};
use crate::{
    base::{
        ids::ChangeId,
        limits::{MIN_ID_WAIT, READ_BYTES_MAX, READ_EXPECTED_FILTERED, READ_LIMIT_DEFAULT},
    },
    feed::Wait,
    http::{Request, Response},
    io::cores,
    state::{Cursor, ListId},
};

/// Answers up to this size are kept for the next one with the same question.
const SHARED_ANSWER_BYTES: usize = 1 << 20;

/// Where in a list a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the oldest change held.
    Oldest,
    /// After this change; none that follows it may be missing.
    After(ChangeId),
}

impl Start {
    /// The id that it comes after.
    pub(super) fn id(self) -> ChangeId {
        match self {
            Self::Oldest => ChangeId::ZERO,
            Self::After(id) => id,
        }
    }

    /// Whether changes that follow it are gone, `first` being the oldest held.
    pub(super) fn is_purged(self, first: ChangeId) -> bool {
        matches!(self, Self::After(id) if id.0 < first.0 - 1)
    }
}

/// A read of a list, as it is asked again after each wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) list: ListId,
    pub(super) start: Start,
    pub(super) limit: usize,
    pub(super) tags: TagFilter,
    /// Answer from a state that holds this id.
    pub(super) min_id: ChangeId,
    /// Whether to wait for a change to answer with.
    pub(super) block: bool,
}

/// The newest answer, for the many who ask the same.
#[derive(Default)]
pub(super) struct SharedAnswer(RefCell<Option<(Question, Held, Page)>>);

/// The oldest and the newest change held when an answer was made.
type Held = (ChangeId, ChangeId);

/// A rendered answer.
#[derive(Clone)]
struct Page {
    body: Bytes,
    changes: usize,
    /// The last id examined.
    last: ChangeId,
    at_end: bool,
}

/// What was read of a list.
pub(super) struct Part {
    pub(super) list: ListAnswer,
    /// The last id examined.
    pub(super) examined: ChangeId,
    pub(super) at_start: bool,
    pub(super) at_end: bool,
}

impl Api {
    /// `GET` of a list of changes: a page, or a stream.
    pub(super) async fn list(
        &self,
        request: &Request,
        list: ListId,
        now: Instant,
    ) -> Result<Reply, ApiError> {
        let pairs = request.query().map(|(name, value)| (Cow::from(name), Cow::from(value)));
        // On its only node, everything acknowledged is applied: `strong` is
        // what `local` is.
        let query = ChangesQuery::parse(pairs)?;
        let media = accept::choose(request, &accept::OF_CHANGES)?;
        let block = query.block.unwrap_or(Duration::ZERO);
        let wait = match query.min_id {
            Some(_) => query.block.unwrap_or(MIN_ID_WAIT),
            None => block,
        };
        let question = Question {
            list,
            start: match query.since {
                Since::Id(ChangeId::ZERO) => Start::Oldest,
                Since::Id(id) => Start::After(id),
                Since::Now => Start::After(self.node.last()),
            },
            limit: query.limit.unwrap_or(READ_LIMIT_DEFAULT),
            tags: query.tags.clone(),
            min_id: query.min_id.unwrap_or_default(),
            block: block > Duration::ZERO,
        };
        let kind = match media {
            Media::Events => StreamKind::events(request, &query)?,
            Media::Ndjson | Media::PlainNdjson | Media::Jsonl => StreamKind::lines(&query)?,
            Media::Json => {
                no_last_event_id(&query)?;
                return self.ask(question, now + wait, now).await;
            }
        };
        let stream = Stream::new(question, kind, media, request, now);
        let wait = query.block.filter(|_| query.min_id.is_some()).unwrap_or(MIN_ID_WAIT);
        self.open_stream(stream, now + wait, now)
    }

    /// Answers a question, or parks it.
    pub(super) async fn ask(
        &self,
        mut question: Question,
        deadline: Instant,
        now: Instant,
    ) -> Result<Reply, ApiError> {
        let may_wait = now < deadline && !self.node.is_stopping();
        if let Some(wait) = self.wait_for(question.min_id, may_wait)? {
            return Ok(Reply::Park(Parked { asked: Asked::List(question), wait, deadline }));
        }
        let page = self.page(&question).await?;
        if page.changes == 0 && page.at_end && question.block && may_wait {
            // What was examined need not be examined again.
            question.start = Start::After(page.last);
            let wait = self.node.beyond(question.list, page.last);
            return Ok(Reply::Park(Parked { asked: Asked::Rest(question), wait, deadline }));
        }
        Ok(Reply::Now(negotiated(Response::json(200, page.body))))
    }

    async fn page(&self, question: &Question) -> Result<Page, ApiError> {
        // A list that is gone is not answered from memory.
        let cursor = self.cursor(question)?;
        self.node.settle().await;
        let at = self.held();
        if let Some((asked, then, page)) = &*self.shared.0.borrow()
            && asked == question
            && *then == at
        {
            return Ok(page.clone());
        }
        let (frame, all) = (Frame::Changes, ChangeId(u64::MAX));
        let part = self.read(question, cursor, frame, all, READ_BYTES_MAX).await?;
        let changes = part.list.changes();
        let body = part.list.finish(part.at_start, part.at_end, part.examined);
        let page = Page { body, changes, last: part.examined, at_end: part.at_end };
        let shared =
            (page.body.len() <= SHARED_ANSWER_BYTES).then(|| (question.clone(), at, page.clone()));
        *self.shared.0.borrow_mut() = shared;
        Ok(page)
    }

    /// The oldest and the newest change held.
    pub(super) fn held(&self) -> Held {
        let history = self.node.history();
        (history.first(), history.last())
    }

    /// What finds the changes that are asked for; nothing when all are.
    ///
    /// # Errors
    /// [`Code::NotFound`] when the tenant or collection is gone.
    pub(super) fn cursor(&self, question: &Question) -> Result<Option<Cursor>, ApiError> {
        let index = self.node.index();
        let tags: Vec<u64> = question.tags.spellings().map(|tag| index.tag(tag)).collect();
        let gone = |what| ApiError::new(Code::NotFound, format!("the {what} does not exist"));
        Ok(match question.list {
            ListId::All if tags.is_empty() => None,
            ListId::All => Some(Cursor::tagged(&tags)),
            ListId::Tenant(id) => {
                let tenant = index.catalog.tenant(id).ok_or_else(|| gone("tenant"))?;
                Some(Cursor::tenant(tenant, &tags))
            }
            ListId::Collection(id) => {
                let collection = index.catalog.collection(id).ok_or_else(|| gone("collection"))?;
                Some(Cursor::collection(collection, &tags))
            }
        })
    }

    /// Reads changes up to `until` into an answer in that frame, as many as fit
    /// `bytes_max`.
    pub(super) async fn read(
        &self,
        question: &Question,
        cursor: Option<Cursor>,
        frame: Frame,
        until: ChangeId,
        bytes_max: usize,
    ) -> Result<Part, ApiError> {
        let (first, last) = self.held();
        let last = last.min(until);
        if question.start.is_purged(first) {
            return Err(purged(first));
        }
        let asked = question.start.id();
        let at_start = match (question.list, &cursor) {
            (ListId::All, _) | (_, None) => asked < first || last < first,
            (_, Some(cursor)) => cursor.first(first).is_none_or(|oldest| oldest > asked),
        };
        let since = ChangeId(asked.0.max(first.0 - 1));
        let there = usize::try_from(last.0.saturating_sub(since.0)).unwrap_or(usize::MAX);
        let filtered = if cursor.is_none() { usize::MAX } else { READ_EXPECTED_FILTERED };
        let expected = question.limit.min(there).min(filtered);
        let list = ListAnswer::with_bytes_max(frame, expected, bytes_max);
        let (limit, tags) = (question.limit, &question.tags);
        let mut reader = PageReader::new(list, since, last, limit, tags, cursor);
        let mut rendered = self.rendered();
        while !reader.is_done() {
            let some = reader.read_some(&mut Source {
                history: &self.node.history(),
                verified: &mut self.verified.borrow_mut(),
                index: self.node.index(),
            });
            if let Some(cold) = some.map_err(|error| damaged(&error))? {
                reader.loaded(self.load(cold).await?);
            }
            rendered.hold(reader.held_bytes())?;
            cores::yield_if_needed().await;
        }
        reader.look_on(self.node.index());
        // A `since` beyond the newest change stays what it is.
        let examined = reader.examined().max(asked);
        let at_end = examined >= last;
        Ok(Part { list: reader.into_list(), examined, at_start, at_end })
    }

    /// What to wait for until this node holds the change `min_id`; nothing when
    /// it does.
    ///
    /// # Errors
    /// [`Code::Behind`] when it does not, and may not be waited for.
    pub(super) fn wait_for(
        &self,
        min_id: ChangeId,
        may_wait: bool,
    ) -> Result<Option<Wait>, ApiError> {
        let last = self.node.last();
        if min_id <= last {
            return Ok(None);
        }
        if may_wait {
            return Ok(Some(self.node.beyond(ListId::All, ChangeId(min_id.0 - 1))));
        }
        let detail = format!("this node holds changes up to {last}, not {min_id}");
        Err(ApiError::new(Code::Behind, detail))
    }

    /// Brings a batch into memory. What comes back from the disk is checked
    /// anew.
    pub(super) async fn load(&self, cold: Cold) -> Result<Resident, ApiError> {
        self.verified.borrow_mut().forget(cold.sequence);
        cold.load().await.map_err(|error| damaged(&error))
    }
}

/// An answer about a list, which has another form for who accepts another.
pub(super) fn negotiated(response: Response) -> Response {
    response.with_header("Vary", "Accept")
}

pub(super) fn damaged(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "cannot read a stored change");
    ApiError::new(Code::Internal, format!("a stored change cannot be read: {error}"))
}
