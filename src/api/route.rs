//! The table of paths: what each names, and with which methods.

use std::{fmt::Write as _, sync::Arc};

use super::{
    access::Visible,
    error::{ApiError, Code, excerpt},
    request::{
        ReadOf,
        path::{self, CollectionPath},
        target::without_ticket,
    },
};
use crate::{
    base::{names::Named, tokens::Right},
    http::{Method, Request, Response},
    state::{ListId, index::Meter},
};

/// What a path names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource<'p> {
    Index,
    Health,
    Ready,
    Cluster,
    Leader,
    Log,
    Checkpoint,
    Members,
    Member(&'p str),
    Metrics,
    OpenApi,
    Docs,
    Changes,
    Change(&'p str),
    Redaction(&'p str),
    Tenants,
    Tenant(&'p str),
    Retention(&'p str),
    Quota(&'p str),
    TenantChanges(&'p str),
    TenantState(&'p str),
    Collections(&'p str),
    Collection(CollectionPath<'p>),
    CollectionChanges(CollectionPath<'p>),
    CollectionState(CollectionPath<'p>),
    Keys(CollectionPath<'p>),
    Key(CollectionPath<'p>, &'p str),
    Tokens,
    Token(&'p str),
    Anonymous,
    Session,
    Tickets,
}

/// A list of changes, and what its tenant uses, if it is of one.
pub(super) type BilledList = (ListId, Option<Arc<Meter>>);

/// What a request needs of who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// The right; nothing where any token will do.
    pub(super) right: Option<Right>,
    /// Whether it concerns everything, and so no token whose scope is less.
    pub(super) everything: bool,
}

/// Whether a write of a key only creates it.
fn creates_key(request: &Request) -> bool {
    request.method() == Method::Put
        && request.header("if-none-match").is_some_and(|value| value.trim_ascii() == b"*")
}

/// Every path with its methods, as `Allow` lists them. A name in braces stands
/// for one segment; `/tenant` is read as `/tenants`.
pub const ROUTES: [(&str, &str); 37] = [
    ("/", READ),
    ("/health", READ),
    ("/ready", READ),
    ("/cluster", READ),
    ("/cluster/leader", POST),
    ("/cluster/log", READ),
    ("/cluster/checkpoint", READ),
    ("/cluster/members", APPEND),
    ("/cluster/members/{id}", MEMBER),
    ("/changes", APPEND),
    ("/changes/{id}", READ),
    ("/changes/{id}/redact", POST),
    ("/tenants", APPEND),
    ("/tenants/{tenant}", DELETE),
    ("/tenants/{tenant}/changes", APPEND),
    ("/tenants/{tenant}/retention", SET),
    ("/tenants/{tenant}/quota", SET),
    ("/tenants/{tenant}/state", READ),
    ("/tenants/{tenant}/collections", APPEND),
    ("/tenants/{tenant}/collections/{name}", DELETE),
    ("/tenants/{tenant}/collections/{name}/changes", READ),
    ("/tenants/{tenant}/collections/{name}/state", READ),
    ("/tenants/{tenant}/collections/{name}/keys", APPEND),
    ("/tenants/{tenant}/collections/{name}/keys/{key}", PUT),
    ("/collections/{collection}", DELETE),
    ("/collections/{collection}/changes", READ),
    ("/collections/{collection}/state", READ),
    ("/collections/{collection}/keys", APPEND),
    ("/collections/{collection}/keys/{key}", PUT),
    ("/tokens", APPEND),
    ("/tokens/anonymous", SET),
    ("/tokens/{id}", DELETE),
    ("/session", SESSION),
    ("/tickets", POST),
    ("/metrics", READ),
    ("/openapi.json", READ),
    ("/docs", READ),
];

const READ: &str = "GET, HEAD, OPTIONS";
const APPEND: &str = "GET, HEAD, POST, OPTIONS";
const DELETE: &str = "GET, HEAD, DELETE, OPTIONS";
const PUT: &str = "GET, HEAD, PUT, DELETE, OPTIONS";
const SET: &str = "GET, HEAD, PUT, OPTIONS";
const MEMBER: &str = "GET, HEAD, PATCH, DELETE, OPTIONS";
const SESSION: &str = "GET, HEAD, POST, DELETE, OPTIONS";
const POST: &str = "POST, OPTIONS";
pub(super) const ALL: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

impl<'p> Resource<'p> {
    /// Whether it is what a node knows of its cluster.
    pub(super) fn is_about_the_cluster(self) -> bool {
        matches!(self, Self::Cluster | Self::Members | Self::Member(_))
    }

    /// What a request is for, if that is there and has its method.
    ///
    /// # Errors
    /// The answer where it is not.
    pub(super) fn find(request: &Request, path: &[&'p str]) -> Result<Self, Box<Response>> {
        let Some(resource) = Self::of(path) else {
            // `CONNECT`, and `OPTIONS *`.
            if path.is_empty() {
                return Err(Box::new(not_allowed(request, ALL).with_close()));
            }
            let mut detail = not_there(request);
            if let [before @ .., ""] = path
                && Self::of(before).is_some()
            {
                let path = request.target().split('?').next().unwrap_or_default();
                let path = path.strip_suffix('/').unwrap_or(path);
                let _ =
                    write!(detail, "; without the slash at its end, {:?}, there is", excerpt(path));
            }
            return Err(Box::new(ApiError::new(Code::NotFound, detail).into()));
        };
        match resource.methods().split(", ").any(|method| method == request.method_name()) {
            true => Ok(resource),
            false => Err(Box::new(not_allowed(request, resource.methods()))),
        }
    }

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
            ["cluster", "log"] => Self::Log,
            ["cluster", "checkpoint"] => Self::Checkpoint,
            ["cluster", "members"] => Self::Members,
            ["cluster", "members", id] => Self::Member(id),
            ["metrics"] => Self::Metrics,
            ["openapi.json"] => Self::OpenApi,
            ["docs"] => Self::Docs,
            ["tokens"] => Self::Tokens,
            ["tokens", "anonymous"] => Self::Anonymous,
            ["tokens", id] => Self::Token(id),
            ["session"] => Self::Session,
            ["tickets"] => Self::Tickets,
            ["changes"] => Self::Changes,
            ["changes", id] => Self::Change(id),
            ["changes", id, "redact"] => Self::Redaction(id),
            ["tenants" | "tenant"] => Self::Tenants,
            ["tenants" | "tenant", tenant] => Self::Tenant(tenant),
            ["tenants" | "tenant", tenant, "changes"] => Self::TenantChanges(tenant),
            ["tenants" | "tenant", tenant, "retention"] => Self::Retention(tenant),
            ["tenants" | "tenant", tenant, "quota"] => Self::Quota(tenant),
            ["tenants" | "tenant", tenant, "state"] => Self::TenantState(tenant),
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
            ["state"] => Self::CollectionState(path),
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
            | Self::Tokens
            | Self::Members => APPEND,
            Self::Member(_) => MEMBER,
            Self::Session => SESSION,
            Self::Leader | Self::Redaction(_) | Self::Tickets => POST,
            Self::Tenant(_) | Self::Collection(_) | Self::Token(_) => DELETE,
            Self::Key(..) => PUT,
            Self::Retention(_) | Self::Quota(_) | Self::Anonymous => SET,
            _ => READ,
        }
    }

    /// What who sends `request`, which is for it, must be allowed to do; nothing where that is for everybody. What its
    /// path or body names must besides lie within the scope of the token.
    pub(super) fn need(&self, request: &Request) -> Option<Need> {
        let method = request.method();
        let reads = matches!(method, Method::Get | Method::Head);
        let or_read = |right| Some(if reads { Right::Read } else { right });
        let of_all = |right| Some(Need { right, everything: true });
        let of_scope = |right| Some(Need { right, everything: false });
        match self {
            _ if method == Method::Options => None,
            Self::Health | Self::Ready => None,
            Self::Session if method == Method::Delete => None,
            // Whoever has any token.
            Self::Index | Self::OpenApi | Self::Docs | Self::Session => of_scope(None),
            // Its path is looked at there.
            Self::Tickets => of_scope(Some(Right::Read)),
            Self::Cluster | Self::Leader | Self::Members | Self::Member(_) | Self::Metrics => {
                of_all(or_read(Right::Administer))
            }
            // Their tenants are looked at there, and nothing is given of others.
            Self::Log | Self::Checkpoint => of_scope(or_read(Right::Administer)),
            Self::Tokens | Self::Token(_) => of_scope(Some(Right::Administer)),
            Self::Anonymous => of_all(Some(Right::Administer)),
            Self::Changes | Self::TenantChanges(_) => of_scope(or_read(Right::Insert)),
            Self::Redaction(_) | Self::Retention(_) => of_scope(or_read(Right::Administer)),
            // Whoever administers a tenant must not raise what it may use.
            Self::Quota(_) if !reads => of_all(Some(Right::Administer)),
            Self::Tenants => of_all(or_read(Right::Write)),
            // It replaces nothing then.
            Self::Key(..) if creates_key(request) => of_scope(Some(Right::Insert)),
            Self::Change(_)
            | Self::Tenant(_)
            | Self::Quota(_)
            | Self::TenantState(_)
            | Self::Collections(_)
            | Self::Collection(_)
            | Self::CollectionChanges(_)
            | Self::CollectionState(_)
            | Self::Keys(_)
            | Self::Key(..) => of_scope(or_read(Right::Write)),
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
                | Self::Docs
        )
    }

    /// Whether it is a list of changes.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Changes | Self::TenantChanges(_) | Self::CollectionChanges(_))
    }

    /// What a read of it may be asked, where that is no list of changes.
    pub(super) fn read_of(&self) -> ReadOf {
        match self {
            Self::Tenants | Self::Collections(_) | Self::Tokens => ReadOf::Names,
            Self::Keys(_) => ReadOf::Keys,
            Self::Key(..) => ReadOf::Key,
            Self::TenantState(_) | Self::CollectionState(_) => ReadOf::State,
            _ => ReadOf::One,
        }
    }

    /// The list of changes that it is, and what its tenant uses.
    ///
    /// # Errors
    /// [`Code::NotFound`] when that is of nothing that is there.
    pub(super) fn list(&self, visible: Visible<'_>) -> Result<Option<BilledList>, ApiError> {
        Ok(match *self {
            Self::Changes => Some((ListId::All, None)),
            Self::TenantChanges(tenant) => {
                let tenant = path::tenant(visible, tenant)?;
                Some((ListId::Tenant(tenant.id), Some(Arc::clone(&tenant.meter))))
            }
            Self::CollectionChanges(path) => {
                let collection = path::collection(visible, path)?;
                Some((ListId::Collection(collection.id), Some(Arc::clone(&collection.meter))))
            }
            _ => None,
        })
    }

    /// What the tenant uses that its path names, if requests for it are billed to that.
    pub(super) fn meter(&self, visible: Visible<'_>) -> Option<Arc<Meter>> {
        match *self {
            Self::TenantChanges(tenant) | Self::TenantState(tenant) | Self::Collections(tenant) => {
                path::tenant(visible, tenant).ok().map(|tenant| Arc::clone(&tenant.meter))
            }
            Self::Collection(path)
            | Self::CollectionChanges(path)
            | Self::CollectionState(path)
            | Self::Keys(path)
            | Self::Key(path, _) => {
                path::collection(visible, path).ok().map(|of| Arc::clone(&of.meter))
            }
            _ => None,
        }
    }

    /// The refusal of a write to it where its path names what is not there.
    pub(super) fn missing(&self, visible: Visible<'_>) -> Option<ApiError> {
        match *self {
            Self::Tenant(tenant)
            | Self::Retention(tenant)
            | Self::Quota(tenant)
            | Self::TenantChanges(tenant)
            | Self::Collections(tenant) => path::tenant(visible, tenant).err(),
            Self::Collection(path) | Self::Keys(path) | Self::Key(path, _) => {
                path::collection(visible, path).err()
            }
            _ => None,
        }
    }

    /// Whether its path names a tenant or a collection by its name, which may
    /// become another's.
    pub(super) fn is_by_name(&self) -> bool {
        let is_name = |text| matches!(Named::parse(text), Some(Named::Name(_)));
        match *self {
            Self::Tenant(tenant)
            | Self::Retention(tenant)
            | Self::Quota(tenant)
            | Self::TenantChanges(tenant)
            | Self::Collections(tenant) => is_name(tenant),
            Self::Collection(path)
            | Self::CollectionChanges(path)
            | Self::Keys(path)
            | Self::Key(path, _) => match path {
                CollectionPath::Id(_) => false,
                CollectionPath::Named(tenant, name) => is_name(tenant) || is_name(name),
            },
            _ => false,
        }
    }
}

/// What is said of a target that is not there.
pub(super) fn not_there(request: &Request) -> String {
    format!("there is no resource {:?}", excerpt(&without_ticket(request.target())))
}

fn not_allowed(request: &Request, methods: &'static str) -> Response {
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
        let published = crate::api::resources::openapi::tests::paths();
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
