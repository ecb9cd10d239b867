//! Query parameters, typed: each is known, given at most once (`tag` aside) and
//! in its range, or the request is refused.

use crate::api::error::{ApiError, Code, excerpt};
use crate::api::tag_filter::TagFilter;
use crate::base::ids::ChangeId;
use crate::base::limits::{BLOCK_MAX, QUERY_TAGS_MAX, READ_LIMIT_MAX, TAG_BYTES_MAX};
use std::borrow::Cow;
use std::time::Duration;

/// Where a list of changes starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this id.
    Id(ChangeId),
    /// After the newest id at the moment of asking.
    Now,
}

/// Which state a read is answered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What this node has applied.
    #[default]
    Local,
    /// Everything acknowledged before the read began.
    Strong,
}

/// The parameters of a list of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesQuery {
    /// `since`, by default id 0.
    pub since: Since,
    /// `limit`, 1 to [`READ_LIMIT_MAX`]; absent means another number in a list
    /// than in a stream.
    pub limit: Option<usize>,
    /// `block`, at most [`BLOCK_MAX`]; absent is not the same as 0 for streams
    /// and `min_id`.
    pub block: Option<Duration>,
    /// `tag`, any number up to [`QUERY_TAGS_MAX`].
    pub tags: TagFilter,
    /// `min_id`.
    pub min_id: Option<ChangeId>,
    /// `consistency`.
    pub consistency: Consistency,
    /// `cursors`: whether lines say how far they have come.
    pub cursors: bool,
    /// `lastEventId`: what a client sends that cannot send the header.
    pub last_event_id: Option<ChangeId>,
}

impl ChangesQuery {
    /// Reads percent-decoded pairs of name and value.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`], naming the parameter, its value and its range.
    pub fn parse<'q>(
        pairs: impl IntoIterator<Item = (Cow<'q, str>, Cow<'q, str>)>,
    ) -> Result<Self, ApiError> {
        let mut since = None;
        let mut limit = None;
        let mut block = None;
        let mut min_id = None;
        let mut consistency = None;
        let (mut cursors, mut last_event_id) = (None, None);
        let mut tags: Vec<Cow<'q, str>> = Vec::new();
        for (name, value) in pairs {
            match &*name {
                "since" => once(&mut since, "since", &value, read_since)?,
                "limit" => once(&mut limit, "limit", &value, read_limit)?,
                "block" => once(&mut block, "block", &value, read_block)?,
                "min_id" => once(&mut min_id, "min_id", &value, read_id)?,
                "consistency" => once(&mut consistency, "consistency", &value, read_consistency)?,
                "cursors" => once(&mut cursors, "cursors", &value, read_bool)?,
                "lastEventId" => {
                    once(&mut last_event_id, "lastEventId", &value, read_last_event_id)?;
                }
                "tag" => {
                    if value.is_empty() || value.len() > TAG_BYTES_MAX {
                        return Err(out_of_range("tag", &value, "1 to 128 bytes of UTF-8"));
                    }
                    if tags.len() == QUERY_TAGS_MAX {
                        return Err(invalid(
                            "tag",
                            format!("parameter \"tag\" is given more than {QUERY_TAGS_MAX} times"),
                        ));
                    }
                    tags.push(value);
                }
                _ => return Err(unknown(&name)),
            }
        }
        Ok(Self {
            since: since.unwrap_or(Since::Id(ChangeId::ZERO)),
            limit,
            block,
            tags: TagFilter::new(tags.iter().map(|tag| &**tag)),
            min_id,
            consistency: consistency.unwrap_or_default(),
            cursors: cursors.unwrap_or_default(),
            last_event_id: last_event_id.flatten(),
        })
    }
}

/// The parameters of a read of something that is no list of changes. Which of
/// them it has is for [`parse`](Self::parse) to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadQuery<'q> {
    /// `after`, or `last`: only what comes after this name or key.
    pub after: Option<Cow<'q, str>>,
    /// `prefix`: only keys that begin with this.
    pub prefix: Option<Cow<'q, str>>,
    /// `limit`, 1 to [`READ_LIMIT_MAX`].
    pub limit: Option<usize>,
    /// `since`: only a version after this id.
    pub since: Option<ChangeId>,
    /// `block`, at most [`BLOCK_MAX`].
    pub block: Option<Duration>,
    /// `min_id`.
    pub min_id: Option<ChangeId>,
    /// `consistency`.
    pub consistency: Consistency,
}

/// What a read is of, which says which parameters it has besides `min_id` and
/// `consistency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOf {
    /// One resource: no others.
    One,
    /// A list of names: `after`, `limit`.
    Names,
    /// A list of keys: `after` or `last`, `limit`, `prefix`.
    Keys,
    /// A key: `since`, `block`.
    Key,
}

