//! Lists of changes, and one change by its id: `/changes`, `/changes/<id>`,
//! `/tenants/T/changes`, `/collections/C/changes`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    api::{
        body::{Members, Scope},
        context::Context,
        error::{ApiError, Code, excerpt, purged},
        read::{
            caching::Caching,
            change, list, moment,
            question::{Lists, Question, Start},
            stream::{self, ChangeStream, StreamKind, no_last_event_id},
        },
        reply::Reply,
        request::{
            ChangesQuery, ListName, Since,
            accept::{self, Media},
            conditions, idempotency,
            parameter::invalid,
            path,
        },
        write::{self, AnswerKind},
    },
    base::{
        batch::{Action, tenant_of},
        ids::{ChangeId, Timestamp},
        limits::{MIN_ID_WAIT, READ_LIMIT_DEFAULT},
        tokens,
    },
    http::{Request, Response},
    state::{ListId, index::Meter},
};

/// `POST /changes` and `POST /tenants/T/changes`
pub(in crate::api) async fn post(
    api: &Context,
    request: &Request,
    tenant: Option<&str>,
) -> Result<Reply, ApiError> {
    let tenant = match tenant.map(|text| path::tenant(api.visible(), text)) {
        None => None,
        Some(Ok(tenant)) => {
            api.bill(&tenant.meter)?;
            Some(tenant.id)
        }
        Some(Err(error)) => return write::repeated_or(api, request, AnswerKind::Change, error),
    };
    let scope = Scope { members: Members::Change, tenant, ..Scope::default() };
    write::append(api, request, scope, AnswerKind::Change).await
}

/// `GET` of a list of changes: a page, or a stream.
pub(in crate::api) async fn get_list(
    api: &Context,
    request: &Request,
    lists: Lists,
    query: ChangesQuery<'_>,
    caching: Option<Box<Caching>>,
    now: Instant,
) -> Result<Reply, ApiError> {
    let media = accept::choose(request, &accept::OF_CHANGES)?;
    let kind = match media {
        Media::Events => Some(StreamKind::events(request, &query)?),
        Media::Ndjson | Media::PlainNdjson | Media::Jsonl => Some(StreamKind::lines(&query)?),
        Media::Json => {
            no_last_event_id(&query)?;
            None
        }
        Media::Octets => unreachable!("no list is offered in that form"),
    };
    let block = query.block.unwrap_or(Duration::ZERO);
    let wait = match query.min_id {
        Some(_) => query.block.unwrap_or(MIN_ID_WAIT),
        None if kind.is_some() => MIN_ID_WAIT,
        None => block,
    };
    let (start, later_than) = match query.since {
        Since::Id(ChangeId::ZERO) => (Start::Oldest, None),
        Since::Id(id) => (Start::After(id), None),
        Since::Now => (Start::After(api.node.last()), None),
        Since::Later(at) => Box::pin(start_after(api, at)).await?,
        Since::Before(_) if kind.is_some() || block > Duration::ZERO => {
            let detail = "parameter \"before\" is of pages of what is there: neither streams nor waits have it";
            return Err(invalid("before", detail.into()));
        }
        Since::Before(id) => (Start::Before(id), None),
    };
    let caching = if kind.is_none() { caching } else { None };
    let question = Question {
        lists,
        start,
        later_than,
        limit: query.limit.unwrap_or(READ_LIMIT_DEFAULT),
        tags: query.tags,
        min_id: query.min_id.unwrap_or_default(),
        block: block > Duration::ZERO,
        caching,
    };
    match kind {
        None => list::ask(api, question, now + wait, now).await,
        Some(kind) => {
            let stream = ChangeStream::new(question, kind, media, request, now);
            stream::check_held(api, &stream)?;
            stream::open(api, stream, now + wait, now)
        }
    }
}

/// Where a list starts whose changes are stamped after `at`, and that moment where none of them
/// is here yet.
async fn start_after(api: &Context, at: Timestamp) -> Result<(Start, Option<Timestamp>), ApiError> {
    if at == Timestamp::default() {
        return Ok((Start::Oldest, None));
    }
    let (first, last) = api.bounds();
    let before = moment::last_upto(api, at, first, last).await?;
    if before < first && first > ChangeId(1) {
        // Of those that are gone, some may be later.
        return Err(purged(first));
    }
    let start = if before == ChangeId::ZERO { Start::Oldest } else { Start::After(before) };
    Ok((start, (before == last).then_some(at)))
}

