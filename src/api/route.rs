//! From a request's method and path to the resource that answers it.

use std::{borrow::Cow, time::Instant};

use super::{
    Api,
    error::{ApiError, Code},
    page,
    query::no_parameters,
    reply::Reply,
};
use crate::http::{Method, Request, Response};

/// What a path names.
enum Resource {
    Changes,
    Change,
    Health,
    Ready,
    OpenApi,
    Index,
}

impl Resource {
    fn of(path: &[&str]) -> Option<Self> {
        Some(match path {
            [""] => Self::Index,
            ["changes"] => Self::Changes,
            ["changes", _] => Self::Change,
            ["health"] => Self::Health,
            ["ready"] => Self::Ready,
            ["openapi.json"] => Self::OpenApi,
            _ => return None,
        })
    }

    /// The methods it has, as `Allow` lists them.
    fn methods(&self) -> &'static str {
        match self {
            Self::Changes => "GET, HEAD, POST, OPTIONS",
            Self::Change | Self::Health | Self::Ready | Self::OpenApi | Self::Index => {
                "GET, HEAD, OPTIONS"
            }
        }
    }
}

impl Api {
    /// Answers `request`, which arrived at `now`.
    pub async fn handle(&self, request: Box<Request>, now: Instant) -> Reply {
        match self.route(request, now).await {
            Ok(reply) => reply,
            Err(error) => Reply::Now(error.into()),
        }
    }

    async fn route(&self, request: Box<Request>, now: Instant) -> Result<Reply, ApiError> {
        let path = request.path_segments();
        let Some(resource) = Resource::of(&path) else {
            if request.method() == Method::Options && path.is_empty() {
                return Ok(options("GET, HEAD, POST, OPTIONS"));
            }
            let detail = format!("there is no resource {:?}", request.target());
            return Err(ApiError::new(Code::NotFound, detail));
        };
        let get = matches!(request.method(), Method::Get | Method::Head);
        match (resource, request.method()) {
            (resource, Method::Options) => Ok(options(resource.methods())),
            (Resource::Changes, Method::Post) => {
                parameterless(&request)?;
                drop(path);
                self.append(request).await
            }
            (Resource::Changes, _) if get => {
                accepts_json(&request)?;
                self.list(&request, now).await
            }
            (Resource::Change, _) if get => {
                parameterless(&request)?;
                accepts_json(&request)?;
                self.one(path.last().copied().unwrap_or_default()).await
            }
            (Resource::Health, _) if get => {
                parameterless(&request)?;
                Ok(self.health())
            }
            (Resource::Ready, _) if get => {
                parameterless(&request)?;
                self.ready()
            }
            (Resource::OpenApi, _) if get => {
                parameterless(&request)?;
                Ok(self.openapi())
            }
            (Resource::Index, _) if get => {
                parameterless(&request)?;
                Ok(if page::is_asked_for(&request) { self.live_page() } else { self.index() })
            }
            (resource, _) => Ok(not_allowed(&request, resource.methods())),
        }
    }
}

fn parameterless(request: &Request) -> Result<(), ApiError> {
    no_parameters(request.query().map(|(name, value)| (Cow::from(name), Cow::from(value))))
}

fn options(methods: &'static str) -> Reply {
    Reply::Now(Response::new(204).with_header("Allow", methods))
}

fn not_allowed(request: &Request, methods: &'static str) -> Reply {
    let detail = format!("{} is not among the methods {methods}", request.method_name());
    let response: Response = ApiError::new(Code::MethodNotAllowed, detail).into();
    Reply::Now(response.with_header("Allow", methods))
}

/// Refuses a client that does not take JSON.
fn accepts_json(request: &Request) -> Result<(), ApiError> {
    let mut accepts = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    let mut asked = false;
    let takes_json = accepts.any(|(_, value)| {
        asked = true;
        value.split(|&byte| byte == b',').any(range_takes_json)
    });
    if takes_json || !asked {
        return Ok(());
    }
    let detail = "this resource is served as application/json only";
    Err(ApiError::new(Code::NotAcceptable, detail))
}

/// Whether one media range of `Accept` matches JSON with a weight above zero.
fn range_takes_json(range: &[u8]) -> bool {
    let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let media_type = parts.next().unwrap_or_default();
    let matches = ["*/*", "application/*", "application/json"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known.as_bytes()));
    let refused = parts.any(|parameter| {
        parameter
            .strip_prefix(b"q=")
            .or(parameter.strip_prefix(b"Q="))
            .is_some_and(|weight| weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
    });
    matches && !refused
}

#[cfg(test)]
mod tests {
    use super::range_takes_json;

    #[test]
    fn media_ranges() {
        for (range, takes) in [
            ("*/*", true),
            (" application/json;q=0.5", true),
            ("Application/*", true),
            ("application/json; q=0", false),
            ("application/json;q=0.000", false),
            ("text/html", false),
            ("", false),
        ] {
            assert_eq!(range_takes_json(range.as_bytes()), takes, "{range:?}");
        }
    }
}
