//! The client: each call of the API, the request that it is, and what is made of the
//! answer.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    connector::Connector,
    core::{Core, JSON, Reply, Request, cluster_of},
    error::{Error, WriteError},
    follow::{Follow, Follower},
    model::{Appended, Change, NewChange, Page, SentChange, SentKeys, SentPage, read},
    options::Options,
    place::{Place, ask},
    state::{Resume, StateReader},
};

/// Keys in one page.
const KEYS_LIMIT: u32 = 1000;

/// Which version of a key a write is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Any, or none.
    #[default]
    Any,
    /// That version only; else the code is `precondition-failed`.
    Version(u64),
    /// None: the key must be absent.
    Absent,
}

impl Condition {
    fn headers(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Any => Vec::new(),
            Self::Version(version) => vec![("If-Match", format!("\"{version}\""))],
            Self::Absent => vec![("If-None-Match", "*".into())],
        }
    }
}

/// The nodes of one cluster. A clone is the same client.
///
/// A node that fails is replaced by the next. Every call but the following of a list
/// gives an answer within [`Options::retries`] tries, or what the last one failed of.
/// Writes bear an idempotency key, so they happen once however often they are tried; the
/// last argument of each is the key of an earlier try, if this is one more.
pub struct Client<C: Connector> {
    core: Arc<Core<C>>,
}

impl<C: Connector> Clone for Client<C> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<C: Connector> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.core.options).finish_non_exhaustive()
    }
}

