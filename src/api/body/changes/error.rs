//! What is wrong with the body of a write, and its place in the error table.

use crate::{
    api::{
        error::{ApiError, Code, excerpt},
        json::Reason,
        metrics::Limit,
    },
    base::{
        limits::{KEY_BYTES_MAX, NAME_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX},
        ttl::TTL_SECONDS_MAX,
    },
};

/// The first thing that is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct BodyError {
    /// Where in the body, in bytes from 0: the first wrong byte for JSON, else
    /// where the name, value or object starts that breaks a rule.
    pub offset: usize,
    /// Which change of a batch, from 0; `None` for a single change or when the
    /// batch itself is at fault.
    pub index: Option<usize>,
    /// What.
    pub fault: Fault,
}

/// Which rule a body breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The grammar of JSON, UTF-8 or the bound on nesting.
    #[error("{0}")]
    Json(Reason),
    /// A body that is neither object nor array.
    #[error("expected an object, or an array of objects")]
    NoChanges,
    /// A value of a key that is not an object.
    #[error("expected an object with the member \"data\"")]
    NoValue,
    /// A change that is not an object.
    #[error("a change must be an object")]
    NoObject,
    /// A batch without a change.
    #[error("the batch holds no change")]
    Empty,
    /// A member that stands twice.
    #[error("member \"{0}\" stands twice")]
    Duplicate(&'static str),
    /// A member of the wrong type.
    #[error("member \"{member}\" must be {expected}")]
    Type {
        /// Its name.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A member that is not known, cut to a bounded length.
    #[error("unknown member {0:?}")]
    UnknownMember(String),
    /// A change lacks a member.
    #[error("member \"{0}\" is missing")]
    MissingMember(&'static str),
    /// A `tenant` that can be neither a UUID nor a name.
    #[error("member \"tenant\" must be a UUID or 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ ~ -")]
    Name,
    /// A `collection` that is no UUID.
    #[error("member \"collection\" must be a UUID")]
    Uuid,
    /// A `key` of the wrong length.
    #[error("member \"key\" must be 1 to {KEY_BYTES_MAX} bytes long")]
    Key,
    /// A `ttl` that is none.
    #[error("member \"ttl\" must be a whole number of seconds from 1 to {TTL_SECONDS_MAX}")]
    Ttl,
    /// A tag of the wrong length.
    #[error("a tag must be 1 to {TAG_BYTES_MAX} bytes long")]
    Tag,
    /// More tags than a change may have.
    #[error("a change has at most {TAGS_MAX} tags")]
    Tags,
    /// A tag that stands twice in one change.
    #[error("tag {0:?} stands twice")]
    DuplicateTag(String),
    /// A tenant or collection that does not exist.
    #[error("there is no {member} {value:?}")]
    NotFound {
        /// `tenant` or `collection`.
        member: &'static str,
        /// The name or UUID as it was sent.
        value: String,
    },
    /// A tenant other than the collection's or the path's.
    #[error("the change would belong to two tenants")]
    TenantMismatch {
        /// The member that names the second one: `tenant` or `collection`.
        member: &'static str,
    },
    /// More data in one change than allowed.
    #[error("the data of a change is {bytes} bytes, above the limit of {bytes_max}")]
    DataTooLarge {
        /// As it would be stored.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// More changes than one batch may have.
    #[error("the batch holds more than {0} changes")]
    TooManyChanges(usize),
    /// A body of 4 GiB or more.
    #[error("the body is 4 GiB or larger")]
    BodyTooLarge,
}

impl Fault {
    /// The limit that it goes beyond, if it is that.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::DataTooLarge { .. } => Some(Limit::Data),
            Self::TooManyChanges(_) => Some(Limit::Batch),
            Self::Json(Reason::Depth(_)) => Some(Limit::Depth),
            _ => None,
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Json(_)
            | Self::NoChanges
            | Self::NoValue
            | Self::NoObject
            | Self::Empty
            | Self::Duplicate(_)
            | Self::Type { .. } => Code::InvalidJson,
            Self::Ttl => Code::InvalidParameter,
            Self::UnknownMember(_) => Code::UnknownMember,
            Self::MissingMember(_) => Code::MissingMember,
            Self::Name
            | Self::Uuid
            | Self::Key
            | Self::Tag
            | Self::Tags
            | Self::DuplicateTag(_) => Code::InvalidName,
            Self::NotFound { .. } => Code::NotFound,
            Self::TenantMismatch { .. } => Code::TenantMismatch,
            Self::DataTooLarge { .. } | Self::TooManyChanges(_) | Self::BodyTooLarge => {
                Code::TooLarge
            }
        }
    }

    /// The member that is at fault.
    fn member(&self) -> Option<String> {
        match self {
            Self::UnknownMember(member) => Some(excerpt(member)),
            Self::Duplicate(member)
            | Self::MissingMember(member)
            | Self::Type { member, .. }
            | Self::NotFound { member, .. }
            | Self::TenantMismatch { member } => Some((*member).to_owned()),
            Self::Name => Some("tenant".to_owned()),
            Self::Uuid => Some("collection".to_owned()),
            Self::Key => Some("key".to_owned()),
            Self::Ttl => Some("ttl".to_owned()),
            Self::Tag | Self::Tags | Self::DuplicateTag(_) => Some("tags".to_owned()),
            Self::DataTooLarge { .. } => Some("data".to_owned()),
            Self::Json(_)
            | Self::NoChanges
            | Self::NoValue
            | Self::NoObject
            | Self::Empty
            | Self::TooManyChanges(_)
            | Self::BodyTooLarge => None,
        }
    }
}

impl BodyError {
    /// Whether it speaks of a name that stands for nothing, or not for what it
    /// should: that counts only when nothing else is wrong in the body.
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        matches!(self.fault, Fault::NotFound { .. } | Fault::TenantMismatch { .. })
    }
}

/// `detail` says what, where and in which change; the members `offset`,
/// `index` and `member` say it again for programs.
impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let place = match error.index {
            Some(index) => format!(", in change {index} of the batch (the first is 0)"),
            None => String::new(),
        };
        let mut api = Self::new(error.fault.code(), format!("{error}{place}"))
            .with_number("offset", error.offset as u64);
        if let Some(index) = error.index {
            api = api.with_number("index", index as u64);
        }
        if let Some(member) = error.fault.member() {
            api = api.with_text("member", member);
        }
        api
    }
}
