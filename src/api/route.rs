//! From a request's method and path to the resource that answers it.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use super::{
    Api,
    accept::{self, Media},
    change_body::{Members, Scope},
    collections::CollectionPath,
    error::{ApiError, Code, excerpt},
    head,
    list::{Start, negotiated},
    page,
    query::{ReadOf, ReadQuery, no_parameters},
    reply::{Asked, Parked, Reply},
    stream::unavailable,
    write::{SMALL_BODY_BYTES, shape_of},
    written::Written,
};
use crate::{
    base::{limits::MIN_ID_WAIT, names::Named, timing::write_time_left},
    feed::Wait,
    http::{Method, Request, Response},
    io::cores,
    node::control::ReadError,
    state::ListId,
};

/// What a path names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource<'p> {
    Index,
    Health,
    Ready,
    Cluster,
    Leader,
    Members,
    Member(&'p str),
    Metrics,
    OpenApi,
    Changes,
    Change(&'p str),
    Tenants,
    Tenant(&'p str),
    TenantChanges(&'p str),
    Collections(&'p str),
    Collection(CollectionPath<'p>),
    CollectionChanges(CollectionPath<'p>),
    Keys(CollectionPath<'p>),
    Key(CollectionPath<'p>, &'p str),
}

/// Every path with its methods, as `Allow` lists them. A name in braces stands
/// for one segment; `/tenant` is read as `/tenants`.
pub const ROUTES: [(&str, &str); 23] = [
    ("/", READ),
    ("/health", READ),
    ("/ready", READ),
    ("/cluster", READ),
    ("/cluster/leader", LEAD),
    ("/cluster/members", APPEND),
    ("/cluster/members/{id}", MEMBER),
    ("/changes", APPEND),
    ("/changes/{id}", READ),
    ("/tenants", APPEND),
    ("/tenants/{tenant}", DELETE),
    ("/tenants/{tenant}/changes", APPEND),
    ("/tenants/{tenant}/collections", APPEND),
    ("/tenants/{tenant}/collections/{name}", DELETE),
    ("/tenants/{tenant}/collections/{name}/changes", READ),
    ("/tenants/{tenant}/collections/{name}/keys", APPEND),
    ("/tenants/{tenant}/collections/{name}/keys/{key}", PUT),
    ("/collections/{collection}", DELETE),
    ("/collections/{collection}/changes", READ),
    ("/collections/{collection}/keys", APPEND),
    ("/collections/{collection}/keys/{key}", PUT),
    ("/metrics", READ),
    ("/openapi.json", READ),
];

const READ: &str = "GET, HEAD, OPTIONS";
const APPEND: &str = "GET, HEAD, POST, OPTIONS";
const DELETE: &str = "GET, HEAD, DELETE, OPTIONS";
const PUT: &str = "GET, HEAD, PUT, DELETE, OPTIONS";
const MEMBER: &str = "GET, HEAD, PATCH, DELETE, OPTIONS";
const LEAD: &str = "POST, OPTIONS";
pub(super) const ALL: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

impl<'p> Resource<'p> {
    pub(super) fn of(path: &[&'p str]) -> Option<Self> {
        // The empty name of a key has an answer of its own.
        if let [.., before, ""] = path
            && *before != "keys"
        {
            return None;
        }
        Some(match *path {
            [""] => Self::Index,
            ["health"] => Self::Health,
            ["ready"] => Self::Ready,
            ["cluster"] => Self::Cluster,
            ["cluster", "leader"] => Self::Leader,
            ["cluster", "members"] => Self::Members,
            ["cluster", "members", id] => Self::Member(id),
            ["metrics"] => Self::Metrics,
            ["openapi.json"] => Self::OpenApi,
            ["changes"] => Self::Changes,
            ["changes", id] => Self::Change(id),
            ["tenants" | "tenant"] => Self::Tenants,
            ["tenants" | "tenant", tenant] => Self::Tenant(tenant),
            ["tenants" | "tenant", tenant, "changes"] => Self::TenantChanges(tenant),
            ["tenants" | "tenant", tenant, "collections"] => Self::Collections(tenant),
            ["tenants" | "tenant", tenant, "collections", name, ref rest @ ..] => {
                return Self::of_collection(CollectionPath::Named(tenant, name), rest);
            }
            ["collections", id, ref rest @ ..] => {
                return Self::of_collection(CollectionPath::Id(id), rest);
            }
            _ => return None,
        })
    }

    fn of_collection(path: CollectionPath<'p>, rest: &[&'p str]) -> Option<Self> {
        Some(match *rest {
            [] => Self::Collection(path),
            ["changes"] => Self::CollectionChanges(path),
            ["keys"] => Self::Keys(path),
            ["keys", key] => Self::Key(path, key),
            _ => return None,
        })
    }

    /// The methods it has, as `Allow` lists them.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Changes
            | Self::Tenants
            | Self::TenantChanges(_)
            | Self::Collections(_)
            | Self::Keys(_)
            | Self::Members => APPEND,
            Self::Member(_) => MEMBER,
            Self::Leader => LEAD,
            Self::Tenant(_) | Self::Collection(_) => DELETE,
            Self::Key(..) => PUT,
            _ => READ,
        }
    }

    /// Whether it is about the node or its cluster, and not what is stored.
    pub(super) fn is_of_node(&self) -> bool {
        matches!(
            self,
            Self::Index
                | Self::Health
                | Self::Ready
                | Self::Cluster
                | Self::Leader
                | Self::Members
                | Self::Member(_)
                | Self::Metrics
                | Self::OpenApi
        )
    }

    /// Whether it is a list of changes.
    fn is_list(&self) -> bool {
        matches!(self, Self::Changes | Self::TenantChanges(_) | Self::CollectionChanges(_))
    }

    /// What a read of it may be asked, where that is no list of changes.
    fn read_of(&self) -> ReadOf {
        match self {
            Self::Tenants | Self::Collections(_) => ReadOf::Names,
            Self::Keys(_) => ReadOf::Keys,
            Self::Key(..) => ReadOf::Key,
            _ => ReadOf::One,
        }
    }
}

/// What became of a request.
enum Routed {
    /// It is answered, or waits for what it names.
    Reply(Reply),
    /// It is to be asked again from the start, once this resolves or the moment
    /// comes.
    Again(Wait, Instant),
}

impl From<Reply> for Routed {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl Api {
    /// Answers `request`, which arrived at `now`.
    pub async fn handle(&self, request: Box<Request>, now: Instant) -> Reply {
        if let Err(error) = self.admit(&request) {
            return Reply::Now(error.into());
        }
        self.handle_until(request, now, None).await
    }

    /// Answers a write anew that was refused because what it names was not there:
    /// this node may not have known yet what its names stand for by now. A second
    /// refusal is told. It arrived at `since`, and its time is not extended.
    pub async fn again(&self, request: Box<Request>, since: Instant) -> Reply {
        if let Err(error) = self.learn_names(since).await {
            return Reply::Now(error.into());
        }
        let mut reply = self.handle_until(request, since, None).await;
        if let Reply::Write(write) = &mut reply {
            write.request = None;
        }
        reply
    }

    /// Waits until this node knows everything that was acknowledged, names above all, in the
    /// time that a write has which arrived at `since`.
    ///
    /// # Errors
    /// When it did not come to know; nothing was proposed.
    pub(super) async fn learn_names(&self, since: Instant) -> Result<(), ApiError> {
        let left = write_time_left(since, cores::now());
        let known = cores::within(left, self.node.barrier()).await;
        known.unwrap_or(Err(ReadError::Behind)).map_err(|error| unreadable(&error))
    }

    /// Goes on with a parked read, because something changed or because it
    /// has waited long enough.
    pub async fn resume(&self, parked: Parked, now: Instant) -> Reply {
        if let Some(why) = self.node.status().halted() {
            return Reply::Now(ApiError::new(Code::Storage, why).into());
        }
        let deadline = if self.node.is_stopping() { now } else { parked.deadline };
        let is_key = matches!(parked.asked, Asked::Key(_));
        let reply = match parked.asked {
            Asked::List(question) => self.ask(question, deadline, now).await,
            Asked::Rest(mut question) => {
                question.start = Start::After(parked.wait.examined());
                // It has stood until now; from here on it is a read like others.
                drop(parked.wait);
                self.ask(question, deadline, now).await
            }
            Asked::Key(question) => self.ask_key(*question, deadline, now).await,
            Asked::Stream(stream) => self.open_stream(*stream, deadline, now),
            Asked::Request(request) => {
                return self.handle_until(request, now, Some(deadline)).await;
            }
        };
        self.node.settle().await;
        reply.unwrap_or_else(|error| {
            let refusal = Response::from(error);
            Reply::Now(if is_key { refusal } else { negotiated(refusal) })
        })
    }

    /// Answers a request that has been waited with until `deadline` already.
    async fn handle_until(
        &self,
        mut request: Box<Request>,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Reply {
        let routed = self.route(&request, now, deadline).await;
        if !matches!(routed, Ok(Routed::Reply(Reply::Write(_)))) {
            // What was found, or found missing, may be newer than this core's list.
            self.node.settle().await;
        }
        match routed {
            Ok(Routed::Reply(Reply::Write(mut write))) => {
                if write.by_name || names_by_name(&request) {
                    write.request = Some(request);
                }
                Reply::Write(write)
            }
            Ok(Routed::Reply(reply)) => reply,
            Ok(Routed::Again(wait, deadline)) => {
                request.release_buffer();
                Reply::Park(Parked { asked: Asked::Request(request), wait, deadline })
            }
            Err(error) => Reply::Now(self.refusal(&request, error)),
        }
    }

    /// The answer to a request that is refused with `error`.
    #[must_use]
    pub fn refusal(&self, request: &Request, error: ApiError) -> Response {
        let is_list = || Resource::of(&request.path_segments()).is_some_and(|of| of.is_list());
        let reads = matches!(request.method(), Method::Get | Method::Head);
        let passes = error.code.status() == 503;
        match reads && is_list() {
            true if passes && accept::takes_only(request, Media::Events) => unavailable(error),
            true => negotiated(error.into()),
            false => error.into(),
        }
    }

    async fn route(
        &self,
        request: &Request,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Result<Routed, ApiError> {
        let path = request.path_segments();
        if request.method() == Method::Options && path.is_empty() {
            return Ok(self.options(request, ALL).into());
        }
        let resource = match head::resource(request, &path) {
            Ok(resource) => resource,
            Err(refusal) => return Ok(Reply::Now(*refusal).into()),
        };
        match request.method() {
            Method::Options => Ok(self.options(request, resource.methods()).into()),
            Method::Get | Method::Head => {
                if !resource.is_of_node() {
                    self.may_read(request, deadline).await?;
                }
                // Apart from the connection, which may be parked with it gone.
                Box::pin(self.read_resource(request, resource, now, deadline)).await
            }
            _ => {
                let mut reply = self.write_resource(request, resource).await;
                if let Err(error) = &reply
                    && matches!(error.code, Code::NotFound | Code::TenantMismatch)
                    && !resource.is_of_node()
                {
                    // It may be there and not be known here yet.
                    self.learn_names(now).await?;
                    reply = self.write_resource(request, resource).await;
                }
                Ok(reply?.into())
            }
        }
    }

    /// Whether what is stored may be read from this node: it serves nothing older
    /// than before it was started, and to who asks for it nothing older than what
    /// is acknowledged anywhere.
    async fn may_read(&self, request: &Request, deadline: Option<Instant>) -> Result<(), ApiError> {
        if let Some(why) = self.node.status().halted() {
            return Err(ApiError::new(Code::Storage, why));
        }
        if !self.node.status().has_recovered() {
            let detail = "this node has not caught up since it was started";
            return Err(ApiError::new(Code::Behind, detail));
        }
        let strong = |(name, value)| name == "consistency" && value == "strong";
        // What was waited with has been asked already.
        if deadline.is_none() && request.query().any(strong) {
            self.node.barrier().await.map_err(|error| unreadable(&error))?;
        }
        Ok(())
    }

    /// Has a write done whose method the resource has.
    async fn write_resource(
        &self,
        request: &Request,
        resource: Resource<'_>,
    ) -> Result<Reply, ApiError> {
        if let Err(error) = parameterless(request) {
            // What the path names comes first.
            return Err(self.missing(resource).unwrap_or(error));
        }
        let changes = |tenant| Scope { members: Members::Change, tenant, ..Scope::default() };
        match (request.method(), resource) {
            (Method::Post, Resource::Changes) => {
                self.append(request, changes(None), Written::Change).await
            }
            (Method::Post, Resource::TenantChanges(tenant)) => match self.tenant(tenant) {
                Ok(tenant) => self.append(request, changes(Some(tenant.id)), Written::Change).await,
                Err(error) => self.repeated_or(request, Written::Change, error),
            },
            (Method::Post, Resource::Tenants) => self.create_tenant(request),
            (Method::Post, Resource::Collections(tenant)) => {
                self.create_collection(request, tenant)
            }
            (Method::Post, Resource::Keys(path)) => self.post_keys(request, path).await,
            (Method::Put, Resource::Key(path, key)) => self.put_key(request, path, key).await,
            (Method::Delete, Resource::Key(path, key)) => self.delete_key(request, path, key),
            (Method::Delete, Resource::Collection(path)) => self.delete_collection(request, path),
            (Method::Delete, Resource::Tenant(tenant)) => self.delete_tenant(request, tenant),
            (Method::Post, Resource::Members) => self.add_member(request).await,
            (Method::Patch, Resource::Member(id)) => self.change_member(request, id).await,
            (Method::Delete, Resource::Member(id)) => self.remove_member(request, id).await,
            (Method::Post, Resource::Leader) => self.lead(request).await,
            _ => unreachable!("no resource has this method"),
        }
    }

    /// What the path of a write names that is not there.
    pub(super) fn missing(&self, resource: Resource<'_>) -> Option<ApiError> {
        match resource {
            Resource::Tenant(tenant)
            | Resource::TenantChanges(tenant)
            | Resource::Collections(tenant) => self.tenant(tenant).err(),
            Resource::Collection(path) | Resource::Keys(path) | Resource::Key(path, _) => {
                self.collection(path).err()
            }
            _ => None,
        }
    }

    /// The answer to a request whose path names what is not there: that to the
    /// one it repeats, if it does, else `error`.
    pub(super) fn repeated_or(
        &self,
        request: &Request,
        single: Written,
        error: ApiError,
    ) -> Result<Reply, ApiError> {
        // A batch that is too large to be digested here is not looked for.
        let is_small = request.body().len() <= SMALL_BODY_BYTES;
        if request.header("idempotency-key").is_none() || !is_small {
            return Err(error);
        }
        let asked = self.idempotency(request)?;
        self.repeated(asked.as_ref(), &shape_of(request, single)).ok_or(error)
    }

    async fn read_resource(
        &self,
        request: &Request,
        resource: Resource<'_>,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Result<Routed, ApiError> {
        let list = match resource {
            Resource::Changes => Some(ListId::All),
            Resource::TenantChanges(tenant) => Some(ListId::Tenant(self.tenant(tenant)?.id)),
            Resource::CollectionChanges(path) => {
                Some(ListId::Collection(self.collection(path)?.id))
            }
            _ => None,
        };
        if let Some(list) = list {
            return Ok(self.list(request, list, now).await?.into());
        }
        if let Some(reply) = self.about_the_node(request, resource).await? {
            return Ok(reply.into());
        }
        let pairs = request.query().map(|(name, value)| (Cow::from(name), Cow::from(value)));
        let query = ReadQuery::parse(resource.read_of(), pairs)?;
        accept::choose(request, &[Media::Json])?;
        if let Some(min_id) = query.min_id {
            let until = deadline.unwrap_or_else(|| now + query.block.unwrap_or(MIN_ID_WAIT));
            let may_wait = now < until && !self.node.is_stopping();
            if let Some(wait) = self.wait_for(min_id, may_wait)? {
                return Ok(Routed::Again(wait, until));
            }
        }
        let reply = match resource {
            Resource::Change(id) => self.change(id).await?,
            Resource::Tenants => self.list_tenants(&query).await,
            Resource::Tenant(tenant) => self.get_tenant(tenant)?,
            Resource::Collections(tenant) => self.list_collections(tenant, &query).await?,
            Resource::Collection(path) => self.get_collection(path)?,
            Resource::Keys(path) => self.list_keys(path, &query).await?,
            Resource::Key(path, key) => {
                let block = query.block.unwrap_or(Duration::ZERO);
                let until = deadline.unwrap_or(now + block);
                self.get_key(request, path, key, &query, until, now).await?
            }
            _ => unreachable!("answered above"),
        };
        Ok(reply.into())
    }

    fn options(&self, request: &Request, methods: &'static str) -> Reply {
        Reply::Now(self.reader(request).preflight(request, methods))
    }

    /// What the node says about itself; nothing for another resource.
    async fn about_the_node(
        &self,
        request: &Request,
        resource: Resource<'_>,
    ) -> Result<Option<Reply>, ApiError> {
        Ok(Some(match resource {
            Resource::Health => {
                parameterless(request)?;
                self.health()
            }
            Resource::Ready => {
                parameterless(request)?;
                self.ready()?
            }
            Resource::Index => {
                parameterless(request)?;
                if page::is_asked_for(request) { self.live_page() } else { self.index() }
            }
            Resource::Metrics => {
                parameterless(request)?;
                self.metrics_text().await
            }
            Resource::OpenApi => {
                parameterless(request)?;
                accept::choose(request, &[Media::Json])?;
                self.openapi()
            }
            Resource::Cluster => {
                parameterless(request)?;
                accept::choose(request, &[Media::Json])?;
                self.cluster()
            }
            Resource::Members => {
                parameterless(request)?;
                accept::choose(request, &[Media::Json])?;
                self.members()
            }
            Resource::Member(id) => {
                parameterless(request)?;
                accept::choose(request, &[Media::Json])?;
                self.member(id)?
            }
            _ => return Ok(None),
        }))
    }
}

pub(super) fn parameterless(request: &Request) -> Result<(), ApiError> {
    no_parameters(request.query().map(|(name, value)| (Cow::from(name), Cow::from(value))))
}

/// Whether the path of a request names a tenant or a collection by its name.
fn names_by_name(request: &Request) -> bool {
    let is_name = |text| matches!(Named::parse(text), Some(Named::Name(_)));
    match *request.path_segments() {
        ["tenants" | "tenant", tenant, "collections", collection, ..] => {
            is_name(tenant) || is_name(collection)
        }
        ["tenants" | "tenant", tenant, ..] => is_name(tenant),
        _ => false,
    }
}

pub(super) fn unreadable(error: &ReadError) -> ApiError {
    let code = match error {
        ReadError::NoLeader => Code::NoLeader,
        ReadError::Behind => Code::Behind,
        ReadError::Overloaded => Code::Overloaded,
    };
    ApiError::new(code, error.to_string())
}

pub(super) fn not_allowed(request: &Request, methods: &'static str) -> Response {
    let method = excerpt(request.method_name());
    let detail = format!("{method} is not among the methods {methods}");
    let response: Response = ApiError::new(Code::MethodNotAllowed, detail).into();
    response.with_header("Allow", methods)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_document_has_every_route_and_no_other() {
        let published = crate::api::openapi::tests::paths();
        // HEAD and OPTIONS are everywhere, and said once.
        let own = |method: &&str| !["HEAD", "OPTIONS"].contains(method);
        let known = ROUTES.map(|(path, methods)| {
            let methods = methods.split(", ").filter(own).map(String::from).collect();
            (path.to_owned(), methods)
        });
        assert_eq!(published, known.into());
    }

    #[test]
    fn every_route_leads_to_a_resource_with_its_methods() {
        for (template, methods) in ROUTES {
            let path: Vec<&str> = template[1..].split('/').collect();
            let resource = Resource::of(&path);
            assert_eq!(resource.map(|resource| resource.methods()), Some(methods), "{template}");
        }
        for path in ["changes/1/2", "tenants/a/b", "collections", "keys", "Changes", "changes/"] {
            let path: Vec<&str> = path.split('/').collect();
            assert!(Resource::of(&path).is_none(), "{path:?}");
        }
    }
}
