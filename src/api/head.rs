//! What the head of a request alone decides: so that a client that asks before
//! it sends a body is not told to send one that would be refused.

use std::fmt::Write as _;

use super::{
    Api, conditions,
    error::{ApiError, Code, excerpt},
    idempotency::Keyed,
    route::{ALL, Resource, not_allowed, parameterless, unreadable},
    write::{SMALL_BODY_BYTES, body_form},
};
use crate::http::{Method, Request, Response};

impl Api {
    /// The refusal that a request earns whatever its body is; nothing when the
    /// body is needed to tell.
    pub async fn refusal_by_head(&self, request: &Request) -> Option<Response> {
        if let Err(error) = self.admit(request) {
            return Some(error.into());
        }
        let path = request.path_segments();
        let resource = match resource(request, &path) {
            Ok(resource) => resource,
            Err(response) => return Some(*response),
        };
        match self.check_head(request, resource).await {
            Ok(()) => None,
            Err(error) => Some(error.into()),
        }
    }

    /// Whether a request is about the node or its cluster, and not about what is
    /// stored.
    #[must_use]
    pub fn is_about_node(&self, request: &Request) -> bool {
        Resource::of(&request.path_segments()).is_some_and(|resource| resource.is_of_node())
    }

    async fn check_head(&self, request: &Request, resource: Resource<'_>) -> Result<(), ApiError> {
        if !matches!(request.method(), Method::Post | Method::Put | Method::Patch) {
            return Ok(());
        }
        if let Err(error) = parameterless(request) {
            return Err(self.missing(resource).unwrap_or(error));
        }
        let form = body_form(request)?;
        match resource {
            Resource::Key(..) => {
                conditions::of_write(request)?;
            }
            Resource::Changes | Resource::TenantChanges(_) => conditions::refuse(request)?,
            Resource::Keys(_) => {}
            _ => small_body(request)?,
        }
        if Keyed::of(request, form)?.is_some() {
            // It may repeat a request that was answered while what it names was there.
            return Ok(());
        }
        if self.missing(resource).is_some() {
            // It may be there and not be known here yet.
            self.node.barrier().await.map_err(|error| unreadable(&error))?;
            return self.missing(resource).map_or(Ok(()), Err);
        }
        Ok(())
    }
}

/// What a request is for, if that is there and has its method.
///
/// # Errors
/// The answer where it is not.
pub(super) fn resource<'p>(
    request: &Request,
    path: &[&'p str],
) -> Result<Resource<'p>, Box<Response>> {
    let Some(resource) = Resource::of(path) else {
        // `CONNECT`, and `OPTIONS *`.
        if path.is_empty() {
            return Err(Box::new(not_allowed(request, ALL).with_close()));
        }
        let mut detail = format!("there is no resource {:?}", excerpt(request.target()));
        if let [before @ .., ""] = path
            && Resource::of(before).is_some()
        {
            let path = request.target().split('?').next().unwrap_or_default();
            let path = path.strip_suffix('/').unwrap_or(path);
            let _ = write!(detail, "; without the slash at its end, {:?}, there is", excerpt(path));
        }
        return Err(Box::new(ApiError::new(Code::NotFound, detail).into()));
    };
    match resource.methods().split(", ").any(|method| method == request.method_name()) {
        true => Ok(resource),
        false => Err(Box::new(not_allowed(request, resource.methods()))),
    }
}

/// Refuses a declared length that no request which only names something needs.
fn small_body(request: &Request) -> Result<(), ApiError> {
    let declared = request.header("content-length").and_then(|text| std::str::from_utf8(text).ok());
    match declared.and_then(|text| text.parse::<usize>().ok()) {
        Some(bytes) if bytes > SMALL_BODY_BYTES => {
            let detail = format!(
                "the body is {bytes} bytes, above the limit of {SMALL_BODY_BYTES} for this request"
            );
            Err(ApiError::new(Code::TooLarge, detail))
        }
        _ => Ok(()),
    }
}
