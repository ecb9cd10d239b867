//! One parameter of a query: how its value is read, and its refusals.

use std::time::Duration;

use crate::{
    api::error::{ApiError, Code, excerpt},
    base::{
        ids::{ChangeId, ClusterId, Timestamp},
        limits::{BLOCK_MAX, READ_LIMIT_MAX},
        names::parse_uuid,
    },
    http::Request,
};

/// Which state a read is answered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What this node has applied.
    #[default]
    Local,
    /// Everything acknowledged before the read began.
    Strong,
}

/// Checks that a request to a resource without parameters gives none.
///
/// # Errors
/// [`Code::InvalidParameter`] naming the first one.
pub(in crate::api) fn check_none(request: &Request) -> Result<(), ApiError> {
    no_parameters(request.query())
}

fn no_parameters<'q>(pairs: impl IntoIterator<Item = (&'q str, &'q str)>) -> Result<(), ApiError> {
    match pairs.into_iter().next() {
        None => Ok(()),
        Some((name, _)) => Err(unknown(name)),
    }
}

/// Fills `slot` by `read`, which gives the range back when `value` is outside.
pub(super) fn once<T>(
    slot: &mut Option<T>,
    name: &'static str,
    value: &str,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<(), ApiError> {
    if slot.is_some() {
        return Err(invalid(name, format!("parameter \"{name}\" is given twice")));
    }
    *slot = Some(read(value).map_err(|range| out_of_range(name, value, range))?);
    Ok(())
}

pub(super) fn read_id(value: &str) -> Result<ChangeId, &'static str> {
    const RANGE: &str = "an integer from 0 to 9223372036854775807";
    if !is_digits(value) {
        return Err(RANGE);
    }
    // What is told of it goes into 64 bits with a sign.
    let id = value.parse().ok().filter(|id| i64::try_from(*id).is_ok());
    id.map(ChangeId).ok_or(RANGE)
}

/// The identity of a history, in any case of letters.
pub(in crate::api) fn read_cluster(value: &str) -> Result<ClusterId, &'static str> {
    const RANGE: &str = "the UUID of a history, as the header ChangeAgent-Cluster gives it";
    parse_uuid(value).map(ClusterId).ok_or(RANGE)
}

/// A moment, in microseconds since 1970-01-01 UTC.
pub(super) fn read_timestamp(value: &str) -> Result<Timestamp, &'static str> {
    const RANGE: &str = "microseconds since 1970, an integer from 0 to 9223372036854775807";
    read_id(value).map(|micros| Timestamp(micros.0)).map_err(|_| RANGE)
}

/// The id of the last event that a client has; nothing when it has none yet.
pub(in crate::api) fn read_last_event_id(value: &str) -> Result<Option<ChangeId>, &'static str> {
    if value.is_empty() { Ok(None) } else { read_id(value).map(Some) }
}

pub(super) fn read_bool(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false"),
    }
}

pub(super) fn read_limit(value: &str) -> Result<usize, &'static str> {
    if !is_digits(value) || value.bytes().all(|digit| digit == b'0') {
        return Err("an integer from 1 (more than 10000 counts as 10000)");
    }
    // Digits that do not fit the type are above the maximum as well.
    Ok(value.parse().map_or(READ_LIMIT_MAX, |limit: usize| limit.min(READ_LIMIT_MAX)))
}

pub(in crate::api) fn read_block(value: &str) -> Result<Duration, &'static str> {
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if !is_digits(seconds) || !is_digits(fraction) {
        return Err("decimal seconds from 0 (more than 300 counts as 300)");
    }
    // Digits that do not fit the type are above the maximum as well; digits
    // below a nanosecond are cut.
    let seconds = seconds.parse().unwrap_or(u64::MAX);
    let nanos = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Ok(Duration::new(seconds, nanos).min(BLOCK_MAX))
}

pub(super) fn read_consistency(value: &str) -> Result<Consistency, &'static str> {
    match value {
        "local" => Ok(Consistency::Local),
        "strong" => Ok(Consistency::Strong),
        _ => Err("local or strong"),
    }
}

fn is_digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

pub(in crate::api) fn unknown(name: &str) -> ApiError {
    let name = excerpt(name);
    invalid(&name, format!("parameter {name:?} is not known here"))
}

pub(super) fn out_of_range(name: &str, value: &str, range: &str) -> ApiError {
    invalid(name, format!("parameter \"{name}\" is {:?}; it must be {range}", excerpt(value)))
}

pub(in crate::api) fn invalid(name: &str, detail: String) -> ApiError {
    ApiError::new(Code::InvalidParameter, detail).with_text("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_where_there_are_no_parameters() {
        assert_eq!(no_parameters([]), Ok(()));
        let error = no_parameters([("x", "1")]).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter);
        assert!(error.detail.contains("\"x\""), "{}", error.detail);
    }
}
