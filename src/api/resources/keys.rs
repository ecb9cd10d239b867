//! The keys of a collection: `…/keys` and `…/keys/K`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::collections::members_of;
use crate::{
    api::{
        body::{Members, Scope},
        context::Context,
        error::{ApiError, Code},
        read::{
            key, moved,
            question::{KeyQuestion, MovedQuestion},
        },
        reply::Reply,
        request::{
            ReadQuery, conditions, idempotency,
            path::{CollectionPath, collection},
        },
        write::{self, AnswerKind},
    },
    base::{
        batch::SuffixMembers,
        limits::{KEY_BYTES_MAX, READ_LIMIT_DEFAULT},
        names::is_key,
    },
    http::Request,
    state::index::Collection,
};

/// `POST …/keys`
pub(in crate::api) async fn post(
    api: &Context,
    request: &Request,
    path: CollectionPath<'_>,
) -> Result<Reply, ApiError> {
    match collection(api.visible(), path) {
        Ok(collection) => {
            api.bill(&collection.meter)?;
            let scope = scope(&collection, Members::Item, None);
            write::append(api, request, scope, AnswerKind::Key).await
        }
        Err(error) => write::repeated_or(api, request, AnswerKind::Key, error),
    }
}

/// `PUT …/keys/K`
pub(in crate::api) async fn put(
    api: &Context,
    request: &Request,
    path: CollectionPath<'_>,
    key: &str,
) -> Result<Reply, ApiError> {
    match collection(api.visible(), path) {
        Ok(collection) => {
            api.bill(&collection.meter)?;
            check_key(key)?;
            let scope = scope(&collection, Members::Value, Some(key));
            write::append(api, request, scope, AnswerKind::Key).await
        }
        Err(error) => write::repeated_or(api, request, AnswerKind::Key, error),
    }
}

/// `DELETE …/keys/K`
pub(in crate::api) fn delete(
    api: &Context,
    request: &Request,
    path: CollectionPath<'_>,
    key: &str,
) -> Result<Reply, ApiError> {
    let conditions = conditions::of_write(request)?;
    let asked = idempotency::of_small(request)?;
    match collection(api.visible(), path) {
        Ok(collection) => {
            api.bill(&collection.meter)?;
            check_key(key)?;
            let members = SuffixMembers { key: Some(key), ..members_of(&collection) };
            let mut reply = write::delete(api, members, conditions, asked)?;
            if let Reply::Write(write) = &mut reply {
                write.weak = conditions::has_weak_match(request);
            }
            Ok(reply)
        }
        Err(error) => write::repeated(api, asked.as_ref(), &AnswerKind::Deletion).ok_or(error),
    }
}

/// `GET …/keys/K`
pub(in crate::api) async fn get(
    api: &Context,
    request: &Request,
    path: CollectionPath<'_>,
    key: &str,
    query: &ReadQuery<'_>,
    deadline: Instant,
    now: Instant,
) -> Result<Reply, ApiError> {
    check_key(key)?;
    let (wanted, known) = conditions::of_read(request)?;
    let question = KeyQuestion {
        collection: api.collection(path)?.id,
        key: key.into(),
        since: query.since,
        block: query.block.is_some_and(|block| block > Duration::ZERO),
        waits_if_absent: query.waits_if_absent,
        wanted,
        known,
    };
    key::ask(api, question, deadline, now).await
}

/// `GET …/keys`
pub(in crate::api) async fn list(
    api: &Context,
    path: CollectionPath<'_>,
    query: &ReadQuery<'_>,
    deadline: Instant,
    now: Instant,
) -> Result<Reply, ApiError> {
    let collection = api.collection(path)?;
    if let Some(since) = query.since {
        let question = MovedQuestion {
            collection: collection.id,
            prefix: query.prefix.unwrap_or_default().into(),
            since,
            limit: query.limit.unwrap_or(READ_LIMIT_DEFAULT),
            block: query.block.is_some_and(|block| block > Duration::ZERO),
        };
        return moved::ask(api, question, deadline, now).await;
    }
    key::list(api, &collection, query).await
}

fn scope(collection: &Arc<Collection>, members: Members, key: Option<&str>) -> Scope {
    Scope {
        members,
        tenant: Some(collection.tenant),
        collection: Some(collection.id),
        key: key.map(Box::from),
    }
}

/// Refuses a key of a path that can be none.
fn check_key(key: &str) -> Result<(), ApiError> {
    if is_key(key) {
        return Ok(());
    }
    let detail = format!("a key is 1 to {KEY_BYTES_MAX} bytes long, not {}", key.len());
    Err(ApiError::new(Code::InvalidName, detail))
}
