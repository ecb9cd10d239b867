//! The state of a tenant or a collection: `/tenants/T/state`, `/collections/C/state`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    api::{
        context::Context,
        error::{ApiError, excerpt},
        growing::Growing,
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
    io::cores,
    state::{
        ListId,
        index::{Slice, Tenant},
    },
};

/// The forms of a state.
const FORMS: [Media; 3] = [Media::Ndjson, Media::PlainNdjson, Media::Jsonl];

/// The memory of a collection that is still to be sent, in bytes.
const COLLECTION_BYTES: usize = 32;

/// `GET /tenants/T/state`
pub(in crate::api) async fn of_tenant(
    api: &Context,
    request: &Request,
    text: &str,
    query: &ReadQuery<'_>,
    now: Instant,
) -> Result<Reply, ApiError> {
    let tenant = api.tenant(text)?;
    let asked = Asked::of(request, query)?;
    // Before its collections are listed: whoever follows is told of those that come later.
    let since = api.node.last();
    let mut room = Growing::new(&api.held);
    let left =
        collections(&tenant, asked.after.map(|(collection, _)| collection), &mut room).await?;
    let walk = Walk::new(since, left, asked.after, query.follow).holding(room);
    Ok(stream(request, ListId::Tenant(tenant.id), walk, asked.media, query, now))
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
    let asked = Asked::of(request, query)?;
    let walk = Walk::new(since, BTreeSet::from([id]), asked.after, query.follow);
    Ok(stream(request, ListId::Collection(id), walk, asked.media, query, now))
}

/// What a request for a state says of it.
struct Asked<'r> {
    media: Media,
    /// The last key that was sent to whoever goes on from there, and its collection.
    after: Option<(Uuid, &'r str)>,
}

impl<'r> Asked<'r> {
    fn of(request: &Request, query: &ReadQuery<'r>) -> Result<Self, ApiError> {
        let media = accept::choose(request, &FORMS)?;
        Ok(Self { media, after: query.after.map(read_after).transpose()? })
    }
}

/// The collections of a tenant, from one on: a part at a time, since there may be millions.
async fn collections(
    tenant: &Tenant,
    from: Option<Uuid>,
    room: &mut Growing,
) -> Result<BTreeSet<Uuid>, ApiError> {
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let Slice { entries, next } = tenant.collections_after(after.as_deref(), usize::MAX);
        let ids = entries.iter().map(|collection| collection.id);
        found.extend(ids.filter(|id| from.is_none_or(|from| *id >= from)));
        room.hold(found.len() * COLLECTION_BYTES)?;
        after = next;
        if after.is_none() {
            return Ok(found);
        }
        cores::yield_if_needed().await;
    }
}

fn stream(
    request: &Request,
    list: ListId,
    walk: Walk,
    media: Media,
    query: &ReadQuery<'_>,
    now: Instant,
) -> Reply {
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
    Reply::Stream(stream.with_state(walk).into())
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

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc, sync::Arc};

    use super::*;
    use crate::{
        api::error::Code,
        base::held::{HeldByCore, HeldByNode},
        io::simulated::executor::run,
        state::testing::tenant_of_collections,
    };

    const TENANT: Uuid = Uuid::from_u128(1);

    fn room(bytes: usize) -> Growing {
        Growing::new(&Rc::new(HeldByCore::new(Arc::new(HeldByNode::new(bytes)))))
    }

    #[test]
    fn many_collections_are_listed_while_others_have_their_turns() {
        run(1, async {
            let tenant = tenant_of_collections(TENANT, (2..=20_001).map(Uuid::from_u128));
            let turns = Rc::new(Cell::new(0));
            let others = Rc::clone(&turns);
            cores::spawn(async move {
                loop {
                    others.set(others.get() + 1);
                    cores::yield_now().await;
                }
            });
            let all = collections(&tenant, None, &mut room(1 << 30)).await.ok().unwrap();
            assert!(all.into_iter().eq((2..=20_001).map(Uuid::from_u128)));
            assert!(turns.get() > 3, "{} turns", turns.get());
            let from = Some(Uuid::from_u128(20_000));
            let rest = collections(&tenant, from, &mut room(1 << 30)).await.ok().unwrap();
            assert_eq!(rest.len(), 2);
        });
    }

    #[test]
    fn more_collections_than_there_is_room_for_are_refused() {
        run(2, async {
            let tenant = tenant_of_collections(TENANT, (2..=20_001).map(Uuid::from_u128));
            let core = Rc::new(HeldByCore::new(Arc::new(HeldByNode::new(1 << 20))));
            let mut others = Growing::new(&core);
            others.hold(700 << 10).ok().unwrap();
            let refused = collections(&tenant, None, &mut Growing::new(&core)).await;
            assert!(refused.is_err_and(|error| error.code == Code::Overloaded));
        });
    }
}
