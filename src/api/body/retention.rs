//! The body that says how much of its history a tenant keeps: `{"changes":…,"age":…}`.

use super::object;
use crate::{
    api::{
        error::{ApiError, Code},
        request::content_type::Form,
    },
    base::retention::TenantRetention,
};

/// The most changes, and seconds: what any JSON parser reads exactly.
const MAX: u64 = 1 << 53;

/// Reads it; a member that is absent sets nothing.
///
/// # Errors
/// What is wrong with the body, and where.
pub(in crate::api) fn parse(body: &[u8], form: Form) -> Result<TenantRetention, ApiError> {
    if form != Form::Json {
        let detail = "a body of lines cannot say what a tenant keeps";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    let mut object = object::parse(body, &["changes", "age"])?;
    let changes = object.number("changes", MAX)?;
    let age = object.number("age", MAX)?;
    Ok(TenantRetention { changes, age })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn what_is_kept_is_read_and_all_else_refused() {
        let read = |body: &str| parse(body.as_bytes(), Form::Json);
        let both = TenantRetention { changes: NonZeroU64::new(9), age: NonZeroU64::new(60) };
        assert_eq!(read(r#"{"age":60,"changes":9}"#).unwrap(), both);
        let one = TenantRetention { age: None, ..both };
        assert_eq!(read(r#"{"changes":9}"#).unwrap(), one);
        assert!(read("{}").unwrap().keeps_all());
        for (body, code) in [
            ("", Code::InvalidJson),
            (r#"{"changes":"9"}"#, Code::InvalidJson),
            (r#"{"changes":null}"#, Code::InvalidJson),
            (r#"{"age":-1}"#, Code::InvalidJson),
            (r#"{"age":0}"#, Code::InvalidParameter),
            (r#"{"changes":9007199254740993}"#, Code::InvalidParameter),
            (r#"{"days":1}"#, Code::UnknownMember),
        ] {
            assert_eq!(read(body).unwrap_err().code, code, "{body}");
        }
        assert_eq!(parse(b"{}", Form::Ndjson).unwrap_err().code, Code::UnsupportedMediaType);
    }
}