impl<'q> ReadQuery<'q> {
    /// Reads percent-decoded pairs of name and value.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`], naming the parameter, its value and its range.
    pub fn parse(
        of: ReadOf,
        pairs: impl IntoIterator<Item = (Cow<'q, str>, Cow<'q, str>)>,
    ) -> Result<Self, ApiError> {
        let (mut limit, mut since, mut block) = (None, None, None);
        let (mut min_id, mut consistency) = (None, None);
        let mut query = Self::default();
        for (name, value) in pairs {
            match (&*name, of) {
                ("min_id", _) => once(&mut min_id, "min_id", &value, read_id)?,
                ("consistency", _) => {
                    once(&mut consistency, "consistency", &value, read_consistency)?;
                }
                ("limit", ReadOf::Names | ReadOf::Keys) => {
                    once(&mut limit, "limit", &value, read_limit)?;
                }
                ("after", ReadOf::Names | ReadOf::Keys) | ("last", ReadOf::Keys) => {
                    if query.after.is_some() {
                        let detail = format!("parameter \"{name}\" is given twice");
                        return Err(invalid(&name, detail));
                    }
                    query.after = Some(value);
                }
                ("prefix", ReadOf::Keys) => {
                    if query.prefix.is_some() {
                        let detail = "parameter \"prefix\" is given twice".into();
                        return Err(invalid("prefix", detail));
                    }
                    query.prefix = Some(value);
                }
                ("since", ReadOf::Key) => once(&mut since, "since", &value, read_id)?,
                ("block", ReadOf::Key) => once(&mut block, "block", &value, read_block)?,
                _ => return Err(unknown(&name)),
            }
        }
        let consistency = consistency.unwrap_or_default();
        Ok(Self { limit, since, block, min_id, consistency, ..query })
    }
}

/// Checks that a resource without parameters is given none.
///
/// # Errors
/// [`Code::InvalidParameter`] naming the first one.
pub fn no_parameters<'q>(
    pairs: impl IntoIterator<Item = (Cow<'q, str>, Cow<'q, str>)>,
) -> Result<(), ApiError> {
    match pairs.into_iter().next() {
        None => Ok(()),
        Some((name, _)) => Err(unknown(&name)),
    }
}

/// Fills `slot` by `read`, which gives the range back when `value` is outside.
fn once<T>(
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

fn read_since(value: &str) -> Result<Since, &'static str> {
    if value == "now" {
        return Ok(Since::Now);
    }
    read_id(value).map(Since::Id).map_err(|_| "an integer from 0 to 9223372036854775807, or now")
}

fn read_id(value: &str) -> Result<ChangeId, &'static str> {
    const RANGE: &str = "an integer from 0 to 9223372036854775807";
    if !is_digits(value) {
        return Err(RANGE);
    }
    // What is told of it goes into 64 bits with a sign.
    let id = value.parse().ok().filter(|id| i64::try_from(*id).is_ok());
    id.map(ChangeId).ok_or(RANGE)
}

/// The id of the last event that a client has; nothing when it has none yet.
pub(super) fn read_last_event_id(value: &str) -> Result<Option<ChangeId>, &'static str> {
    if value.is_empty() { Ok(None) } else { read_id(value).map(Some) }
}

fn read_bool(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false"),
    }
}

fn read_limit(value: &str) -> Result<usize, &'static str> {
    if !is_digits(value) || value.bytes().all(|digit| digit == b'0') {
        return Err("an integer from 1 (more than 10000 counts as 10000)");
    }
    // Digits that do not fit the type are above the maximum as well.
    Ok(value.parse().map_or(READ_LIMIT_MAX, |limit: usize| limit.min(READ_LIMIT_MAX)))
}

fn read_block(value: &str) -> Result<Duration, &'static str> {
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

fn read_consistency(value: &str) -> Result<Consistency, &'static str> {
    match value {
        "local" => Ok(Consistency::Local),
        "strong" => Ok(Consistency::Strong),
        _ => Err("local or strong"),
    }
}

fn is_digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn unknown(name: &str) -> ApiError {
    let name = excerpt(name);
    invalid(&name, format!("parameter {name:?} is not known here"))
}

fn out_of_range(name: &str, value: &str, range: &str) -> ApiError {
    invalid(name, format!("parameter \"{name}\" is {:?}; it must be {range}", excerpt(value)))
}

