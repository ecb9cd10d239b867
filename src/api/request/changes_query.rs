//! The parameters of a list of changes, typed: each is known, given at most once
//! (`tag` aside) and in its range, or the request is refused.

use std::time::Duration;

use super::{
    parameter::{
        Consistency, invalid, once, out_of_range, read_block, read_bool, read_consistency, read_id,
        read_last_event_id, read_limit, unknown,
    },
    tag_filter::TagFilter,
};
use crate::{
    api::error::ApiError,
    base::{
        ids::ChangeId,
        limits::{QUERY_TAGS_MAX, TAG_BYTES_MAX},
    },
};

/// Where a list of changes starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this id.
    Id(ChangeId),
    /// After the newest id at the moment of asking.
    Now,
}

/// The parameters of a list of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesQuery {
    /// `since`, by default id 0.
    pub since: Since,
    /// `limit`, 1 to `READ_LIMIT_MAX`; absent means another number in a list
    /// than in a stream.
    pub limit: Option<usize>,
    /// `block`, at most `BLOCK_MAX`; absent is not the same as 0 for streams
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
    /// `Code::InvalidParameter`, naming the parameter, its value and its range.
    pub fn parse<'q>(
        pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, ApiError> {
        let mut since = None;
        let mut limit = None;
        let mut block = None;
        let mut min_id = None;
        let mut consistency = None;
        let (mut cursors, mut last_event_id) = (None, None);
        let mut tags: Vec<&'q str> = Vec::new();
        for (name, value) in pairs {
            match name {
                "since" => once(&mut since, "since", value, read_since)?,
                "limit" => once(&mut limit, "limit", value, read_limit)?,
                "block" => once(&mut block, "block", value, read_block)?,
                "min_id" => once(&mut min_id, "min_id", value, read_id)?,
                "consistency" => once(&mut consistency, "consistency", value, read_consistency)?,
                "cursors" => once(&mut cursors, "cursors", value, read_bool)?,
                "lastEventId" => {
                    once(&mut last_event_id, "lastEventId", value, read_last_event_id)?;
                }
                "tag" => {
                    if value.is_empty() || value.len() > TAG_BYTES_MAX {
                        return Err(out_of_range("tag", value, "1 to 128 bytes of UTF-8"));
                    }
                    if tags.len() == QUERY_TAGS_MAX {
                        return Err(invalid(
                            "tag",
                            format!("parameter \"tag\" is given more than {QUERY_TAGS_MAX} times"),
                        ));
                    }
                    tags.push(value);
                }
                _ => return Err(unknown(name)),
            }
        }
        Ok(Self {
            since: since.unwrap_or(Since::Id(ChangeId::ZERO)),
            limit,
            block,
            tags: TagFilter::new(tags),
            min_id,
            consistency: consistency.unwrap_or_default(),
            cursors: cursors.unwrap_or_default(),
            last_event_id: last_event_id.flatten(),
        })
    }
}

fn read_since(value: &str) -> Result<Since, &'static str> {
    if value == "now" {
        return Ok(Since::Now);
    }
    read_id(value).map(Since::Id).map_err(|_| "an integer from 0 to 9223372036854775807, or now")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::error::Code,
        base::limits::{BLOCK_MAX, READ_LIMIT_MAX},
    };
    use proptest::prelude::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<ChangesQuery, ApiError> {
        ChangesQuery::parse(pairs.iter().map(|&(name, value)| (name, value)))
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
                pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())),
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
