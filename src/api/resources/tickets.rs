//! `/tickets`: what opens one stream for who cannot send headers.

use crate::{
    api::{
        body::ticket,
        context::Context,
        error::{ApiError, Code, excerpt},
        reply::Reply,
        request::{content_type::body_form, small_body},
        route::Resource,
    },
    base::{json_string::json_string, moment},
    http::{Request, Response},
};

/// `POST /tickets`
pub(super) fn create(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    let form = body_form(request)?;
    small_body::check(request.body().len())?;
    let path = ticket::parse(request.body(), form)?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let Some(resource) = Resource::of(&segments).filter(|resource| resource.is_list()) else {
        let detail = format!("{:?} is no list of changes, which alone is a stream", excerpt(&path));
        return Err(ApiError::new(Code::InvalidParameter, detail).with_text("member", "path"));
    };
    let (ticket, expires) = api.access.new_ticket(&api.principal, &path)?;
    // What is not there, or not for who asks.
    resource.list(api.visible())?;
    let (path, expires) = (json_string(&path), moment::text(expires));
    let body = format!("{{\"ticket\":\"{ticket}\",\"path\":{path},\"expires\":\"{expires}\"}}");
    Ok(Reply::Now(Response::json(201, body)))
}
