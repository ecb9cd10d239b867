//! The one table from what can go wrong to HTTP: every code with its status and
//! title.

use std::fmt;

/// Everything a request can be refused with. The spelling of a code
/// ([`Code::as_str`]) is part of the API and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// HTTP itself is malformed; the connection closes.
    BadRequest,
    /// A body that is not JSON, or JSON of another shape than asked for.
    InvalidJson,
    /// A parameter or header that is unknown, repeated or out of range.
    InvalidParameter,
    /// A body lacks a member.
    MissingMember,
    /// A body has a member that is not known.
    UnknownMember,
    /// A name, key or tag that breaks the rules for it.
    InvalidName,
    /// A body names another tenant than its collection or path.
    TenantMismatch,
    /// No credentials, or wrong ones.
    Unauthenticated,
    /// The credentials do not allow it.
    Forbidden,
    /// The resource does not exist.
    NotFound,
    /// The resource has no such method.
    MethodNotAllowed,
    /// None of the accepted media types can be had.
    NotAcceptable,
    /// The name belongs to another tenant or collection.
    NameTaken,
    /// The ids of the request are of another history.
    OtherHistory,
    /// The changes asked for are no longer held.
    Purged,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// The body's media type is not understood.
    UnsupportedMediaType,
    /// `Expect` asks for something that this server cannot do.
    ExpectationFailed,
    /// The request names a host that is not this node.
    Misdirected,
    /// An `Idempotency-Key` was used before with another body.
    IdempotencyMismatch,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body, a change or a batch is larger than allowed.
    TooLarge,
    /// The request target is longer than allowed.
    UriTooLong,
    /// The client asks too often.
    TooManyRequests,
    /// The request's headers are larger than allowed.
    HeadersTooLarge,
    /// A fault of the server.
    Internal,
    /// The changes asked for cannot be read from this node's disk.
    Damaged,
    /// A transfer coding or a method that this server does not know.
    NotImplemented,
    /// There is no leader to order a write.
    NoLeader,
    /// This node does not yet hold the state asked for.
    Behind,
    /// The node has as much to do as it can take.
    Overloaded,
    /// The disk is full or failing.
    Storage,
    /// A write that may or may not happen.
    UnknownOutcome,
}

