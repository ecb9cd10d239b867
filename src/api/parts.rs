//! The parts of an answer, whoever makes these.

use std::time::Instant;

use super::{
    context::Context,
    error::ApiError,
    read::stream::{self, Next},
    streamed::Streamed,
};

/// The next part of an answer.
///
/// # Errors
/// When it cannot go on: it must break off.
pub(super) async fn advance(
    api: &Context,
    streamed: &mut Streamed,
    now: Instant,
) -> Result<Next, ApiError> {
    match streamed {
        Streamed::Own(stream) => stream::advance(api, stream, now).await,
        Streamed::PassedOn(stream) => stream.advance(api, now),
    }
}

/// The last part of one that cannot go on for good.
///
/// # Errors
/// The same, where no event can tell of it.
pub(super) fn refuse(streamed: &mut Streamed, error: ApiError) -> Result<Next, ApiError> {
    match streamed {
        Streamed::Own(stream) => stream::refuse(stream, error),
        Streamed::PassedOn(stream) => stream.refuse(error),
    }
}
