//! What is told of a request that bears no good token.

use crate::api::error::{ApiError, Code};

/// When one more may be looked at: see [`crate::base::limits::FAILURE_PERIOD`].
const RETRY_AFTER_S: u32 = 1;

/// Why a request is not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// It bears no token.
    Missing,
    /// What it bears is not in the form of one.
    Malformed,
    /// Nobody has that token, or nobody any more.
    Unknown,
    /// It was good until some moment.
    Expired,
    /// Too many were not good: it is refused whatever it bears.
    Limited,
    /// Nobody has that session, or nobody any more.
    Session,
    /// It is no ticket of this cluster.
    Ticket,
    /// A ticket opens something else.
    NoStream,
    /// The ticket was used before.
    Used,
    /// More tickets were used than the node remembers.
    Crowded,
    /// The node has no key that a JWT could be signed with in its way, or not any more.
    Key,
    /// The signature of a JWT is none of the key that it names.
    Signature,
    /// A JWT is for somebody else.
    Audience,
    /// A JWT is not good yet.
    NotYet,
    /// A JWT lacks a claim, or says what cannot be.
    Claims,
}

impl Refused {
    /// Each reason with its name, in the order of their numbers.
    pub(in crate::api) const ALL: [(Self, &'static str); 15] = [
        (Self::Missing, "missing"),
        (Self::Malformed, "malformed"),
        (Self::Unknown, "unknown"),
        (Self::Expired, "expired"),
        (Self::Limited, "limited"),
        (Self::Session, "session"),
        (Self::Ticket, "ticket"),
        (Self::NoStream, "no-stream"),
        (Self::Used, "used"),
        (Self::Crowded, "crowded"),
        (Self::Key, "key"),
        (Self::Signature, "signature"),
        (Self::Audience, "audience"),
        (Self::NotYet, "not-yet"),
        (Self::Claims, "claims"),
    ];

    /// Whether the request bears something that is not good.
    #[must_use]
    pub fn is_wrong(self) -> bool {
        self != Self::Missing
    }

    /// Whether it is for the limit of wrong ones.
    pub(in crate::api) fn is_limited(self) -> bool {
        self == Self::Limited
    }

    /// The number of its reason.
    pub(in crate::api) fn number(self) -> usize {
        self as usize
    }

    /// What the client is told: never what it sent.
    #[must_use]
    pub fn error(self) -> ApiError {
        let detail = match self {
            Self::Missing => {
                "this node asks for a token: send the header Authorization: Bearer TOKEN, or the token as \
                 the password of Basic"
            }
            Self::Malformed => {
                "the header Authorization is neither Bearer TOKEN nor Basic with a token as password"
            }
            Self::Unknown => "the token is not known here, or not any more",
            Self::Limited => {
                let detail = "too many wrong tokens came from this address, or for this token: what is sent is \
                              not looked at until there are fewer";
                let error = ApiError::new(Code::TooManyRequests, detail);
                return ApiError { retry_after_s: Some(RETRY_AFTER_S), ..error };
            }
            Self::Expired => {
                "the token has expired, or the session or ticket that was made with it"
            }
            Self::Session => {
                "the session is not known here, or not any more: POST /session makes one with a token"
            }
            Self::Ticket => {
                "the ticket is none of this cluster, or its token is not known any more"
            }
            Self::NoStream => {
                "a ticket opens a stream of changes (GET, as text/event-stream or lines) at the path that it was \
                 made for, and nothing else"
            }
            Self::Used => "the ticket has been used here: each opens one stream",
            Self::Key => "no key of this node fits the alg and kid of the JWT, or not any more",
            Self::Signature => "the signature of the JWT is none of the key that it names",
            Self::Audience => "the JWT is for another audience: its aud is not that of this node",
            Self::NotYet => "the JWT is not good yet: its nbf lies ahead",
            Self::Claims => {
                "the claims of the JWT are not as they must be: exp in seconds, aud, role (read, append, write or \
                 admin), and if there is a tenant the UUID or the name of one that exists here"
            }
            Self::Crowded => {
                "more tickets were used within a minute than are remembered: send a token as a header instead"
            }
        };
        let code = if self == Self::Crowded { Code::Overloaded } else { Code::Unauthenticated };
        ApiError::new(code, detail)
    }
}
