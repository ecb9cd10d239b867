//! Telling whoever asks that a long request is arriving, so that a connection is given up for want
//! of progress and never because the way is slow: how much has passed, only this end knows.

use std::time::Instant;

use bytes::Bytes;

use super::{
    frame::{Body, encode},
    message::Answer,
    outgoing::Outgoing,
};
use crate::{base::timing::ARRIVING_TOLD, io::cores};

/// The number of an answer to no request: more of one has arrived. The numbers of requests are
/// higher.
pub(super) const ARRIVING: u64 = 0;

/// What is to be called whenever more of a request has arrived and not all of it.
pub(super) fn tell(to: &Outgoing) -> impl FnMut() {
    let mut told: Option<Instant> = None;
    move || {
        let now = cores::now();
        let before = *told.get_or_insert(now);
        if now.saturating_duration_since(before) < ARRIVING_TOLD {
            return;
        }
        told = Some(now);
        // Without it, the connection is given up early, and nothing else.
        if let Ok(parts) = encode(ARRIVING, &Answer::Done, Body::Plain(Bytes::new())) {
            to.push(parts);
        }
    }
}
