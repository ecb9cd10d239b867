//! Reads of what a copy does not hold: what is older than all it has, and other tenants where it is of
//! some alone.

use std::{cell::RefCell, io};

use super::{
    request::{is_good, is_purged, passed_on, question},
    stream::hand_on_stream,
};
use crate::{
    api::{
        access::Visible,
        body::ticket,
        context::Context,
        error::{ApiError, Code},
        growing::Growing,
        reply::Reply,
        request::{
            ChangesQuery, ListName,
            accept::{self, Media},
            content_type::body_form,
            parameter::read_block,
            path::{self, CollectionPath},
        },
        route::Resource,
    },
    base::{
        limits::READ_BYTES_MAX,
        planted::planted,
        timing::{COPY_READ, COPY_READ_BLOCK},
    },
    http::Request,
    node::copy::{CopyAge, Origins},
    upstream::Question,
};

/// Whether what a request asks for is of tenants that this copy does not hold, as far as that is
/// known without looking.
pub(in crate::api) fn is_elsewhere(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
) -> bool {
    if api.node.status().copy().and_then(CopyAge::tenants).is_none() {
        return false;
    }
    let visible = api.visible();
    match resource {
        // Of a request that is wrong that is said here.
        Resource::Changes if planted!(ShowPartAsWhole) => false,
        Resource::Changes => ChangesQuery::parse(request.query()).is_ok_and(|query| {
            query.lists.is_empty() || query.lists.iter().any(|list| !has_list(visible, *list))
        }),
        Resource::Tenants => true,
        Resource::Tenant(tenant)
        | Resource::Retention(tenant)
        | Resource::Quota(tenant)
        | Resource::TenantChanges(tenant)
        | Resource::TenantState(tenant)
        | Resource::Collections(tenant)
        | Resource::Collection(CollectionPath::Named(tenant, _))
        | Resource::CollectionChanges(CollectionPath::Named(tenant, _))
        | Resource::CollectionState(CollectionPath::Named(tenant, _))
        | Resource::Keys(CollectionPath::Named(tenant, _))
        | Resource::Key(CollectionPath::Named(tenant, _), _) => {
            !has_list(visible, ListName::Tenant(tenant))
        }
        Resource::Collection(CollectionPath::Id(collection))
        | Resource::CollectionChanges(CollectionPath::Id(collection))
        | Resource::CollectionState(CollectionPath::Id(collection))
        | Resource::Keys(CollectionPath::Id(collection))
        | Resource::Key(CollectionPath::Id(collection), _) => {
            !has_list(visible, ListName::Collection(collection))
        }
        _ => false,
    }
}

/// Whether a request for a ticket is for a stream of what this copy does not hold: its origin opens that.
pub(in crate::api) fn is_ticket_elsewhere(api: &Context, request: &Request) -> bool {
    // Of one that is wrong that is said here.
    let path = body_form(request).and_then(|form| ticket::parse(request.body(), form));
    path.is_ok_and(|path| {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let list = Resource::of(&segments).filter(|resource| resource.is_list());
        list.is_some_and(|list| is_elsewhere(api, request, list))
    })
}

fn has_list(visible: Visible<'_>, list: ListName<'_>) -> bool {
    match list {
        ListName::Tenant(tenant) => path::tenant(visible, tenant).is_ok(),
        ListName::Collection(collection) => {
            path::collection(visible, CollectionPath::Id(collection)).is_ok()
        }
    }
}

/// Hands a read on to an origin and gives its answer, unless that shows less than what this copy has. Where it
/// is of a list that begins here behind that, `purged` says so, and is told where the origin has it no more either:
/// what it says of the beginning is true of what is here.
pub(in crate::api) async fn hand_on_read(
    api: &Context,
    origins: &Origins,
    request: &Request,
    purged: Option<ApiError>,
) -> Result<Reply, ApiError> {
    let behind = |detail: String| ApiError::new(Code::Behind, detail);
    if !is_page(request) {
        return Box::pin(hand_on_stream(api, origins, request, purged)).await;
    }
    let Some(question) = question(api, request) else {
        return Err(behind("the origins of this cache lead back to it".to_owned()));
    };
    let _place = api.handed_on.read()?;
    let target = with_short_block(&question.target);
    // A page of changes has one at least, however long that is.
    let answer_bytes_max = READ_BYTES_MAX + 2 * api.limits.body_bytes;
    let question = Question { target, answer_bytes_max, limit: COPY_READ, ..question };
    // Counted here until it is an answer of this node.
    let (growing, full) = (RefCell::new(Growing::new(&api.held)), RefCell::new(None));
    let hold = |bytes: usize| {
        growing.borrow_mut().hold(bytes).map_err(|refused| {
            *full.borrow_mut() = Some(refused);
            io::Error::other("its answer has no room here")
        })
    };
    match origins.hand_on_read(&question, &hold, |answer| is_good(api, answer)).await {
        Ok(answer) => match purged.filter(|_| is_purged(&answer)) {
            Some(own) => Err(own),
            None => Ok(Reply::Now(passed_on(answer))),
        },
        Err(error) => Err(full.take().unwrap_or_else(|| {
            behind(format!("this cache does not hold that, nor its origin: {error}"))
        })),
    }
}

/// Whether an answer to it has an end that comes soon.
fn is_page(request: &Request) -> bool {
    let path = request.path_segments();
    match Resource::of(&path) {
        Some(Resource::TenantState(_) | Resource::CollectionState(_)) | None => false,
        Some(resource) if resource.is_list() => {
            matches!(accept::choose(request, &accept::OF_CHANGES), Ok(Media::Json) | Err(_))
        }
        Some(_) => true,
    }
}

/// The same without a wait that is longer than an origin may take.
fn with_short_block(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let short = |pair: &str| match pair.strip_prefix("block=").map(read_block) {
        Some(Ok(block)) if block > COPY_READ_BLOCK => {
            format!("block={}", COPY_READ_BLOCK.as_secs())
        }
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(short).collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_handed_on_only_as_long_as_an_origin_may_take() {
        for (target, want) in [
            ("/changes", "/changes"),
            ("/changes?since=1&block=300", "/changes?since=1&block=5"),
            ("/changes?block=2.5&since=block=9", "/changes?block=2.5&since=block=9"),
            ("/changes?block=many", "/changes?block=many"),
        ] {
            assert_eq!(with_short_block(target), want);
        }
    }
}
