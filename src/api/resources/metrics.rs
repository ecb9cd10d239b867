//! `/metrics`: what the node counts, as Prometheus reads it.

use crate::{
    api::{
        context::Context,
        metrics::{CONTENT_TYPE, of_tenants},
        reply::Reply,
    },
    http::Response,
    io::{cores, process},
};

/// `GET /metrics`
pub(in crate::api) async fn get(api: &Context) -> Reply {
    let held_bytes = i64::try_from(api.held.node_bytes()).unwrap_or(i64::MAX);
    api.metrics.held_bytes.set(held_bytes);
    let shown = api.limits.metrics_tenants;
    let index = (shown > 0).then(|| api.node.shared_index());
    let (usage, tenants) = cores::off_core(move || {
        (process::usage(), index.map(|index| of_tenants(&index.catalog, shown)))
    })
    .await;
    let usage =
        usage.inspect_err(|error| tracing::debug!(%error, "nothing is known of the process")).ok();
    let mut text = api.metrics.text(&api.node, usage.as_ref());
    text += &tenants.unwrap_or_default();
    Reply::Now(Response::new(200).with_body(CONTENT_TYPE, text))
}
