//! A refusal as the data of a problem document, and what is told of the errors
//! of the layers below.

use std::fmt::Display;

use super::code::Code;
use crate::{
    base::{ids::ChangeId, json_string::json_string, outcome::WriteError},
    http::Response,
    node::control::ReadError,
};

/// How a client may say who it is.
const CHALLENGE: &str =
    "Bearer realm=\"ChangeAgent\", Basic realm=\"ChangeAgent\", charset=\"UTF-8\"";

/// An extra member of a problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// An integer.
    Number(u64),
    /// A string.
    Text(String),
    /// Nothing.
    Null,
}

/// One refused request: the data of its problem document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct ApiError {
    /// What kind of refusal.
    pub code: Code,
    /// What was wrong and where, for the one who sent it.
    pub detail: String,
    /// Members besides the standard ones, such as `offset` or `first`.
    pub members: Vec<(&'static str, Member)>,
    /// Seconds for `Retry-After`.
    pub retry_after_s: Option<u32>,
}

impl ApiError {
    /// An error without extra members. A code of status 503 asks to retry after
    /// one second.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_s = (code.status() == 503).then_some(1);
        Self { code, detail: detail.into(), members: Vec::new(), retry_after_s }
    }

    /// The same with an integer member.
    #[must_use]
    pub fn with_number(mut self, name: &'static str, value: u64) -> Self {
        self.members.push((name, Member::Number(value)));
        self
    }

    /// The same with a member that says that there is nothing.
    #[must_use]
    pub fn with_null(mut self, name: &'static str) -> Self {
        self.members.push((name, Member::Null));
        self
    }

    /// The same with a string member.
    #[must_use]
    pub fn with_text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.members.push((name, Member::Text(value.into())));
        self
    }
}

/// A piece of what a client sent, short enough to stand in an error.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        let value = |member: &Member| match member {
            Member::Number(number) => number.to_string(),
            Member::Text(text) => json_string(text),
            Member::Null => "null".to_owned(),
        };
        let members: Vec<(&str, String)> =
            error.members.iter().map(|(name, member)| (*name, value(member))).collect();
        let members: Vec<(&str, &str)> =
            members.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (code, detail) = (error.code, &error.detail);
        let mut response =
            Self::problem(code.status(), code.as_str(), code.title(), detail, &members);
        if code == Code::Unauthenticated {
            response = response.with_header("WWW-Authenticate", CHALLENGE);
        }
        match error.retry_after_s {
            Some(seconds) => response.with_number("Retry-After", u64::from(seconds)),
            None => response,
        }
    }
}

/// What is told of a write that was not decided.
impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        let code = match error {
            WriteError::NoLeader => Code::NoLeader,
            WriteError::Storage(_) => Code::Storage,
            WriteError::Overloaded => Code::Overloaded,
            WriteError::Unknown => Code::UnknownOutcome,
        };
        Self::new(code, error.to_string())
    }
}

/// What is told of a read that cannot be as new as it must.
impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::NoLeader => Code::NoLeader,
            ReadError::Behind => Code::Behind,
            ReadError::Overloaded => Code::Overloaded,
        };
        Self::new(code, error.to_string())
    }
}

/// The place of a change that is not held, where `first` is the oldest that is.
pub(in crate::api) fn purged(first: ChangeId) -> ApiError {
    let detail = format!("changes before {first} are no longer held");
    ApiError::new(Code::Purged, detail).with_number("first", first.0)
}

/// Something stored that the disk does not give.
pub(in crate::api) fn unreadable(error: &dyn Display) -> ApiError {
    tracing::error!(%error, "cannot read what is stored");
    ApiError::new(Code::Internal, format!("what is stored cannot be read: {error}"))
}

/// What a node says that others take for a member of theirs.
pub(in crate::api) fn claimed() -> ApiError {
    let detail = "this node is a cluster of its own, but nodes of another cluster call it as their \
                  member: its data directory is new, or not the one that belongs here";
    ApiError::new(Code::NoLeader, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_503_asks_to_retry() {
        for code in Code::ALL {
            let error = ApiError::new(code, "x");
            assert_eq!(error.retry_after_s.is_some(), code.status() == 503, "{code}");
        }
    }

    #[test]
    fn an_excerpt_is_bounded_and_cut_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"é".repeat(1000)), format!("{}…", "é".repeat(64)));
    }
}
