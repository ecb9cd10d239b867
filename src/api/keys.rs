//! The keys of a collection: `…/keys` and `…/keys/K`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    Api,
    answer::{Frame, ListAnswer},
    change_body::{Members, Scope},
    collections::{CollectionPath, members_of},
    conditions,
    error::{ApiError, Code, excerpt},
    page_reader::{Places, Stored},
    query::ReadQuery,
    reply::{Asked, Parked, Reply},
    written::Written,
};
use crate::{
    base::{
        batch::{Conditions, TailMembers},
        ids::ChangeId,
        limits::{KEY_BYTES_MAX, READ_EXPECTED_FILTERED, READ_LIMIT_DEFAULT},
        names::is_key,
    },
    http::{Request, Response},
    io::cores,
    state::index::Collection,
};

/// A read of a key, as it is asked again after each wait.
pub(super) struct KeyQuestion {
    collection: Uuid,
    key: Box<str>,
    /// Only a version after this one is of interest.
    since: Option<ChangeId>,
    /// Whether to wait for one.
    block: bool,
    /// `If-Match`
    wanted: Conditions,
    /// `If-None-Match`: versions that the client has.
    known: Conditions,
}

impl Api {
    /// `POST …/keys`
    pub(super) async fn post_keys(
        &self,
        request: &Request,
        path: CollectionPath<'_>,
    ) -> Result<Reply, ApiError> {
        match self.collection(path) {
            Ok(collection) => {
                let scope = scope(&collection, Members::Item, None);
                self.append(request, scope, Written::Key).await
            }
            Err(error) => self.repeated_or(request, Written::Key, error),
        }
    }

    /// `PUT …/keys/K`
    pub(super) async fn put_key(
        &self,
        request: &Request,
        path: CollectionPath<'_>,
        key: &str,
    ) -> Result<Reply, ApiError> {
        match self.collection(path) {
            Ok(collection) => {
                check_key(key)?;
                let scope = scope(&collection, Members::Value, Some(key));
                self.append(request, scope, Written::Key).await
            }
            Err(error) => self.repeated_or(request, Written::Key, error),
        }
    }

    /// `DELETE …/keys/K`
    pub(super) fn delete_key(
        &self,
        request: &Request,
        path: CollectionPath<'_>,
        key: &str,
    ) -> Result<Reply, ApiError> {
        let conditions = conditions::of_write(request)?;
        let asked = self.idempotency(request)?;
        match self.collection(path) {
            Ok(collection) => {
                check_key(key)?;
                let members = TailMembers { key: Some(key), ..members_of(&collection) };
                let mut reply = self.delete(members, conditions, asked)?;
                if let Reply::Write(write) = &mut reply {
                    write.weak = conditions::has_weak_match(request);
                }
                Ok(reply)
            }
            Err(error) => self.repeated(asked.as_ref(), &Written::Deletion).ok_or(error),
        }
    }

    /// `GET …/keys/K`
    pub(super) async fn get_key(
        &self,
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
            collection: self.collection(path)?.id,
            key: key.into(),
            since: query.since,
            block: query.block.is_some_and(|block| block > Duration::ZERO),
            wanted,
            known,
        };
        self.ask_key(question, deadline, now).await
    }

    /// Answers a question about a key, or parks it.
    pub(super) async fn ask_key(
        &self,
        question: KeyQuestion,
        deadline: Instant,
        now: Instant,
    ) -> Result<Reply, ApiError> {
        let may_wait = question.block && now < deadline && !self.node.is_stopping();
        // What comes after this is not missed by the wait.
        let before = self.node.last();
        let collection = self.node.index().catalog.collection(question.collection);
        let current = collection.and_then(|collection| collection.current(&question.key));
        self.node.settle().await;
        let Some(id) = current else {
            let detail = format!("the key {:?} has no current version", excerpt(&question.key));
            return Err(ApiError::new(Code::NotFound, detail));
        };
        if !question.wanted.hold(Some(id)) {
            let detail = format!("the current version of the key is {id}");
            return Err(
                ApiError::new(Code::PreconditionFailed, detail).with_number("current", id.0)
            );
        }
        if question.since.is_some_and(|since| id <= since) && may_wait {
            // A deletion is of interest whatever `since` says.
            let wait = self.node.beyond_key(question.collection, &question.key, before);
            let asked = Asked::Key(Box::new(question));
            return Ok(Reply::Park(Parked { asked, wait, deadline }));
        }
        if !question.known.hold(Some(id)) {
            return Ok(Reply::Now(versioned(Response::new(304), id)));
        }
        match self.change_at(id).await? {
            Some(change) => Ok(Reply::Now(versioned(Response::json(200, change), id))),
            // Another version took its place meanwhile, and it was purged.
            None => Box::pin(self.ask_key(question, deadline, now)).await,
        }
    }

    /// `GET …/keys`
    pub(super) async fn list_keys(
        &self,
        path: CollectionPath<'_>,
        query: &ReadQuery<'_>,
    ) -> Result<Reply, ApiError> {
        let collection = self.collection(path)?;
        let prefix = query.prefix.as_deref().unwrap_or_default();
        let limit = query.limit.unwrap_or(READ_LIMIT_DEFAULT);
        let mut after = query.after.as_deref().map(Box::from);
        let mut list = ListAnswer::new(Frame::Keys, limit.min(READ_EXPECTED_FILTERED));
        let mut places = Places::scattered();
        let mut rendered = self.rendered();
        loop {
            let left = limit - list.changes();
            let slice = collection.keys_after(after.as_deref(), prefix, left);
            // What was found is in this core's history after that.
            self.node.settle().await;
            for id in slice.entries {
                let push = |stored: Stored<'_>| match stored {
                    Stored::Tail { id, at, tail } => list.push(id, at, tail),
                    Stored::Whole(change) => list.push_whole(change),
                };
                // One that is gone was replaced, and its change purged, meanwhile.
                if self.read_change(&mut places, id, push).await? == Some(false) {
                    return Ok(Reply::Now(Response::json(200, list.finish_keys(false))));
                }
                rendered.hold(list.held_bytes())?;
                cores::yield_if_needed().await;
            }
            after = slice.next;
            if after.is_none() || list.changes() == limit {
                let at_end = after.is_none();
                return Ok(Reply::Now(Response::json(200, list.finish_keys(at_end))));
            }
        }
    }
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

/// Says which version of the key an answer is about. It may be kept, and asked
/// about again each time.
fn versioned(response: Response, id: ChangeId) -> Response {
    response.with_header("ETag", format!("\"{id}\"")).with_header("Cache-Control", "no-cache")
}
