//! From a request to the resource that answers it, and on after a wait.

use std::time::{Duration, Instant};

use super::{
    context::Context,
    error::{ApiError, Code},
    hand_on::{check_history, hand_on_read, hand_on_write, is_elsewhere, is_ticket_elsewhere},
    read::{
        caching::Caching,
        freshness::{self, learn_names, wait_for},
        key, list, moved,
        question::{Lists, Start},
        stream,
    },
    refusal::refusal,
    reply::{Awaited, Parked, ParkedRead, Reply},
    request::{
        ChangesQuery, Consistency, CopyQuery, ReadOf, ReadQuery, View,
        accept::{self, Media, negotiated},
        parameter,
    },
    resources::{
        changes, cluster, collections, docs, keys, log, members, metrics, node, openapi, page,
        quota, session, state, tenants, tokens,
    },
    route::{ALL, Resource, not_there},
};
use crate::{
    base::limits::MIN_ID_WAIT,
    http::{Method, Request, Response},
    state::ListId,
};

/// What became of a request.
enum Routed {
    /// It is answered, or waits for what it names.
    Reply(Reply),
    /// It is to be asked again from the start, once this resolves or the moment
    /// comes.
    Again(Awaited, Instant),
}

/// Answers a request that arrived at `now`, or has been waited with until
/// `deadline` already.
pub(super) async fn handle(
    api: &Context,
    mut request: Box<Request>,
    now: Instant,
    deadline: Option<Instant>,
) -> Reply {
    let routed = route(api, &request, now, deadline).await;
    if !matches!(routed, Ok(Routed::Reply(Reply::Write(_)))) {
        // What was found, or found missing, may be newer than this core's list.
        api.node.catch_up_with_index().await;
    }
    match routed {
        Ok(Routed::Reply(Reply::Write(mut write))) => {
            if write.by_name {
                write.request = Some(request);
            }
            Reply::Write(write)
        }
        Ok(Routed::Reply(reply)) => reply,
        Ok(Routed::Again(wait, deadline)) => {
            request.release_buffer();
            Reply::Park(Parked { asked: ParkedRead::Request(request), wait, deadline })
        }
        Err(error) => Reply::Now(refusal(&request, error)),
    }
}

/// Answers a write anew that was refused because what it names was not there:
/// this node may not have known yet what its names stand for by now. A second
/// refusal is told. It arrived at `since`, and its time is not extended.
pub(super) async fn again(api: &Context, request: Box<Request>, since: Instant) -> Reply {
    if let Err(error) = learn_names(api, since).await {
        return Reply::Now(error.into());
    }
    let mut reply = handle(api, request, since, None).await;
    if let Reply::Write(write) = &mut reply {
        write.request = None;
    }
    reply
}

/// Goes on with a parked read, because something changed or because it has waited
/// long enough.
pub(super) async fn resume(api: &Context, parked: Parked, now: Instant) -> Reply {
    if let Err(error) = freshness::check_halted(api) {
        return Reply::Now(error.into());
    }
    let deadline = if api.node.is_stopping() { now } else { parked.deadline };
    let is_key = matches!(parked.asked, ParkedRead::Key(_) | ParkedRead::Moved(_));
    let reply = match parked.asked {
        ParkedRead::Request(request) => return handle(api, request, now, Some(deadline)).await,
        // It says so in its own way.
        ParkedRead::Stream(stream) => stream::open(api, *stream, deadline, now),
        _ if let Err(error) = freshness::check(api) => Err(error),
        ParkedRead::List(question) => list::ask(api, question, deadline, now).await,
        ParkedRead::Rest(mut question) => {
            question.start = Start::After(parked.wait.examined());
            // It has stood until now; from here on it is a read like others.
            drop(parked.wait);
            list::ask(api, question, deadline, now).await
        }
        ParkedRead::Key(question) => key::ask(api, *question, deadline, now).await,
        ParkedRead::Moved(mut question) => {
            question.since = parked.wait.examined();
            drop(parked.wait);
            moved::ask(api, *question, deadline, now).await
        }
    };
    api.node.catch_up_with_index().await;
    reply.unwrap_or_else(|error| {
        let refusal = Response::from(error);
        Reply::Now(if is_key { refusal } else { negotiated(refusal) })
    })
}

