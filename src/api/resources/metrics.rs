//! `/metrics`: what the node counts, as Prometheus reads it.

use crate::{
    api::{context::Context, metrics::CONTENT_TYPE, reply::Reply},
    http::Response,
    io::{cores, process},
};

/// `GET /metrics`
pub(in crate::api) async fn get(api: &Context) -> Reply {
    let held_bytes = i64::try_from(api.held.node_bytes()).unwrap_or(i64::MAX);
    api.metrics.held_bytes.set(held_bytes);
    let usage = cores::off_core(process::usage).await;
    let usage =
        usage.inspect_err(|error| tracing::debug!(%error, "nothing is known of the process")).ok();
    let text = api.metrics.text(&api.node, usage.as_ref());
    Reply::Now(Response::new(200).with_body(CONTENT_TYPE, text))
}