/// The tenants and collections whose changes are asked for, each once. If all are of one tenant, it is billed.
///
/// # Errors
/// [`Code::NotFound`] naming the first that is not there.
pub(in crate::api) fn lists(api: &Context, names: &[ListName<'_>]) -> Result<Lists, ApiError> {
    let mut lists = Vec::with_capacity(names.len());
    let mut meters: Vec<Arc<Meter>> = Vec::new();
    for name in names {
        let (list, meter) = match *name {
            ListName::Tenant(text) => {
                let tenant = path::tenant(api.visible(), text)?;
                (ListId::Tenant(tenant.id), Arc::clone(&tenant.meter))
            }
            ListName::Collection(text) => {
                let path = path::CollectionPath::Id(text);
                let collection = path::collection(api.visible(), path)?;
                (ListId::Collection(collection.id), Arc::clone(&collection.meter))
            }
        };
        if !lists.contains(&list) {
            lists.push(list);
        }
        if !meters.last().is_some_and(|last| Arc::ptr_eq(last, &meter)) {
            meters.push(meter);
        }
    }
    if let [meter] = &*meters {
        api.bill(meter)?;
    }
    Ok(match *lists {
        [] => Lists::One(ListId::All),
        [list] => Lists::One(list),
        _ => Lists::Any(lists.into()),
    })
}

/// `POST /changes/<id>/redact`
pub(in crate::api) async fn redact(
    api: &Context,
    request: &Request,
    id: &str,
) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    if !matches!(request.body().trim_ascii(), b"" | b"{}") {
        let detail = "a redaction has no members: its body is empty, or {}";
        return Err(ApiError::new(Code::UnknownMember, detail));
    }
    let asked = idempotency::of_small(request)?;
    let id = parsed(id)?;
    api.node.catch_up_with_index().await;
    if api.principal.is_limited() {
        // Others are not there for who asks.
        get(api, &id.to_string()).await?;
    }
    // Other nodes may hold what is purged here, so it is ordered all the same.
    let first = api.node.history().first();
    let purged = (id < first && api.node.history().locate(id).is_none()).then_some(first);
    let room = api.principal.key_room();
    write::propose(api, Action::Redact(id), room, asked, AnswerKind::Redaction { purged })
}

/// The id in a path.
fn parsed(id: &str) -> Result<ChangeId, ApiError> {
    let canonical = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
    let not_found =
        || ApiError::new(Code::NotFound, format!("there is no change {:?}", excerpt(id)));
    id.parse().ok().filter(|_| canonical).map(ChangeId).ok_or_else(not_found)
}

/// `GET /changes/<id>`
pub(in crate::api) async fn get(api: &Context, id: &str) -> Result<Reply, ApiError> {
    let id = parsed(id)?;
    // One that another core shows is here as well.
    api.node.catch_up_with_index().await;
    let (first, last) = api.bounds();
    if id > last {
        return Err(ApiError::new(Code::NotFound, format!("there is no change {id}")));
    }
    if id < first {
        return Err(purged(first));
    }
    match change::change(api, id).await? {
        Some(change) if !concerns(api, &change) => {
            Err(ApiError::new(Code::NotFound, format!("there is no change {id}")))
        }
        Some(change) => {
            let tenant = tenant_of(&change).and_then(|tenant| api.catalog().tenant(tenant));
            tenant.map_or(Ok(()), |tenant| api.bill(&tenant.meter))?;
            Ok(Reply::Now(Response::json(200, change)))
        }
        None => Err(purged(api.node.history().first())),
    }
}

/// What a change belongs to.
#[derive(Deserialize)]
struct Place {
    tenant: Option<Uuid>,
    collection: Option<Uuid>,
}

/// Whether a change, as it is sent, concerns who asks.
fn concerns(api: &Context, change: &[u8]) -> bool {
    if !api.principal.is_limited() {
        return true;
    }
    let Ok(place) = serde_json::from_slice::<Place>(change) else { return false };
    let scope = match (place.tenant, place.collection) {
        (Some(tenant), Some(collection)) => tokens::Scope::Collection { tenant, collection },
        (Some(tenant), None) => tokens::Scope::Tenant(tenant),
        (None, _) => tokens::Scope::All,
    };
    api.principal.covers(scope)
}
