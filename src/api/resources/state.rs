//! The state of a tenant or a collection: `/tenants/T/state`, `/collections/C/state`.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::{
    api::{
        context::Context,
        error::{ApiError, excerpt},
        read::{
            question::{Lists, Question, Start},
            stream::{ChangeStream, Lines, StreamKind, Walk},
        },
        reply::Reply,
        request::{
            ReadQuery,
            accept::{self, Media},
            parameter::invalid,
            path::CollectionPath,
            tag_filter::TagFilter,
        },
    },
    base::{ids::ChangeId, limits::READ_LIMIT_DEFAULT, names::parse_uuid},
    http::Request,
    state::{ListId, index::Slice},
};

/// The forms of a state.
const FORMS: [Media; 3] = [Media::Ndjson, Media::PlainNdjson, Media::Jsonl];

/// `GET /tenants/T/state`
pub(in crate::api) fn of_tenant(
    api: &Context,
    request: &Request,
    text: &str,
    query: &ReadQuery<'_>,
    now: Instant,
) -> Result<Reply, ApiError> {
    let tenant = api.tenant(text)?;
    // Before its collections are listed: whoever follows is told of those that come later.
    let since = api.node.last();
    let (mut collections, mut after) = (Vec::new(), None);
    loop {
        let Slice { entries, next } = tenant.collections_after(after.as_deref(), usize::MAX);
        collections.extend(entries.iter().map(|collection| collection.id));
        after = next;
        if after.is_none() {
            break;
        }
    }
    stream(request, ListId::Tenant(tenant.id), (since, collections), query, now)
}

/// `GET /collections/C/state`
pub(in crate::api) fn of_collection(
    api: &Context,
    request: &Request,
    path: CollectionPath<'_>,
    query: &ReadQuery<'_>,
    now: Instant,
) -> Result<Reply, ApiError> {
    let (id, since) = (api.collection(path)?.id, api.node.last());
    stream(request, ListId::Collection(id), (since, vec![id]), query, now)
}

fn stream(
    request: &Request,
    list: ListId,
    (since, collections): (ChangeId, Vec<Uuid>),
    query: &ReadQuery<'_>,
    now: Instant,
) -> Result<Reply, ApiError> {
    let media = accept::choose(request, &FORMS)?;
    let after = query.after.map(read_after).transpose()?;
    let question = Question {
        lists: Lists::One(list),
        start: Start::Oldest,
        later_than: None,
        limit: READ_LIMIT_DEFAULT,
        tags: TagFilter::default(),
        min_id: ChangeId::ZERO,
        block: false,
        caching: None,
    };
    let block = query.follow.then_some(Duration::MAX);
    let lines = Lines { limit: None, block, cursors: query.cursors, from_now: false };
    let stream = ChangeStream::new(question, StreamKind::Lines(lines), media, request, now);
    let walk = Walk::new(since, collections, after, query.follow);
    Ok(Reply::Stream(Box::new(stream.with_state(walk))))
}

/// A collection and a key of it, as `<collection>/<key>`.
fn read_after(value: &str) -> Result<(Uuid, &str), ApiError> {
    let parts = value.split_once('/');
    let parts = parts.and_then(|(collection, key)| Some((parse_uuid(collection)?, key)));
    parts.ok_or_else(|| {
        let detail = format!(
            "parameter \"after\" is {:?}; it must be <collection>/<key>, the collection by its UUID",
            excerpt(value)
        );
        invalid("after", detail)
    })
}