async fn route(
    api: &Context,
    request: &Request,
    now: Instant,
    deadline: Option<Instant>,
) -> Result<Routed, ApiError> {
    let path = request.path_segments();
    if request.method() == Method::Options && path.is_empty() {
        return Ok(Routed::Reply(options(api, request, ALL)));
    }
    let resource = match Resource::find(request, &path) {
        Ok(resource) => resource,
        Err(refusal) => return Ok(Routed::Reply(Reply::Now(*refusal))),
    };
    match request.method() {
        Method::Options => Ok(Routed::Reply(options(api, request, resource.methods()))),
        // It opens what is passed on.
        Method::Post
            if matches!(resource, Resource::Tickets)
                && let Some(origins) = &api.origins
                && is_ticket_elsewhere(api, request) =>
        {
            Box::pin(hand_on_write(api, origins, request, false)).await.map(Routed::Reply)
        }
        // Nothing of these is stored, and each node gives them itself.
        _ if matches!(resource, Resource::Session | Resource::Tickets) => {
            session::answer(api, request, resource).map(Routed::Reply)
        }
        // Apart from the connection, which may be parked with it gone.
        Method::Get | Method::Head if resource.is_of_node() => {
            Box::pin(read_node(api, request, resource)).await.map(Routed::Reply)
        }
        Method::Get | Method::Head if matches!(resource, Resource::Log) => {
            Box::pin(read_log(api, request, now, deadline)).await
        }
        Method::Get | Method::Head if matches!(resource, Resource::Checkpoint) => {
            Box::pin(log::checkpoint(api, request)).await.map(Routed::Reply)
        }
        Method::Get | Method::Head => {
            Box::pin(read_stored(api, request, resource, now, deadline)).await
        }
        _ => write(api, request, resource, now).await.map(Routed::Reply),
    }
}

/// What is stored, here or at the origin of a copy that does not hold it.
async fn read_stored(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
    now: Instant,
    deadline: Option<Instant>,
) -> Result<Routed, ApiError> {
    let found = match is_elsewhere(api, request, resource) {
        true => None,
        false if resource.is_list() => {
            Some(read_list(api, request, resource, now).await.map(Routed::Reply))
        }
        false => Some(read_resource(api, request, resource, now, deadline).await),
    };
    match (&api.origins, found) {
        (Some(origins), None) => hand_on_read(api, origins, request, None).await,
        (Some(origins), Some(Err(error))) if error.code == Code::Purged => {
            hand_on_read(api, origins, request, Some(error)).await
        }
        (_, Some(found)) => return found,
        (None, None) => unreachable!("only a copy lacks something"),
    }
    .map(Routed::Reply)
}

fn options(api: &Context, request: &Request, methods: &'static str) -> Reply {
    Reply::Now(api.browsers.reader(request).preflight(request, methods))
}

/// What the node says about itself.
async fn read_node(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
) -> Result<Reply, ApiError> {
    let view = View::read(request, resource.is_about_the_cluster())?;
    if matches!(
        resource,
        Resource::OpenApi | Resource::Cluster | Resource::Members | Resource::Member(_)
    ) {
        accept::choose(request, &[Media::Json])?;
    }
    Ok(match resource {
        Resource::Health => node::health(api),
        Resource::Ready => node::ready(api)?,
        Resource::Index if accept::names_html(request) => page::get(),
        Resource::Index => node::index(api),
        Resource::Metrics => metrics::get(api).await,
        Resource::OpenApi => openapi::get(),
        Resource::Docs => docs::get(),
        Resource::Cluster => cluster::get(api, view),
        Resource::Members => members::list(api, view),
        Resource::Member(id) => members::get(api, view, id)?,
        _ => unreachable!("no other resource of the node can be read"),
    })
}

/// Entries of the log, which may be waited for.
async fn read_log(
    api: &Context,
    request: &Request,
    now: Instant,
    deadline: Option<Instant>,
) -> Result<Routed, ApiError> {
    let query = CopyQuery::of_log(request.query())?;
    let until = deadline.unwrap_or(now + query.block);
    let is_stopping = api.node.is_stopping();
    let may_wait = now < until && !is_stopping;
    // Who stops ends waits early, and does not know any more when they began.
    let asked = until.checked_sub(query.block).filter(|_| !is_stopping);
    Ok(match log::entries(api, request, query, asked, may_wait).await? {
        Ok(response) => Routed::Reply(Reply::Now(response)),
        Err(wait) => Routed::Again(Awaited::Entry(wait), until),
    })
}

async fn read_list(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
    now: Instant,
) -> Result<Reply, ApiError> {
    freshness::check(api)?;
    let query = ChangesQuery::parse(request.query());
    if let Ok(query) = &query {
        api.check_history(query.cluster)?;
    }
    if query.as_ref().is_ok_and(|query| query.consistency == Consistency::Strong) {
        api.node.barrier().await?;
    }
    // What the path names comes first.
    let list = resource.list(api.visible())?;
    let (list, meter) = list.unwrap_or_else(|| unreachable!("it is a list"));
    meter.map_or(Ok(()), |meter| api.bill(&meter))?;
    let query = query?;
    let lists = match (list, query.lists.first()) {
        (ListId::All, None) if api.principal.is_limited() => {
            return Err(ApiError::new(Code::NotFound, not_there(request)));
        }
        (_, None) => Lists::One(list),
        (ListId::All, Some(_)) => changes::lists(api, &query.lists)?,
        (_, Some(name)) => return Err(parameter::unknown(name.parameter())),
    };
    let caching = Caching::of(request, &query, resource.is_by_name());
    changes::get_list(api, request, lists, query, caching, now).await
}

