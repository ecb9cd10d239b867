//! The parameters of a list of changes, typed: each is known, given at most once
//! (`tag` aside) and in its range, or the request is refused.

use std::time::Duration;

use super::{
    parameter::{
        Consistency, invalid, once, out_of_range, read_block, read_bool, read_cluster,
        read_consistency, read_id, read_last_event_id, read_limit, read_timestamp, unknown,
    },
    tag_filter::TagFilter,
    target::TICKET,
};
use crate::{
    api::error::ApiError,
    base::{
        ids::{ChangeId, ClusterId, Timestamp},
        limits::{QUERY_LISTS_MAX, QUERY_TAGS_MAX, TAG_BYTES_MAX},
    },
};

/// Where a list of changes starts, or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this id.
    Id(ChangeId),
    /// After the newest id at the moment of asking.
    Now,
    /// With the first change that is stamped later.
    Later(Timestamp),
    /// The newest ones below this id, or of all.
    Before(Option<ChangeId>),
}

/// The parameters of a list of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesQuery<'q> {
    /// `since`, by default id 0, or what stands in its place: `before`, `since_ts`.
    pub since: Since,
    /// `limit`, 1 to `READ_LIMIT_MAX`; absent means another number in a list
    /// than in a stream.
    pub limit: Option<usize>,
    /// `block`, at most `BLOCK_MAX`; absent is not the same as 0 for streams
    /// and `min_id`.
    pub block: Option<Duration>,
    /// `tag`, any number up to [`QUERY_TAGS_MAX`].
    pub tags: TagFilter,
    /// `tenant` and `collection`, which the whole list alone has: any number up to
    /// [`QUERY_LISTS_MAX`].
    pub lists: Vec<ListName<'q>>,
    /// `min_id`.
    pub min_id: Option<ChangeId>,
    /// `consistency`.
    pub consistency: Consistency,
    /// `cluster`: the history that the ids are of.
    pub cluster: Option<ClusterId>,
    /// `cursors`: whether lines say how far they have come.
    pub cursors: bool,
    /// `lastEventId`: what a client sends that cannot send the header.
    pub last_event_id: Option<ChangeId>,
}

/// A part of the whole list, as a parameter names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListName<'q> {
    /// `tenant`, by its UUID or its name.
    Tenant(&'q str),
    /// `collection`, by its UUID.
    Collection(&'q str),
}

impl ListName<'_> {
    /// The parameter that gives it.
    pub(in crate::api) fn parameter(self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Collection(_) => "collection",
        }
    }
}

impl<'q> ChangesQuery<'q> {
    /// Reads percent-decoded pairs of name and value.
    ///
    /// # Errors
    /// `Code::InvalidParameter`, naming the parameter, its value and its range.
    pub fn parse(pairs: impl IntoIterator<Item = (&'q str, &'q str)>) -> Result<Self, ApiError> {
        let mut start = None;
        let (mut limit, mut block) = (None, None);
        let (mut min_id, mut consistency, mut cluster) = (None, None, None);
        let (mut cursors, mut last_event_id, mut ticket) = (None, None, None);
        let (mut tags, mut lists): (Vec<&'q str>, Vec<ListName<'q>>) = Default::default();
        for (name, value) in pairs {
            match name {
                "since" => begin(&mut start, "since", value, read_since)?,
                "before" => begin(&mut start, "before", value, read_before)?,
                "since_ts" => begin(&mut start, "since_ts", value, |value| {
                    read_timestamp(value).map(Since::Later)
                })?,
                "limit" => once(&mut limit, "limit", value, read_limit)?,
                "block" => once(&mut block, "block", value, read_block)?,
                "min_id" => once(&mut min_id, "min_id", value, read_id)?,
                "consistency" => once(&mut consistency, "consistency", value, read_consistency)?,
                "cluster" => once(&mut cluster, "cluster", value, read_cluster)?,
                "cursors" => once(&mut cursors, "cursors", value, read_bool)?,
                "lastEventId" => {
                    once(&mut last_event_id, "lastEventId", value, read_last_event_id)?;
                }
                "tag" if value.is_empty() || value.len() > TAG_BYTES_MAX => {
                    return Err(out_of_range("tag", value, "1 to 128 bytes of UTF-8"));
                }
                "tag" => add(&mut tags, value, "tag", QUERY_TAGS_MAX)?,
                "tenant" => add(&mut lists, ListName::Tenant(value), name, QUERY_LISTS_MAX)?,
                "collection" => {
                    add(&mut lists, ListName::Collection(value), name, QUERY_LISTS_MAX)?;
                }
                // Who opens it by that was found out before.
                TICKET => once(&mut ticket, TICKET, value, |_| Ok(()))?,
                _ => return Err(unknown(name)),
            }
        }
        Ok(Self {
            since: start.map_or(Since::Id(ChangeId::ZERO), |(_, since)| since),
            limit,
            block,
            tags: TagFilter::new(tags),
            lists,
            min_id,
            consistency: consistency.unwrap_or_default(),
            cluster,
            cursors: cursors.unwrap_or_default(),
            last_event_id: last_event_id.flatten(),
        })
    }
}

