//! What is told of a request that bears no good token.

use crate::api::error::{ApiError, Code};

/// When one more may be looked at: see [`crate::base::limits::FAILURE_PERIOD`].
const RETRY_AFTER_S: u32 = 1;

/// Why a request is not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
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
}

impl Why {
    /// Whether the request bears something that is not good.
    #[must_use]
    pub fn is_wrong(self) -> bool {
        self != Self::Missing
    }
}

/// A request that bears no good token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(Why);

impl From<Why> for Refused {
    fn from(why: Why) -> Self {
        Self(why)
    }
}

impl Refused {
    /// Each reason with its name, in the order of their numbers.
    pub(in crate::api) const ALL: [(Why, &'static str); 5] = [
        (Why::Missing, "missing"),
        (Why::Malformed, "malformed"),
        (Why::Unknown, "unknown"),
        (Why::Expired, "expired"),
        (Why::Limited, "limited"),
    ];

    /// Whether it is for the limit of wrong ones.
    pub(in crate::api) fn is_limited(self) -> bool {
        self.0 == Why::Limited
    }

    /// The number of its reason.
    pub(in crate::api) fn number(self) -> usize {
        self.0 as usize
    }

    /// What the client is told: never what it sent.
    #[must_use]
    pub fn error(self) -> ApiError {
        let detail = match self.0 {
            Why::Missing => {
                "this node asks for a token: send the header Authorization: Bearer TOKEN, or the token as \
                 the password of Basic"
            }
            Why::Malformed => {
                "the header Authorization is neither Bearer TOKEN nor Basic with a token as password"
            }
            Why::Unknown => "the token is not known here, or not any more",
            Why::Expired => "the token has expired",
            Why::Limited => {
                let detail = "too many wrong tokens came from this address, or for this token: what is sent is \
                              not looked at until there are fewer";
                let error = ApiError::new(Code::TooManyRequests, detail);
                return ApiError { retry_after_s: Some(RETRY_AFTER_S), ..error };
            }
        };
        ApiError::new(Code::Unauthenticated, detail)
    }
}
