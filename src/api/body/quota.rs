//! The body that says how much a tenant may use: `{"writes_per_second":…,"reads_per_second":…,"waits":…,
//! "bytes_per_second":…}`.

use super::object;
use crate::{
    api::{
        error::{ApiError, Code},
        request::content_type::Form,
    },
    base::quota::TenantQuota,
};

/// Reads it; a member that is absent limits nothing.
///
/// # Errors
/// What is wrong with the body, and where.
pub(in crate::api) fn parse(body: &[u8], form: Form) -> Result<TenantQuota, ApiError> {
    if form != Form::Json {
        let detail = "a body of lines cannot say how much a tenant may use";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    let mut object = object::parse(body, &TenantQuota::MEMBERS.map(|(name, _)| name))?;
    let mut members = [None; TenantQuota::MEMBERS.len()];
    for (place, (name, max)) in members.iter_mut().zip(TenantQuota::MEMBERS) {
        *place = object.number(name, max)?;
    }
    Ok(TenantQuota::of_members(members))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn what_may_be_used_is_read_and_all_else_refused() {
        let read = |body: &str| parse(body.as_bytes(), Form::Json);
        let all = TenantQuota::of_members([1, 2, 3, 1_000_000_000_000].map(NonZeroU64::new));
        let text = r#"{"bytes_per_second":1000000000000,"waits":3,"reads_per_second":2,"writes_per_second":1}"#;
        assert_eq!(read(text).unwrap(), all);
        let one = TenantQuota { waits: NonZeroU64::new(7), ..TenantQuota::default() };
        assert_eq!(read(r#"{"waits":7}"#).unwrap(), one);
        assert!(read("{}").unwrap().is_unlimited());
        for (body, code) in [
            ("", Code::InvalidJson),
            ("[]", Code::InvalidJson),
            (r#"{"waits":"9"}"#, Code::InvalidJson),
            (r#"{"waits":null}"#, Code::InvalidJson),
            (r#"{"waits":1.5}"#, Code::InvalidJson),
            (r#"{"waits":-1}"#, Code::InvalidJson),
            (r#"{"waits":0}"#, Code::InvalidParameter),
            (r#"{"writes_per_second":1000000001}"#, Code::InvalidParameter),
            (r#"{"bytes_per_second":1000000000001}"#, Code::InvalidParameter),
            (r#"{"writes":1}"#, Code::UnknownMember),
        ] {
            assert_eq!(read(body).unwrap_err().code, code, "{body}");
        }
        assert_eq!(parse(b"{}", Form::Ndjson).unwrap_err().code, Code::UnsupportedMediaType);
    }
}
