//! The parameters of a read of the log itself, or of a checkpoint.

use std::time::Duration;

use super::parameter::{
    Consistency, invalid, once, out_of_range, read_block, read_consistency, read_id, unknown,
};
use crate::{
    api::error::ApiError,
    base::{limits::QUERY_LISTS_MAX, names::parse_uuid, tenants::Tenants},
};

/// The parameters of a read of the log itself, or of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyQuery {
    /// `from`: the index of the first entry wanted, or the first byte; 0 when it is not given.
    pub from: u64,
    /// `to`: the index of the last entry wanted.
    pub to: Option<u64>,
    /// `index`: of this checkpoint and no other.
    pub index: Option<u64>,
    /// `tenant`, by UUIDs: of these alone. Any number up to [`QUERY_LISTS_MAX`]; none for all.
    pub tenants: Option<Tenants>,
    /// `consistency`: of the log.
    pub consistency: Consistency,
    /// `block`: of the log, at most `BLOCK_MAX`; 0 when it is not given.
    pub block: Duration,
}

impl CopyQuery {
    /// Of the log.
    ///
    /// # Errors
    /// `Code::InvalidParameter`
    pub fn of_log<'q>(
        pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, ApiError> {
        let (mut consistency, mut block) = (None, None);
        let rest = pairs.into_iter().filter_map(|(name, value)| match name {
            "consistency" => {
                once(&mut consistency, "consistency", value, read_consistency).err().map(Err)
            }
            "block" => once(&mut block, "block", value, read_block).err().map(Err),
            _ => Some(Ok((name, value))),
        });
        let rest = rest.collect::<Result<Vec<_>, ApiError>>()?;
        let (from, to, tenants) = numbers(rest, "to")?;
        let (consistency, block) = (consistency.unwrap_or_default(), block.unwrap_or_default());
        Ok(Self { from, to, index: None, tenants, consistency, block })
    }

    /// Of a checkpoint.
    ///
    /// # Errors
    /// `Code::InvalidParameter`
    pub fn of_checkpoint<'q>(
        pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, ApiError> {
        let (from, index, tenants) = numbers(pairs, "index")?;
        Ok(Self { from, index, tenants, ..Self::default() })
    }
}

/// `from`, the parameter of that name, and `tenant`.
fn numbers<'q>(
    pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
    other: &'static str,
) -> Result<(u64, Option<u64>, Option<Tenants>), ApiError> {
    let (mut from, mut second, mut tenants) = (None, None, Vec::new());
    for (name, value) in pairs {
        match name {
            "from" => once(&mut from, "from", value, read_id)?,
            _ if name == other => once(&mut second, other, value, read_id)?,
            "tenant" if tenants.len() == QUERY_LISTS_MAX => {
                let detail = format!("tenants are given more than {QUERY_LISTS_MAX} times");
                return Err(invalid(name, detail));
            }
            "tenant" => {
                let tenant = parse_uuid(value);
                tenants.push(tenant.ok_or_else(|| out_of_range("tenant", value, "a UUID"))?);
            }
            _ => return Err(unknown(name)),
        }
    }
    let tenants = (!tenants.is_empty()).then(|| Tenants::new(tenants));
    Ok((from.map_or(0, |number| number.0), second.map(|number| number.0), tenants))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::api::error::Code;

    #[test]
    fn numbers_are_read_once_and_nothing_else_is_known() {
        let log = |pairs: &[(&'static str, &'static str)]| CopyQuery::of_log(pairs.iter().copied());
        assert_eq!(log(&[]), Ok(CopyQuery::default()));
        let consistency = Consistency::Strong;
        let block = Duration::from_millis(1500);
        let asked = CopyQuery { from: 3, to: Some(9), consistency, block, ..CopyQuery::default() };
        let pairs = [("to", "9"), ("block", "1.5"), ("consistency", "strong"), ("from", "3")];
        assert_eq!(log(&pairs), Ok(asked));
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let texts = [two, one, two].map(|tenant| tenant.to_string());
        let pairs = texts.iter().map(|text| ("tenant", text.as_str()));
        let tenants = Some(Tenants::new(vec![one, two]));
        let asked = CopyQuery { tenants, ..CopyQuery::default() };
        assert_eq!(CopyQuery::of_log(pairs.clone()), Ok(asked.clone()));
        assert_eq!(CopyQuery::of_checkpoint(pairs), Ok(asked));
        let many = std::iter::repeat_n(("tenant", texts[0].as_str()), QUERY_LISTS_MAX + 1);
        assert_eq!(CopyQuery::of_log(many).unwrap_err().code, Code::InvalidParameter);
        for pairs in [
            &[("from", "-1")][..],
            &[("from", "1"), ("from", "2")],
            &[("to", "")],
            &[("tenant", "name")],
            &[("index", "3")],
            &[("since", "1")],
            &[("consistency", "weak")],
            &[("block", "-1")],
            &[("block", "1"), ("block", "1")],
            &[("consistency", "local"), ("consistency", "local")],
        ] {
            assert_eq!(log(pairs).unwrap_err().code, Code::InvalidParameter, "{pairs:?}");
        }
        let of = CopyQuery::of_checkpoint([("index", "7"), ("from", "1")]);
        assert_eq!(of, Ok(CopyQuery { from: 1, index: Some(7), ..CopyQuery::default() }));
        assert!(CopyQuery::of_checkpoint([("to", "7")]).is_err());
        assert!(CopyQuery::of_checkpoint([("block", "7")]).is_err());
    }
}
