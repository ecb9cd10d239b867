//! The body that makes a ticket: `{"path":…}`.

use super::object::{self, Value, member};
use crate::api::{
    error::{ApiError, Code, excerpt},
    request::content_type::Form,
};

/// Reads the path, which begins with a slash and has neither a query nor anything encoded: no path of a list
/// needs that. Whether it is one is looked at elsewhere.
///
/// # Errors
/// What is wrong with the body, and where.
pub(in crate::api) fn parse(body: &[u8], form: Form) -> Result<Box<str>, ApiError> {
    if form != Form::Json {
        let detail = "a body of lines cannot make a ticket";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    let mut object = object::parse(body, &["path"])?;
    let (at, value) = object.required("path")?;
    let Value::Text(path) = value else { return Err(object::not_a_string("path", at)) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte);
    if !path.starts_with('/') || !path.bytes().all(plain) {
        let rule = format!(
            "a path such as /tenants/acme/changes, without a query, not {:?}",
            excerpt(&path)
        );
        return Err(member(Code::InvalidParameter, "path", at, &rule));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_and_all_else_refused() {
        let read = |body: &str| parse(body.as_bytes(), Form::Json);
        assert_eq!(&*read(r#"{"path":"/tenants/a.b/changes"}"#).unwrap(), "/tenants/a.b/changes");
        for (body, code) in [
            ("", Code::InvalidJson),
            ("{}", Code::MissingMember),
            (r#"{"path":1}"#, Code::InvalidJson),
            (r#"{"path":"/changes","x":1}"#, Code::UnknownMember),
            (r#"{"path":""}"#, Code::InvalidParameter),
            (r#"{"path":"changes"}"#, Code::InvalidParameter),
            (r#"{"path":"/changes?since=1"}"#, Code::InvalidParameter),
            (r#"{"path":"/changes#x"}"#, Code::InvalidParameter),
            (r#"{"path":"/tenants/%61/changes"}"#, Code::InvalidParameter),
            (r#"{"path":"/tenants/ä/changes"}"#, Code::InvalidParameter),
        ] {
            assert_eq!(read(body).unwrap_err().code, code, "{body}");
        }
        assert_eq!(parse(b"{}", Form::Ndjson).unwrap_err().code, Code::UnsupportedMediaType);
    }
}
