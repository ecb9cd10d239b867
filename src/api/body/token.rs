//! The bodies that create a token, `{"name":…,"role":…,"scope":{…},"expires":…}`, and that say what requests without one
//! may do, `{"role":…,"scope":{…}}` or `null`.

use serde_json::{Map, Value};

use crate::{
    api::{
        error::{ApiError, Code, excerpt},
        json,
        request::content_type::Form,
    },
    base::{ids::Timestamp, limits::NAME_BYTES_MAX, moment, names::is_name, tokens::Role},
};

/// How deeply a body may nest.
const DEPTH_MAX: usize = 8;

/// What a token is to concern, as a body names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum ScopeName {
    All,
    /// By UUID or name.
    Tenant(String),
    /// By UUID.
    Collection(String),
}

/// A token that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct TokenBody {
    pub(in crate::api) name: Box<str>,
    pub(in crate::api) role: Role,
    pub(in crate::api) scope: ScopeName,
    pub(in crate::api) expires: Option<Timestamp>,
}

/// Reads the body that creates a token.
///
/// # Errors
/// What is wrong with it.
pub(in crate::api) fn parse(body: &[u8], form: Form) -> Result<TokenBody, ApiError> {
    let mut members = object(read(body, form)?, &["name", "role", "scope", "expires"])?;
    let name = text(&mut members, "name")?.ok_or_else(|| missing("name"))?;
    if !is_name(&name) {
        let rule = format!(
            "a name is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ ~ - and not of a UUID's form, not {:?}",
            excerpt(&name)
        );
        return Err(wrong(Code::InvalidName, "name", &rule));
    }
    let (role, scope) = rights(&mut members)?;
    let expires = text(&mut members, "expires")?;
    let expires = expires.map(|text| {
        let rule = format!(
            "member \"expires\" must be a moment as RFC 3339 has it, such as 2027-01-31T00:00:00Z, before the year 10000 in UTC, not {:?}",
            excerpt(&text)
        );
        moment::parsed(&text).ok_or_else(|| wrong(Code::InvalidParameter, "expires", &rule))
    });
    Ok(TokenBody { name: name.into(), role, scope, expires: expires.transpose()? })
}

/// Reads the body that says what requests without a token may do; `None` for nothing.
///
/// # Errors
/// What is wrong with it.
pub(in crate::api) fn parse_anonymous(
    body: &[u8],
    form: Form,
) -> Result<Option<(Role, ScopeName)>, ApiError> {
    match read(body, form)? {
        Value::Null => Ok(None),
        value => rights(&mut object(value, &["role", "scope"])?).map(Some),
    }
}

fn read(body: &[u8], form: Form) -> Result<Value, ApiError> {
    if form != Form::Json {
        let detail = "a body of lines says nothing of tokens";
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    json::validate(body, DEPTH_MAX).map_err(|error| {
        let detail = format!("{} at byte {}", error.reason, error.offset);
        ApiError::new(Code::InvalidJson, detail).with_number("offset", error.offset as u64)
    })?;
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(Code::InvalidJson, error.to_string()))
}

fn object(value: Value, known: &[&str]) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(members) = value else {
        return Err(ApiError::new(Code::InvalidJson, "expected an object"));
    };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            let detail = format!("unknown member {:?}", excerpt(name));
            Err(wrong(Code::UnknownMember, name, &detail))
        }
        None => Ok(members),
    }
}

