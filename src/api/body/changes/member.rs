//! The members that the object of a change may have.

use super::scope::Members;

/// The members of a change, as bits of those already seen.
#[derive(Clone, Copy)]
pub(super) enum Known {
    Tenant = 1,
    Collection = 2,
    Key = 4,
    Tags = 8,
    Data = 16,
    Ttl = 32,
}

impl Known {
    pub(super) fn of(name: &str, members: Members) -> Option<Self> {
        let known = match name {
            "data" => Self::Data,
            "tags" => Self::Tags,
            "tenant" => Self::Tenant,
            "collection" => Self::Collection,
            "key" => Self::Key,
            "ttl" => Self::Ttl,
            _ => return None,
        };
        let allowed = match members {
            Members::Change => true,
            Members::Item => !matches!(known, Self::Tenant | Self::Collection),
            Members::Value => matches!(known, Self::Data | Self::Tags | Self::Ttl),
        };
        allowed.then_some(known)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Tags => "tags",
            Self::Tenant => "tenant",
            Self::Collection => "collection",
            Self::Key => "key",
            Self::Ttl => "ttl",
        }
    }
}
