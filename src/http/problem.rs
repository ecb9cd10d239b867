//! The body of every error answer: `application/problem+json` (RFC 9457) with
//! the member `code`, in one shape whoever refuses.

use crate::base::json_string::write_json_string;
use bytes::{BufMut, Bytes, BytesMut};

/// The media type of [`render`]'s bytes.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Renders a problem. `code` is one of the API's codes: lower-case words joined
/// by hyphens, and `title` its summary. `members` are further members as name and JSON value; the value
/// is written as it stands and must be valid JSON.
#[must_use]
pub fn render(
    status: u16,
    code: &str,
    title: &str,
    detail: &str,
    members: &[(&str, &str)],
) -> Bytes {
    let text_bytes = 2 * code.len() + title.len() + detail.len();
    let mut out = BytesMut::with_capacity(128 + text_bytes);
    out.put_slice(b"{\"type\":");
    write_json_string(&mut out, &["/errors/", code].concat());
    out.put_slice(b",\"title\":");
    write_json_string(&mut out, title);
    out.put_slice(b",\"status\":");
    out.put_slice(status.to_string().as_bytes());
    out.put_slice(b",\"detail\":");
    write_json_string(&mut out, detail);
    out.put_slice(b",\"code\":");
    write_json_string(&mut out, code);
    for (name, value) in members {
        out.put_u8(b',');
        write_json_string(&mut out, name);
        out.put_u8(b':');
        out.put_slice(value.as_bytes());
    }
    out.put_u8(b'}');
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_every_member() {
        let members = [("tenant", "\"x\""), ("n", "1")];
        let body = render(409, "name-taken", "Name \"taken\"", "\"foo\" is taken", &members);
        assert_eq!(
            body,
            r#"{"type":"/errors/name-taken","title":"Name \"taken\"","status":409,"detail":"\"foo\" is taken","code":"name-taken","tenant":"x","n":1}"#
        );
    }

    #[test]
    fn is_valid_json_whatever_the_detail_says() {
        let detail = "quote \" backslash \\ newline \n null \0 umlaut ü";
        let body = render(400, "bad-request", "Bad", detail, &[]);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["detail"], detail);
        assert_eq!(value["title"], "Bad");
        assert_eq!(value["status"], 400);
    }
}
