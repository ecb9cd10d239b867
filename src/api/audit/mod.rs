//! Who administered what: a line of JSON for each request that creates or removes tenants and collections, or
//! needs the right to administer, and how it was answered. Other writes, and reads, are not looked at.
//!
//! A line is made when its answer is, and handed to whoever writes it down, through a bounded queue: nothing here
//! waits for a disk.

mod event;
mod queue;

use std::sync::Arc;

pub use self::{
    event::Event,
    queue::{Audit, Entry},
};
use super::{access::Principal, context::Core, route::Resource};
use crate::{
    base::tokens::Right,
    http::{Method, Request},
    io::net::Peer,
};

/// What is to be told of `request`, which `principal` sent from there; nothing where it administers nothing, or
/// nobody wants to know. A cache leaves it to its origin.
pub(super) fn event(
    core: &Core,
    request: &Request,
    principal: &Principal,
    from: impl FnOnce() -> Option<Peer>,
) -> Option<Event> {
    if !core.audit.is_kept() || core.origins.is_some() || !administers(request) {
        return None;
    }
    Some(Event::new(Arc::clone(&core.audit), core, request, principal, from()))
}

/// Whether a request is told of.
fn administers(request: &Request) -> bool {
    if matches!(request.method(), Method::Get | Method::Head | Method::Options) {
        return false;
    }
    match Resource::of(&request.path_segments()) {
        None => false,
        // What tenants do all day.
        Some(
            Resource::Changes | Resource::TenantChanges(_) | Resource::Keys(_) | Resource::Key(..),
        ) => false,
        Some(resource) => {
            let right = resource.need(request).and_then(|need| need.right);
            matches!(right, Some(Right::Write | Right::Administer))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::ROUTES, http::fuzzing::request};

    #[test]
    fn what_administers_is_told_of_and_what_tenants_do_all_day_is_not() {
        let is_told = |method: &str, path: &str| {
            let text = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
            administers(&request(text.as_bytes()).expect("it is a request"))
        };
        let mut told = Vec::new();
        for (path, methods) in ROUTES {
            // A brace stands in no path as it is.
            let plain = path.replace(['{', '}'], "");
            let methods = methods.split(", ").filter(|method| is_told(method, &plain));
            told.extend(methods.map(|method| format!("{method} {path}")));
        }
        let want = [
            "POST /cluster/leader",
            "POST /cluster/members",
            "PATCH /cluster/members/{id}",
            "DELETE /cluster/members/{id}",
            "POST /changes/{id}/redact",
            "POST /tenants",
            "DELETE /tenants/{tenant}",
            "PUT /tenants/{tenant}/retention",
            "PUT /tenants/{tenant}/quota",
            "POST /tenants/{tenant}/collections",
            "DELETE /tenants/{tenant}/collections/{name}",
            "DELETE /collections/{collection}",
            "POST /tokens",
            "PUT /tokens/anonymous",
            "DELETE /tokens/{id}",
        ];
        assert_eq!(told, want);
    }
}
