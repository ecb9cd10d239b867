//! The body that creates a tenant or a collection: `{"name":…}`.

use super::object::{self, Value, member};
use crate::{
    api::{
        error::{ApiError, Code, excerpt},
        request::content_type::Form,
    },
    base::{limits::NAME_BYTES_MAX, names::is_name},
};

/// Reads the name.
///
/// # Errors
/// What is wrong with the body, and where.
pub(in crate::api) fn parse(body: &[u8], form: Form) -> Result<Box<str>, ApiError> {
    if form != Form::Json {
        let detail = "a body of lines cannot create a tenant or a collection";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    let mut object = object::parse(body, &["name"])?;
    let (at, value) = object.required("name")?;
    let name = match value {
        Value::Text(text) => text,
        Value::Number(_) => return Err(object::not_a_string("name", at)),
    };
    if !is_name(&name) {
        let rule = format!(
            "a name is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ ~ - and not of a UUID's form, not {:?}",
            excerpt(&name)
        );
        return Err(member(Code::InvalidName, "name", at, &rule));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_all_else_refused() {
        let read = |body: &str| parse(body.as_bytes(), Form::Json);
        assert_eq!(&*read(r#" { "name" : "foo" } "#).unwrap(), "foo");
        assert_eq!(&*read(r#"{"n\u0061me":"\u0041.b"}"#).unwrap(), "A.b");
        for (body, code, offset) in [
            ("", Code::InvalidJson, 0),
            ("[]", Code::InvalidJson, 0),
            ("{}", Code::MissingMember, 2),
            ("{", Code::InvalidJson, 1),
            (r#"{"name":1}"#, Code::InvalidJson, 8),
            (r#"{"name":"a","name":"a"}"#, Code::InvalidJson, 12),
            (r#"{"name":"a","x":"a"}"#, Code::UnknownMember, 12),
            (r#"{"name":"a",}"#, Code::InvalidJson, 12),
            (r#"{"name":"a"}x"#, Code::InvalidJson, 12),
            (r#"{"name":"a b"}"#, Code::InvalidName, 8),
            (r#"{"name":"\ud800"}"#, Code::InvalidJson, 9),
            (r#"{"name":"0198c0de-0000-4000-8000-000000000001"}"#, Code::InvalidName, 8),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.code, code, "{body}: {error}");
            assert_eq!(
                error.members[0],
                ("offset", crate::api::error::Member::Number(offset)),
                "{body}"
            );
        }
        assert_eq!(parse(b"{}", Form::Ndjson).unwrap_err().code, Code::UnsupportedMediaType);
    }
}
