//! The bound of a body that only names something, or nothing.

use crate::{
    api::error::{ApiError, Code},
    http::Request,
};

/// The largest body of a request that only names something, or nothing.
pub(in crate::api) const SMALL_BODY_BYTES: usize = 64 << 10;

/// Refuses a body of so many bytes that no such request needs.
///
/// # Errors
/// [`Code::TooLarge`]
pub(in crate::api) fn check(bytes: usize) -> Result<(), ApiError> {
    if bytes <= SMALL_BODY_BYTES {
        return Ok(());
    }
    let detail = format!(
        "the body is {bytes} bytes, above the limit of {SMALL_BODY_BYTES} for this request"
    );
    Err(ApiError::new(Code::TooLarge, detail))
}

/// The same by the length that the head declares, before the body is there.
///
/// # Errors
/// [`Code::TooLarge`]
pub(in crate::api) fn check_declared(request: &Request) -> Result<(), ApiError> {
    let declared = request.header("content-length").and_then(|text| std::str::from_utf8(text).ok());
    declared.and_then(|text| text.parse().ok()).map_or(Ok(()), check)
}
