//! What of requests and answers is counted by itself.

use super::{Asked, Condition, Consistency, Filter, Thing, Told};

impl Asked {
    pub fn kind(&self) -> String {
        match self {
            Self::Append(news) if news.iter().any(|new| new.place != news[0].place) => {
                "append in several places".into()
            }
            Self::Append(news) if news.len() > 1 => "append several".into(),
            Self::Append(_) => "append".into(),
            Self::Put { condition, .. } => format!("put{}", condition.kind()),
            Self::Delete { condition, .. } => format!("delete{}", condition.kind()),
            Self::Make { tenant: None, .. } => "make a tenant".into(),
            Self::Make { .. } => "make a collection".into(),
            Self::End(thing) => format!("end {}", thing.kind()),
            Self::Redact(_) => "redact".into(),
            Self::Retain { .. } => "retain".into(),
            Self::List { filter, consistency, .. } => {
                format!("read {} {}", filter.kind(), consistency.kind())
            }
            Self::Later { filter, consistency, .. } => {
                format!("read later of {} {}", filter.kind(), consistency.kind())
            }
            Self::State { .. } => "read a state".into(),
            Self::Key { consistency, .. } => format!("read a key {}", consistency.kind()),
            Self::Keys { consistency, .. } => format!("read keys {}", consistency.kind()),
            Self::Names { .. } => "read names".into(),
        }
    }
}

impl Consistency {
    fn kind(self) -> &'static str {
        match self {
            Self::Local => "locally",
            Self::Strong => "strongly",
            Self::AtLeast(_) => "from an id on",
        }
    }
}

impl Condition {
    fn kind(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Is(_) => " if it is that",
            Self::IsOneOf(..) => " if it is one of those",
            Self::IsNot(_) => " if it is not that",
            Self::Exists => " if there is one",
            Self::IsAbsent => " if there is none",
        }
    }
}

impl Thing {
    fn kind(self) -> &'static str {
        match self {
            Self::Tenant(_) => "a tenant",
            Self::Collection(_) => "a collection",
        }
    }
}

impl Filter {
    fn kind(self) -> String {
        let of = match self.also {
            Some(_) => "several",
            None => self.of.map_or("all", Thing::kind),
        };
        let tag = if self.tag.is_some() { " with a tag" } else { "" };
        format!("{of}{tag}")
    }
}

impl Told {
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Done { .. }
            | Self::Made(_)
            | Self::Redacted
            | Self::Retained
            | Self::Page { .. }
            | Self::State { .. }
            | Self::Key(_)
            | Self::Keys { .. }
            | Self::Names(_) => "done",
            Self::Taken(_) | Self::Refused { .. } => "refused",
            Self::Gone => "gone",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Purged { .. } => "purged",
            Self::Damaged { .. } => "damaged",
            Self::Odd(_) => "odd",
        }
    }
}
