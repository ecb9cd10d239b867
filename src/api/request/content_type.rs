//! Which form a body has, by its `Content-Type`.

use crate::{
    api::{
        coding::Coding,
        error::{ApiError, Code, excerpt},
    },
    http::Request,
};

/// How the changes of a body are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One object, or an array of objects.
    Json,
    /// One object a line.
    Ndjson,
}

/// Reads a `Content-Type`. Absent and `application/x-www-form-urlencoded` mean
/// JSON, for the sake of `curl -d`; parameters are allowed, but a `charset`
/// must be UTF-8.
///
/// # Errors
/// [`Code::UnsupportedMediaType`] for anything else.
pub fn form(content_type: Option<&str>) -> Result<Form, ApiError> {
    let Some(value) = content_type else {
        return Ok(Form::Json);
    };
    let mut parts = parts(value);
    let media_type = parts.next().unwrap_or_default();
    let form = if ["application/json", "application/x-www-form-urlencoded"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known))
    {
        Form::Json
    } else if media_type.eq_ignore_ascii_case("application/x-ndjson") {
        Form::Ndjson
    } else {
        return Err(unsupported(format!(
            "Content-Type {:?} is not one of application/json and application/x-ndjson",
            excerpt(media_type)
        )));
    };
    for parameter in parts.filter(|part| !part.is_empty()) {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(unsupported(format!(
                "Content-Type has a malformed parameter {:?}",
                excerpt(parameter)
            )));
        };
        let charset = value.trim_matches('"');
        if name.eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        {
            return Err(unsupported(format!(
                "charset {:?} is not supported; a body is UTF-8",
                excerpt(charset)
            )));
        }
    }
    Ok(form)
}

/// The form of the body of a write.
///
/// # Errors
/// [`Code::UnsupportedMediaType`] for a body of another type, or of an unknown coding.
pub(in crate::api) fn body_form(request: &Request) -> Result<Form, ApiError> {
    if let Some(name) = request.header("content-encoding").filter(|name| *name != b"identity") {
        let name = String::from_utf8_lossy(name);
        if Coding::named(&name).is_none() {
            let detail = format!("Content-Encoding {:?} is none of gzip and zstd", excerpt(&name));
            return Err(unsupported(detail));
        }
    }
    plain_body_form(request)
}

/// The same for a request that has no `Content-Encoding`.
///
/// # Errors
/// [`Code::UnsupportedMediaType`] for a body of another type.
pub(in crate::api) fn plain_body_form(request: &Request) -> Result<Form, ApiError> {
    match request.content_type() {
        None => form(None),
        Some(value) => form(Some(&String::from_utf8_lossy(value))),
    }
}

/// Whether the body of a request is declared as one JSON text.
///
/// # Errors
/// [`Code::UnsupportedMediaType`] for anything else, an absent type included.
pub(in crate::api) fn json_body(request: &Request) -> Result<(), ApiError> {
    body_form(request)?;
    let declared = request.content_type().unwrap_or_default();
    json(&String::from_utf8_lossy(declared))
}

/// Whether a `Content-Type` that [`form`] takes is `application/json` itself.
///
/// # Errors
/// [`Code::UnsupportedMediaType`] for anything else.
fn json(content_type: &str) -> Result<(), ApiError> {
    let media_type = parts(content_type).next().unwrap_or_default();
    match media_type.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(unsupported(format!(
            "Content-Type {:?} is not application/json, which this resource needs",
            excerpt(media_type)
        ))),
    }
}

fn unsupported(detail: String) -> ApiError {
    ApiError::new(Code::UnsupportedMediaType, detail)
}

/// The text between semicolons that stand outside quoted strings, trimmed.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |char| {
            let separates = char == ';' && !quoted;
            if quoted && !escaped && char == '\\' {
                escaped = true;
                return false;
            }
            if char == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = false;
            separates
        })
        .map(|part| part.trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_types_have_their_form() {
        for json in [
            None,
            Some("application/json"),
            Some("Application/JSON"),
            Some(" application/json ; charset=utf-8"),
            Some("application/json;charset=\"UTF-8\""),
            Some("application/json; profile=\"a;charset=latin1\""),
            Some("application/json; profile=\"a\\\";charset=latin1\""),
            Some("application/json;"),
            Some("application/x-www-form-urlencoded"),
            Some("application/x-www-form-urlencoded; charset=UTF-8"),
        ] {
            assert_eq!(form(json), Ok(Form::Json), "{json:?}");
        }
        for lines in ["application/x-ndjson", "application/x-NDJSON;charset=utf8"] {
            assert_eq!(form(Some(lines)), Ok(Form::Ndjson), "{lines:?}");
        }
    }

    #[test]
    fn other_types_and_charsets_are_refused() {
        for refused in [
            "",
            "text/plain",
            "application/jsonx",
            "application/json charset=utf-8",
            "application/ndjson",
            "application/json; charset=latin1",
            "application/json; charset=\"utf-16\"",
            "application/json; x=1; CHARSET=ascii",
            "application/json; charset",
            "multipart/form-data; boundary=x",
        ] {
            let error = form(Some(refused)).unwrap_err();
            assert_eq!(error.code, Code::UnsupportedMediaType, "{refused:?}");
            assert!(!error.detail.is_empty());
        }
    }
}