impl<C: Connector> Client<C> {
    /// A client of the nodes at these addresses, such as `http://127.0.0.1:9000`.
    ///
    /// # Errors
    /// There is none, or one is not of that form.
    pub fn new<'a>(
        connector: C,
        nodes: impl IntoIterator<Item = &'a str>,
        options: Options,
    ) -> Result<Self, Error> {
        Ok(Self { core: Arc::new(Core::new(connector, nodes, options)?) })
    }

    /// Appends a change: its id.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub async fn append(&self, change: NewChange, key: Option<&str>) -> Result<u64, WriteError> {
        let request = Request { body: Some(encode(&change)), ..write("POST", "/changes".into()) };
        self.core.write(request, key, id_of).await
    }

    /// Appends changes: all of them, or none.
    ///
    /// # Errors
    /// They were not acknowledged.
    pub async fn append_batch(
        &self,
        changes: &[NewChange],
        key: Option<&str>,
    ) -> Result<Appended, WriteError> {
        let request = Request { body: Some(encode(&changes)), ..write("POST", "/changes".into()) };
        self.core.write(request, key, |reply| read(&reply.body)).await
    }

    /// Writes a key of a collection: the id of the change, which is its version. The
    /// change names no tenant and no collection.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub async fn put(
        &self,
        place: &Place,
        name: &str,
        change: NewChange,
        condition: Condition,
        key: Option<&str>,
    ) -> Result<u64, WriteError> {
        let mut request = write("PUT", place.key_path(name));
        request.headers.extend(condition.headers());
        request.body = Some(encode(&change));
        self.core.write(request, key, id_of).await
    }

    /// Deletes a key: the id of the change that says so, none where it was absent.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub async fn delete(
        &self,
        place: &Place,
        name: &str,
        condition: Condition,
        key: Option<&str>,
    ) -> Result<Option<u64>, WriteError> {
        let mut request = write("DELETE", place.key_path(name));
        request.headers = condition.headers();
        match self.core.write(request, key, id_of).await {
            Err(failed) if failed.error.is("not-found") => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// The UUID of the tenant of that name, which is created if there is none.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub async fn tenant(&self, name: &str) -> Result<String, WriteError> {
        self.create("/tenants".into(), name, "tenant").await
    }

    /// The UUID of the tenant's collection of that name, which is created if there is
    /// none.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub async fn collection(&self, tenant: &str, name: &str) -> Result<String, WriteError> {
        let target = format!("{}/collections", Place::tenant(tenant).path());
        self.create(target, name, "collection").await
    }

    async fn create(&self, target: String, name: &str, kind: &str) -> Result<String, WriteError> {
        #[derive(Serialize)]
        struct Named<'a> {
            name: &'a str,
        }
        let request = Request { body: Some(encode(&Named { name })), ..write("POST", target) };
        let created = |reply: &Reply| {
            let answer: Value = read(&reply.body)?;
            let uuid = answer.get(kind).and_then(Value::as_str).map(str::to_owned);
            uuid.ok_or_else(|| Error::Broken(format!("an answer has no {kind}")))
        };
        match self.core.write(request, None, created).await {
            Err(failed) if failed.error.is("name-taken") => {
                let problem = failed.error.problem();
                let holder = problem.and_then(|problem| problem.members.get(kind)?.as_str());
                holder.map(str::to_owned).ok_or(failed)
            }
            outcome => outcome,
        }
    }

    /// One page of a list, after the id `since`. With `min_id` it is answered from a
    /// state that holds at least that id.
    ///
    /// # Errors
    /// There was no answer, or a refusal.
    pub async fn read(
        &self,
        place: &Place,
        since: u64,
        limit: u32,
        min_id: Option<u64>,
    ) -> Result<Page, Error> {
        let mut target = format!("{}/changes", place.path());
        ask(&mut target, "since", since);
        ask(&mut target, "limit", limit);
        if let Some(min_id) = min_id {
            ask(&mut target, "min_id", min_id);
        }
        let page =
            |reply: &Reply| Ok(read::<SentPage>(&reply.body)?.of(&cluster_of(&reply.head, None)?));
        self.core.call(&Request::get(target), page).await
    }

    /// One change, none where there is none.
    ///
    /// # Errors
    /// There was no answer, or a refusal.
    pub async fn change(&self, id: u64) -> Result<Option<Change>, Error> {
        self.get_at(format!("/changes/{id}")).await
    }

    /// The current version of a key, none where it is absent. With `min_id` it is
    /// answered from a state that holds at least that id.
    ///
    /// # Errors
    /// There was no answer, or a refusal.
    pub async fn get(
        &self,
        place: &Place,
        name: &str,
        min_id: Option<u64>,
    ) -> Result<Option<Change>, Error> {
        let mut target = place.key_path(name);
        if let Some(min_id) = min_id {
            ask(&mut target, "min_id", min_id);
        }
        self.get_at(target).await
    }

    async fn get_at(&self, target: String) -> Result<Option<Change>, Error> {
        let change = |reply: &Reply| {
            Ok(read::<SentChange>(&reply.body)?.of(&cluster_of(&reply.head, None)?))
        };
        match self.core.call(&Request::get(target), change).await {
            Err(error) if error.is("not-found") => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// The current versions of up to 1,000 keys that begin with `prefix`, after the key
    /// `after`, in the order of their bytes; and whether these are the last.
    ///
    /// # Errors
    /// There was no answer, or a refusal.
    pub async fn keys(
        &self,
        place: &Place,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<Change>, bool), Error> {
        let mut target = format!("{}/keys", place.path());
        ask(&mut target, "limit", KEYS_LIMIT);
        if !prefix.is_empty() {
            ask(&mut target, "prefix", prefix);
        }
        if let Some(after) = after {
            ask(&mut target, "after", after);
        }
        let keys = |reply: &Reply| {
            let sent: SentKeys = read(&reply.body)?;
            let at_end = sent.at_end;
            Ok((sent.of(&cluster_of(&reply.head, None)?), at_end))
        };
        self.core.call(&Request::get(target), keys).await
    }

    /// Follows a list for ever.
    pub fn follow(&self, follow: Follow) -> Follower<C> {
        Follower::new(Arc::clone(&self.core), follow)
    }

    /// Reads the current changes of all live keys of a tenant or a collection.
    ///
    /// # Errors
    /// The place is everything.
    pub fn state(&self, place: &Place, resume: Option<Resume>) -> Result<StateReader<C>, Error> {
        StateReader::new(Arc::clone(&self.core), place, resume)
    }
}

fn write(method: &'static str, target: String) -> Request {
    let headers = vec![("Content-Type", JSON.to_owned())];
    Request { method, target, accept: JSON, headers, ..Request::default() }
}

/// What is written here has texts for keys, and cannot fail.
fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn id_of(reply: &Reply) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Id {
        #[serde(rename = "_id")]
        id: u64,
    }
    Ok(read::<Id>(&reply.body)?.id)
}
