//! The body that creates a tenant or a collection: `{"name":…}`.

use super::{
    content_type::Form,
    error::{ApiError, Code, excerpt},
    json::{JsonError, Reason, Scanner, unescape, utf8},
};
use crate::base::{limits::NAME_BYTES_MAX, names::is_name};

/// Reads the name.
///
/// # Errors
/// What is wrong with the body, and where.
pub(super) fn parse(body: &[u8], form: Form) -> Result<Box<str>, ApiError> {
    if form != Form::Json {
        let detail = "a body of lines cannot create a tenant or a collection";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    let text = utf8(body).map_err(|error| json(&error))?;
    let mut scan = Scanner::new(body);
    let name = read(&mut scan, text)?;
    scan.finish().map_err(|error| json(&error))?;
    let (at, name) = name.ok_or_else(|| {
        member(Code::MissingMember, "name", scan.at(), "member \"name\" is missing")
    })?;
    if !is_name(&name) {
        let rule = format!(
            "a name is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ ~ - and not of a UUID's form, not {:?}",
            excerpt(&name)
        );
        return Err(member(Code::InvalidName, "name", at, &rule));
    }
    Ok(name)
}

/// The value of `name`, with its place, of the object that the text begins with.
fn read(scan: &mut Scanner<'_>, text: &str) -> Result<Option<(usize, Box<str>)>, ApiError> {
    let wrong = |scan: &Scanner<'_>, reason| json(&scan.wrong(reason));
    scan.start().map_err(|error| json(&error))?;
    let mut found = None;
    match scan.peek() {
        Some(b'{') => scan.accept(b'{'),
        Some(b'"' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            return Err(at(Code::InvalidJson, scan.at(), "expected an object"));
        }
        _ => return Err(wrong(scan, Reason::Value)),
    };
    scan.spaces();
    if scan.accept(b'}') {
        return Ok(None);
    }
    loop {
        let start = scan.at();
        let span = scan.name().map_err(|error| json(&error))?;
        let name = characters(text, span.start, span.end)?;
        if &*name != "name" {
            let detail = format!("unknown member {:?}", excerpt(&name));
            return Err(member(Code::UnknownMember, &name, start, &detail));
        }
        if found.is_some() {
            return Err(member(Code::InvalidJson, "name", start, "member \"name\" stands twice"));
        }
        found = Some((scan.at(), value(scan, text)?));
        scan.spaces();
        if scan.accept(b'}') {
            return Ok(found);
        }
        if !scan.accept(b',') {
            return Err(wrong(scan, Reason::InObject));
        }
        scan.spaces();
    }
}

fn value(scan: &mut Scanner<'_>, text: &str) -> Result<Box<str>, ApiError> {
    match scan.peek() {
        Some(b'"') => {
            let span = scan.string().map_err(|error| json(&error))?;
            characters(text, span.start, span.end)
        }
        Some(b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            let detail = "member \"name\" must be a string";
            Err(member(Code::InvalidJson, "name", scan.at(), detail))
        }
        _ => Err(json(&scan.wrong(Reason::Value))),
    }
}

fn characters(text: &str, start: usize, end: usize) -> Result<Box<str>, ApiError> {
    let raw = text.get(start..end).unwrap_or_default();
    let text = unescape(raw).map_err(|lone| {
        json(&JsonError { offset: start + lone.offset, reason: Reason::LoneSurrogate })
    })?;
    Ok(text.into())
}

fn json(error: &JsonError) -> ApiError {
    at(Code::InvalidJson, error.offset, &error.reason.to_string())
}

fn at(code: Code, offset: usize, what: &str) -> ApiError {
    ApiError::new(code, format!("{what} at byte {offset}")).with_number("offset", offset as u64)
}

fn member(code: Code, name: &str, offset: usize, what: &str) -> ApiError {
    at(code, offset, what).with_text("member", excerpt(name))
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
                ("offset", super::super::error::Member::Number(offset)),
                "{body}"
            );
        }
        assert_eq!(parse(b"{}", Form::Ndjson).unwrap_err().code, Code::UnsupportedMediaType);
    }
}