fn rights(members: &mut Map<String, Value>) -> Result<(Role, ScopeName), ApiError> {
    let role = text(members, "role")?.ok_or_else(|| missing("role"))?;
    let role = Role::named(&role).ok_or_else(|| {
        let names = Role::ALL.map(|(_, name)| name).join(", ");
        let rule = format!("a role is one of {names}, not {:?}", excerpt(&role));
        wrong(Code::InvalidParameter, "role", &rule)
    })?;
    let scope = members.remove("scope").ok_or_else(|| {
        let detail = "member \"scope\" is missing: {} for everything";
        wrong(Code::MissingMember, "scope", detail)
    })?;
    let mut scope = object(scope, &["tenant", "collection"])?;
    let named = (text(&mut scope, "tenant")?, text(&mut scope, "collection")?);
    match named {
        (None, None) => Ok((role, ScopeName::All)),
        (Some(tenant), None) => Ok((role, ScopeName::Tenant(tenant))),
        (None, Some(collection)) => Ok((role, ScopeName::Collection(collection))),
        (Some(_), Some(_)) => {
            let rule = "a scope is {}, or has one of tenant and collection";
            Err(wrong(Code::InvalidParameter, "scope", rule))
        }
    }
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => {
            Err(wrong(Code::InvalidJson, name, &format!("member {name:?} must be a string")))
        }
    }
}

fn missing(name: &str) -> ApiError {
    wrong(Code::MissingMember, name, &format!("member {name:?} is missing"))
}

fn wrong(code: Code, name: &str, detail: &str) -> ApiError {
    ApiError::new(code, detail).with_text("member", excerpt(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_and_all_else_refused() {
        let read = |body: &str| parse(body.as_bytes(), Form::Json);
        let body = r#"{"name":"n","role":"append","scope":{"tenant":"acme"},"expires":"2027-01-31T01:00:00.5+01:00"}"#;
        let want = TokenBody {
            name: "n".into(),
            role: Role::Append,
            scope: ScopeName::Tenant("acme".into()),
            expires: moment::parsed("2027-01-31T00:00:00.5Z"),
        };
        assert_eq!(read(body).unwrap(), want);
        assert!(want.expires.is_some());
        let least = read(r#"{"scope":{},"role":"admin","name":"n"}"#).unwrap();
        assert_eq!((least.role, least.scope, least.expires), (Role::Admin, ScopeName::All, None));
        for (body, code) in [
            ("", Code::InvalidJson),
            ("[]", Code::InvalidJson),
            (r#"{"role":"read","scope":{}}"#, Code::MissingMember),
            (r#"{"name":"n","scope":{}}"#, Code::MissingMember),
            (r#"{"name":"n","role":"read"}"#, Code::MissingMember),
            (r#"{"name":"a b","role":"read","scope":{}}"#, Code::InvalidName),
            (r#"{"name":"n","role":"root","scope":{}}"#, Code::InvalidParameter),
            (r#"{"name":"n","role":1,"scope":{}}"#, Code::InvalidJson),
            (r#"{"name":"n","role":"read","scope":null}"#, Code::InvalidJson),
            (r#"{"name":"n","role":"read","scope":{"tenants":"x"}}"#, Code::UnknownMember),
            (
                r#"{"name":"n","role":"read","scope":{"tenant":"x","collection":"y"}}"#,
                Code::InvalidParameter,
            ),
            (r#"{"name":"n","role":"read","scope":{},"expires":"soon"}"#, Code::InvalidParameter),
            (
                r#"{"name":"n","role":"read","scope":{},"expires":"9999-12-31T23:59:59-23:59"}"#,
                Code::InvalidParameter,
            ),
            (r#"{"name":"n","role":"read","scope":{},"until":"soon"}"#, Code::UnknownMember),
        ] {
            assert_eq!(read(body).unwrap_err().code, code, "{body}");
        }
        let told = read(r#"{"name":"n","role":"read"}"#).unwrap_err().detail;
        assert!(told.contains("\"scope\" is missing: {} for everything"), "{told}");
    }

    #[test]
    fn nothing_or_rights_are_read() {
        let read = |body: &str| parse_anonymous(body.as_bytes(), Form::Json);
        assert_eq!(read("null").unwrap(), None);
        let rights = Some((Role::Read, ScopeName::Collection("c".into())));
        assert_eq!(read(r#"{"role":"read","scope":{"collection":"c"}}"#).unwrap(), rights);
        assert_eq!(read("{}").unwrap_err().code, Code::MissingMember);
        assert_eq!(
            read(r#"{"role":"read","scope":{},"name":"x"}"#).unwrap_err().code,
            Code::UnknownMember
        );
    }
}