impl Code {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 33] = [
        Self::BadRequest,
        Self::InvalidJson,
        Self::InvalidParameter,
        Self::MissingMember,
        Self::UnknownMember,
        Self::InvalidName,
        Self::TenantMismatch,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::NameTaken,
        Self::OtherHistory,
        Self::Purged,
        Self::PreconditionFailed,
        Self::UnsupportedMediaType,
        Self::ExpectationFailed,
        Self::Misdirected,
        Self::IdempotencyMismatch,
        Self::RequestTimeout,
        Self::TooLarge,
        Self::UriTooLong,
        Self::TooManyRequests,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Damaged,
        Self::NotImplemented,
        Self::NoLeader,
        Self::Behind,
        Self::Overloaded,
        Self::Storage,
        Self::UnknownOutcome,
    ];

    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "bad-request", "Malformed HTTP request"),
            Self::InvalidJson => (400, "invalid-json", "Invalid JSON body"),
            Self::InvalidParameter => (400, "invalid-parameter", "Invalid parameter or header"),
            Self::MissingMember => (400, "missing-member", "Missing member in the body"),
            Self::UnknownMember => (400, "unknown-member", "Unknown member in the body"),
            Self::InvalidName => (400, "invalid-name", "Invalid name, key or tag"),
            Self::TenantMismatch => (400, "tenant-mismatch", "Tenants differ"),
            Self::Unauthenticated => (401, "unauthenticated", "Credentials required"),
            Self::Forbidden => (403, "forbidden", "Not allowed"),
            Self::NotFound => (404, "not-found", "Not found"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "Method not allowed"),
            Self::NotAcceptable => (406, "not-acceptable", "No acceptable media type"),
            Self::RequestTimeout => (408, "request-timeout", "Request took too long"),
            Self::NameTaken => (409, "name-taken", "Name already taken"),
            Self::OtherHistory => (409, "other-history", "Another history"),
            Self::Purged => (410, "purged", "No longer held"),
            Self::PreconditionFailed => (412, "precondition-failed", "Precondition failed"),
            Self::TooLarge => (413, "too-large", "Too large"),
            Self::UriTooLong => (414, "uri-too-long", "Request target too long"),
            Self::UnsupportedMediaType => (415, "unsupported-media-type", "Unsupported media type"),
            Self::ExpectationFailed => (417, "expectation-failed", "Expectation not met"),
            Self::Misdirected => (421, "misdirected", "Not this node"),
            Self::IdempotencyMismatch => {
                (422, "idempotency-mismatch", "Idempotency key used with another body")
            }
            Self::TooManyRequests => (429, "too-many-requests", "Too many requests"),
            Self::HeadersTooLarge => (431, "headers-too-large", "Request headers too large"),
            Self::Internal => (500, "internal", "Internal error"),
            Self::Damaged => (500, "damaged", "Stored changes are damaged"),
            Self::NotImplemented => (501, "not-implemented", "Not implemented"),
            Self::NoLeader => (503, "no-leader", "No leader"),
            Self::Behind => (503, "behind", "Node is behind"),
            Self::Overloaded => (503, "overloaded", "Overloaded"),
            Self::Storage => (503, "storage", "Storage full or failing"),
            Self::UnknownOutcome => (504, "unknown-outcome", "Outcome unknown"),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The code as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// A short summary, the same for every occurrence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_its_own_spelling_and_an_error_status() {
        let spellings: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(spellings.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..=504).contains(&code.status()), "{code}");
            assert!(!code.title().is_empty(), "{code}");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
        }
    }

    #[test]
    fn what_http_refuses_is_told_as_in_the_table() {
        use crate::http::ProtocolError as Refusal;
        for (refusal, code) in [
            (Refusal::Header, Code::BadRequest),
            (Refusal::Timeout, Code::RequestTimeout),
            (Refusal::BodyTooLarge, Code::TooLarge),
            (Refusal::UriTooLong, Code::UriTooLong),
            (Refusal::HeadersTooLarge, Code::HeadersTooLarge),
            (Refusal::Expectation, Code::ExpectationFailed),
            (Refusal::TransferCoding, Code::NotImplemented),
            (Refusal::MethodTooLong, Code::NotImplemented),
            (Refusal::Overloaded, Code::Overloaded),
        ] {
            let told = (refusal.status(), refusal.code(), refusal.title());
            assert_eq!(told, code.row());
        }
    }

    #[test]
    fn the_table_is_the_published_one() {
        let published: [(u16, &[&str]); 20] = [
            (
                400,
                &[
                    "bad-request",
                    "invalid-json",
                    "invalid-parameter",
                    "missing-member",
                    "unknown-member",
                    "invalid-name",
                    "tenant-mismatch",
                ],
            ),
            (401, &["unauthenticated"]),
            (403, &["forbidden"]),
            (404, &["not-found"]),
            (405, &["method-not-allowed"]),
            (406, &["not-acceptable"]),
            (408, &["request-timeout"]),
            (409, &["name-taken", "other-history"]),
            (410, &["purged"]),
            (412, &["precondition-failed"]),
            (413, &["too-large"]),
            (414, &["uri-too-long"]),
            (415, &["unsupported-media-type"]),
            (417, &["expectation-failed"]),
            (421, &["misdirected"]),
            (422, &["idempotency-mismatch"]),
            (429, &["too-many-requests"]),
            (431, &["headers-too-large"]),
            (500, &["internal", "damaged"]),
            (501, &["not-implemented"]),
        ];
        let mut rows: Vec<(u16, &str)> = published
            .iter()
            .flat_map(|(status, codes)| codes.iter().map(|code| (*status, *code)))
            .collect();
        rows.extend(["no-leader", "behind", "overloaded", "storage"].map(|code| (503, code)));
        rows.push((504, "unknown-outcome"));
        let mut ours: Vec<_> =
            Code::ALL.iter().map(|code| (code.status(), code.as_str())).collect();
        rows.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, rows);
    }
}