pub(super) fn invalid(name: &str, detail: String) -> ApiError {
    ApiError::new(Code::InvalidParameter, detail).with_text("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<ChangesQuery, ApiError> {
        ChangesQuery::parse(pairs.iter().map(|&(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        let query = parse(&[]).unwrap();
        assert_eq!(query.since, Since::Id(ChangeId(0)));
        assert_eq!(query.limit, None);
        assert_eq!(query.block, None);
        assert!(query.tags.is_empty());
        assert_eq!(query.min_id, None);
        assert_eq!(query.consistency, Consistency::Local);
    }

    #[test]
    fn every_parameter_is_read() {
        let query = parse(&[
            ("since", "123"),
            ("limit", "7"),
            ("block", "60"),
            ("tag", "a"),
            ("min_id", "9"),
            ("tag", "b"),
            ("consistency", "strong"),
        ])
        .unwrap();
        assert_eq!(query.since, Since::Id(ChangeId(123)));
        assert_eq!(query.limit, Some(7));
        assert_eq!(query.block, Some(Duration::from_secs(60)));
        assert_eq!(query.tags, TagFilter::new(["a", "b"]));
        assert_eq!(query.min_id, Some(ChangeId(9)));
        assert_eq!(query.consistency, Consistency::Strong);
        assert_eq!(parse(&[("since", "now")]).unwrap().since, Since::Now);
    }

    #[test]
    fn limits_are_cut_and_block_takes_decimals() {
        for (value, limit) in [
            ("1", 1),
            ("0010", 10),
            ("10000", 10_000),
            ("10001", 10_000),
            ("99999999999999999999999999", 10_000),
        ] {
            assert_eq!(parse(&[("limit", value)]).unwrap().limit, Some(limit), "{value}");
        }
        for (value, millis) in [
            ("0", 0),
            ("0.0", 0),
            ("1.5", 1500),
            ("0.001", 1),
            ("00.25", 250),
            ("0.0009999999", 0),
            ("299.999", 299_999),
            ("300.1", 300_000),
            ("301", 300_000),
            ("99999999999999999999999999.5", 300_000),
        ] {
            let block = parse(&[("block", value)]).unwrap().block.unwrap();
            assert_eq!(block.as_millis(), millis, "{value}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        for (name, values) in [
            ("since", &["", "-1", "+1", "1.0", "Now", "9223372036854775808", " 1", "1 ", "٣"][..]),
            ("limit", &["", "0", "00", "-5", "+5", "1e3", "ten", "1.5", "0x10", " 1"][..]),
            ("block", &["", ".", "1.", ".5", "-1", "+1", "1e2", "NaN", "inf", "1,5", "1.2.3"][..]),
            ("min_id", &["", "now", "-1", "9223372036854775808"][..]),
            ("consistency", &["", "Strong", "weak"][..]),
            ("tag", &[""][..]),
        ] {
            for value in values {
                let error = parse(&[(name, value)]).unwrap_err();
                assert_eq!(error.code, Code::InvalidParameter, "{name}={value}");
                assert!(error.detail.contains(name), "{}", error.detail);
                assert!(error.detail.contains(&format!("{value:?}")), "{}", error.detail);
            }
        }
        let long = "x".repeat(129);
        assert!(parse(&[("tag", &long)]).is_err());
        assert!(parse(&[("tag", &long[1..])]).is_ok());
    }

    #[test]
    fn unknown_repeated_and_too_many_parameters_are_refused() {
        for pairs in [
            &[("Since", "1")][..],
            &[("", "")][..],
            &[("since", "1"), ("since", "1")][..],
            &[("limit", "1"), ("since", "1"), ("limit", "2")][..],
            &[("block", "0"), ("block", "0")][..],
        ] {
            let error = parse(pairs).unwrap_err();
            assert_eq!(error.code, Code::InvalidParameter, "{pairs:?}");
        }
        assert!(parse(&vec![("tag", "a"); QUERY_TAGS_MAX]).is_ok());
        assert!(parse(&vec![("tag", "a"); QUERY_TAGS_MAX + 1]).is_err());
        assert_eq!(no_parameters([]), Ok(()));
        let error = no_parameters([("x".into(), "1".into())]).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter);
        assert!(error.detail.contains("\"x\""), "{}", error.detail);
    }

    proptest! {
        #[test]
        fn any_pairs_are_answered_within_the_bounds(
            pairs in proptest::collection::vec(
                ("since|limit|block|tag|min_id|consistency|.{0,3}", "[0-9.]{0,30}|now|\\PC{0,9}"),
                0..6,
            ),
        ) {
            let parsed = ChangesQuery::parse(
                pairs.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())),
            );
            match parsed {
                Ok(query) => {
                    prop_assert!(query.limit.is_none_or(|limit| (1..=READ_LIMIT_MAX).contains(&limit)));
                    prop_assert!(query.block.is_none_or(|block| block <= BLOCK_MAX));
                }
                Err(error) => prop_assert_eq!(error.code, Code::InvalidParameter),
            }
        }
    }
}
