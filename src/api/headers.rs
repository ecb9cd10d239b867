//! What every answer bears, whatever it is of.

use crate::{
    base::limits::Limits,
    http::{self, DateText},
    io::cores,
    node::{Handle, copy::CopyAge},
};

/// What the connections of the core of `node` share: the limits that requests keep to, and the
/// headers of every answer.
#[must_use]
pub fn http_context(limits: &Limits, node: &Handle) -> http::Context {
    let node = node.clone();
    let cluster = node.cluster().to_string();
    http::Context::new(limits.clone(), date()).with_common_headers(move |headers| {
        // What comes in meanwhile makes nothing newer that is told here.
        let age = node.status().copy().and_then(CopyAge::age);
        // Also an answer that never came as far as the API tells of all that was told before.
        node.catch_up();
        headers.number("ChangeAgent-Last", node.last().0);
        headers.text("ChangeAgent-Cluster", &cluster);
        if let Some(age) = age {
            // Rather too old than too new.
            headers.number("ChangeAgent-Age", age.as_secs() + u64::from(age.subsec_nanos() > 0));
        }
    })
}

/// The `Date` of answers that are given now.
#[must_use]
pub fn date() -> DateText {
    DateText::from_unix_seconds(cores::wall_micros() / 1_000_000)
}