/// Fills the place of `since`, which one parameter may do.
fn begin(
    start: &mut Option<(&'static str, Since)>,
    name: &'static str,
    value: &str,
    read: impl FnOnce(&str) -> Result<Since, &'static str>,
) -> Result<(), ApiError> {
    if let Some((given, _)) = start.filter(|(given, _)| *given != name) {
        let detail =
            format!("parameter \"{name}\" is given beside \"{given}\": one says where to start");
        return Err(invalid(name, detail));
    }
    let mut since = start.map(|(_, since)| since);
    once(&mut since, name, value, read)?;
    *start = since.map(|since| (name, since));
    Ok(())
}

/// Adds to what may be given several times.
fn add<T>(to: &mut Vec<T>, item: T, name: &str, most: usize) -> Result<(), ApiError> {
    if to.len() == most {
        let what =
            if name == "tag" { "parameter \"tag\" is" } else { "tenants and collections are" };
        return Err(invalid(name, format!("{what} given more than {most} times")));
    }
    to.push(item);
    Ok(())
}

fn read_since(value: &str) -> Result<Since, &'static str> {
    now_or_id(value).map(|id| id.map_or(Since::Now, Since::Id))
}

fn read_before(value: &str) -> Result<Since, &'static str> {
    now_or_id(value).map(Since::Before)
}

/// An id, or nothing for `now`.
fn now_or_id(value: &str) -> Result<Option<ChangeId>, &'static str> {
    const RANGE: &str = "an integer from 0 to 9223372036854775807, or now";
    match value {
        "now" => Ok(None),
        _ => read_id(value).map(Some).map_err(|_| RANGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::error::Code,
        base::limits::{BLOCK_MAX, READ_LIMIT_MAX},
    };
    use proptest::prelude::*;

    fn parse<'q>(pairs: &[(&'q str, &'q str)]) -> Result<ChangesQuery<'q>, ApiError> {
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

    const ONE: &str = "0198C0DE-0000-4000-8000-00000000000A";

    #[test]
    fn what_stands_in_the_place_of_since_and_what_may_be_repeated() {
        for (name, value, since) in [
            ("before", "now", Since::Before(None)),
            ("before", "0", Since::Before(Some(ChangeId(0)))),
            ("before", "12", Since::Before(Some(ChangeId(12)))),
            ("since_ts", "0", Since::Later(Timestamp(0))),
            ("since_ts", "1784873643123456", Since::Later(Timestamp(1_784_873_643_123_456))),
        ] {
            assert_eq!(parse(&[(name, value)]).unwrap().since, since, "{name}={value}");
        }
        let query = parse(&[("tenant", "foo"), ("collection", ONE), ("tenant", ONE)]).unwrap();
        let (tenant, collection) = (ListName::Tenant, ListName::Collection);
        assert_eq!(query.lists, [tenant("foo"), collection(ONE), tenant(ONE)]);
        let cluster = parse(&[("cluster", ONE)]).unwrap().cluster.unwrap();
        assert_eq!(cluster.to_string(), ONE.to_lowercase());
        let mut many = vec![("tenant", "a"); QUERY_LISTS_MAX - 1];
        many.push(("collection", "b"));
        assert_eq!(parse(&many).unwrap().lists.len(), QUERY_LISTS_MAX);
        many.push(("tenant", "a"));
        assert_eq!(parse(&many).unwrap_err().code, Code::InvalidParameter);
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
            ("before", &["", "-1", "+1", "NOW", "9223372036854775808"][..]),
            ("since_ts", &["", "now", "-1", "1.5", "9223372036854775808"][..]),
            ("cluster", &["", "x", "0198c0de000040008000000000000001"][..]),
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
            &[("since", "1"), ("before", "2")][..],
            &[("before", "2"), ("before", "2")][..],
            &[("since_ts", "1"), ("since", "0")][..],
            &[("before", "now"), ("since_ts", "0")][..],
            &[("cluster", ONE), ("cluster", ONE)][..],
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
                (
                    "since|before|since_ts|limit|block|tag|tenant|min_id|cluster|consistency|.{0,3}",
                    "[0-9.]{0,30}|now|\\PC{0,9}",
                ),
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