async fn read_resource(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
    now: Instant,
    deadline: Option<Instant>,
) -> Result<Routed, ApiError> {
    freshness::check(api)?;
    let query = ReadQuery::parse(resource.read_of(), request.query())?;
    api.check_history(query.cluster)?;
    // What was waited with has been asked already.
    if deadline.is_none() && query.consistency == Consistency::Strong {
        api.node.barrier().await?;
    }
    if resource.read_of() != ReadOf::State {
        accept::choose(request, &[Media::Json])?;
    }
    if let Some(min_id) = query.min_id {
        resource.meter(api.visible()).map_or(Ok(()), |meter| api.bill(&meter))?;
        let until = deadline.unwrap_or_else(|| now + query.block.unwrap_or(MIN_ID_WAIT));
        let may_wait = now < until && !api.node.is_stopping();
        if let Some(wait) = wait_for(api, min_id, may_wait)? {
            return Ok(Routed::Again(wait.into(), until));
        }
    }
    Ok(Routed::Reply(match resource {
        Resource::Change(id) => changes::get(api, id).await?,
        Resource::Tokens => tokens::list(api, &query).await,
        Resource::Token(id) => tokens::get(api, id)?,
        Resource::Anonymous => tokens::anonymous(api),
        Resource::Tenants => tenants::list(api, &query).await,
        Resource::Tenant(tenant) => tenants::get(api, tenant)?,
        Resource::Retention(tenant) => tenants::retention(api, tenant)?,
        Resource::Quota(tenant) => quota::get(api, tenant).await?,
        Resource::Collections(tenant) => collections::list(api, tenant, &query).await?,
        Resource::Collection(path) => collections::get(api, path)?,
        Resource::Keys(path) => {
            let until = deadline.unwrap_or(now + query.block.unwrap_or(Duration::ZERO));
            keys::list(api, path, &query, until, now).await?
        }
        Resource::TenantState(tenant) => {
            state::of_tenant(api, request, tenant, &query, now).await?
        }
        Resource::CollectionState(path) => state::of_collection(api, request, path, &query, now)?,
        Resource::Key(path, key) => {
            let until = deadline.unwrap_or(now + query.block.unwrap_or(Duration::ZERO));
            keys::get(api, request, path, key, &query, until, now).await?
        }
        _ => unreachable!("every other resource is of the node, or a list"),
    }))
}

/// Has a write done whose method the resource has.
async fn write(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
    now: Instant,
) -> Result<Reply, ApiError> {
    if !resource.is_of_node() {
        check_history(api, request)?;
    }
    if let Some(origins) = &api.origins {
        // A cluster may take longer over its members than over a write.
        let is_of_node = resource.is_of_node();
        return Box::pin(hand_on_write(api, origins, request, is_of_node)).await;
    }
    let parameters = parameter::check_none(request);
    let mut reply = write_resource(api, request, resource, parameters.as_ref()).await;
    if let Err(error) = &reply
        && matches!(error.code, Code::NotFound | Code::TenantMismatch)
        && !resource.is_of_node()
    {
        // It may be there and not be known here yet.
        learn_names(api, now).await?;
        reply = write_resource(api, request, resource, parameters.as_ref()).await;
    }
    if let Ok(Reply::Write(write)) = &mut reply {
        write.by_name |= resource.is_by_name();
    }
    reply
}

/// Does that once; `parameters` tells whether there are any, which no write has.
async fn write_resource(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
    parameters: Result<&(), &ApiError>,
) -> Result<Reply, ApiError> {
    if let Err(error) = parameters {
        // What the path names comes first.
        return Err(resource.missing(api.visible()).unwrap_or_else(|| error.clone()));
    }
    match (request.method(), resource) {
        (Method::Post, Resource::Changes) => changes::post(api, request, None).await,
        (Method::Post, Resource::TenantChanges(tenant)) => {
            changes::post(api, request, Some(tenant)).await
        }
        (Method::Post, Resource::Redaction(id)) => changes::redact(api, request, id).await,
        (Method::Post, Resource::Tenants) => tenants::create(api, request),
        (Method::Post, Resource::Tokens) => tokens::create(api, request),
        (Method::Delete, Resource::Token(id)) => tokens::revoke(api, request, id),
        (Method::Put, Resource::Anonymous) => tokens::set_anonymous(api, request),
        (Method::Post, Resource::Collections(tenant)) => collections::create(api, request, tenant),
        (Method::Post, Resource::Keys(path)) => keys::post(api, request, path).await,
        (Method::Put, Resource::Key(path, key)) => keys::put(api, request, path, key).await,
        (Method::Delete, Resource::Key(path, key)) => keys::delete(api, request, path, key),
        (Method::Delete, Resource::Collection(path)) => collections::delete(api, request, path),
        (Method::Put, Resource::Retention(tenant)) => tenants::retain(api, request, tenant),
        (Method::Put, Resource::Quota(tenant)) => quota::set(api, request, tenant),
        (Method::Delete, Resource::Tenant(tenant)) => tenants::delete(api, request, tenant),
        (Method::Post, Resource::Members) => members::add(api, request).await,
        (Method::Patch, Resource::Member(id)) => members::change(api, request, id).await,
        (Method::Delete, Resource::Member(id)) => members::remove(api, request, id).await,
        (Method::Post, Resource::Leader) => cluster::lead(api, request).await,
        _ => unreachable!("no resource has this method"),
    }
}
