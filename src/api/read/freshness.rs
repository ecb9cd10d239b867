//! Whether this node knows enough to answer a read: as much as before it was
//! started, and as much as the client asks for.

use std::time::Instant;

use crate::{
    api::{
        context::Context,
        error::{ApiError, Code},
    },
    base::{ids::ChangeId, planted::planted, timing::write_time_left},
    feed::Wait,
    io::cores,
    node::{control::ReadError, copy::CopyAge},
    state::ListId,
};

/// Whether what is stored may be read from this node: it serves nothing older than
/// before it was started.
///
/// # Errors
/// [`Code::Storage`] and [`Code::Behind`].
pub(in crate::api) fn check(api: &Context) -> Result<(), ApiError> {
    check_halted(api)?;
    if !api.node.status().has_recovered() && !planted!(ServeBeforeRecovered) {
        let detail = "this node has not caught up since it was started";
        return Err(ApiError::new(Code::Behind, format!("{detail}{}", how_far(api))));
    }
    match api.node.status().copy().and_then(CopyAge::staleness) {
        Some(why) => Err(ApiError::new(Code::Behind, why + &how_far(api))),
        None => Ok(()),
    }
}

/// How far a copy is, as it is added to what it is behind with.
pub(in crate::api) fn how_far(api: &Context) -> String {
    let Some(copy) = api.node.status().copy() else { return String::new() };
    let own = format!(": it holds changes up to {}", api.node.last());
    match copy.newest_of_origin() {
        Some(newest) => format!("{own}, and its origin had changes up to {newest}"),
        None => format!("{own}, and no origin has answered"),
    }
}

/// Whether this node may serve what it holds.
///
/// # Errors
/// [`Code::Storage`]
pub(in crate::api) fn check_halted(api: &Context) -> Result<(), ApiError> {
    match api.node.status().halted() {
        Some(why) => Err(ApiError::new(Code::Storage, why)),
        None => Ok(()),
    }
}

/// Whether the history that is read goes on to be the one that is served here.
///
/// # Errors
/// [`Code::OtherHistory`], naming the one that takes its place.
pub(in crate::api) fn check_not_replaced(api: &Context) -> Result<(), ApiError> {
    match api.node.status().copy().and_then(CopyAge::replaced_by) {
        Some(other) => {
            let detail = format!("the origin of this cache has the history {other} by now");
            let error = ApiError::new(Code::OtherHistory, detail);
            Err(error.with_text("cluster", other.to_string()))
        }
        None => Ok(()),
    }
}

/// Waits until this node knows everything that was acknowledged, names above all,
/// in the time that a write has which arrived at `since`.
///
/// # Errors
/// When it did not come to know; nothing was proposed.
pub(in crate::api) async fn learn_names(api: &Context, since: Instant) -> Result<(), ApiError> {
    let left = write_time_left(since, cores::now());
    let known = cores::within(left, api.node.barrier()).await;
    Ok(known.unwrap_or(Err(ReadError::Behind))?)
}

/// What to wait for until this node holds the change `min_id`; nothing when it
/// does.
///
/// # Errors
/// [`Code::Behind`] when it does not, and may not be waited for.
pub(in crate::api) fn wait_for(
    api: &Context,
    min_id: ChangeId,
    may_wait: bool,
) -> Result<Option<Wait>, ApiError> {
    let last = api.node.last();
    if min_id <= last || planted!(IgnoreMinId) {
        return Ok(None);
    }
    if may_wait {
        return Ok(Some(api.node.wait_after(ListId::All, ChangeId(min_id.0 - 1))));
    }
    let detail = format!("this node holds changes up to {last}, not {min_id}");
    Err(ApiError::new(Code::Behind, detail))
}
