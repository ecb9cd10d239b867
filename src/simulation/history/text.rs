//! Requests and answers on one line, for the trace.

use std::fmt;

use uuid::Uuid;

use super::{Asked, Call, Condition, Filter, Key, New, Place, Seen, Thing, Told};

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, node, called, returned, asked, idempotency, told, last, .. } = self;
        write!(f, "client {client} at {node} [{called} {returned}] {asked}")?;
        idempotency.as_ref().map_or(Ok(()), |key| write!(f, " under {key}"))?;
        write!(f, " -> {told}")?;
        last.map_or(Ok(()), |last| write!(f, " (last {last})"))
    }
}

/// The first digits of a UUID, which tell it from all others of a run.
fn short(id: Uuid) -> String {
    id.simple().to_string()[..6].to_owned()
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant {}", short(*id)),
            Self::Collection(id) => write!(f, "collection {}", short(*id)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{} of {}", self.number, short(self.collection))
    }
}

impl fmt::Display for New {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { tenant, collection, key, tag, ttl } = self.place;
        write!(f, "{}", self.label)?;
        match collection {
            Some(id) => write!(f, " {}", Thing::Collection(id))?,
            None => tenant.map_or(Ok(()), |id| write!(f, " {}", Thing::Tenant(id)))?,
        }
        key.map_or(Ok(()), |key| write!(f, " k{key}"))?;
        ttl.map_or(Ok(()), |ttl| write!(f, " for {ttl} s"))?;
        tag.map_or(Ok(()), |tag| write!(f, " tag {tag}"))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            None => write!(f, "all")?,
            Some(of) => write!(f, "{of}")?,
        }
        self.also.map_or(Ok(()), |also| write!(f, " and {also}"))?;
        self.tag.map_or(Ok(()), |tag| write!(f, " tag {tag}"))
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(news) => {
                write!(f, "append")?;
                news.iter().try_for_each(|new| write!(f, " [{new}]"))
            }
            Self::Put { new, condition } => write!(f, "put [{new}]{condition}"),
            Self::Delete { key, condition } => write!(f, "delete {key}{condition}"),
            Self::Make { tenant: None, name } => write!(f, "make tenant {name}"),
            Self::Make { tenant: Some(tenant), name } => {
                write!(f, "make collection {name} of {}", short(*tenant))
            }
            Self::End(thing) => write!(f, "end {thing}"),
            Self::Redact(id) => write!(f, "redact {id}"),
            Self::Retain { tenant, changes } => {
                write!(f, "retain {changes} changes of tenant {}", short(*tenant))
            }
            Self::List { filter, since, consistency } => {
                write!(f, "read {filter} after {since} {consistency:?}")
            }
            Self::Later { filter, at, consistency } => {
                write!(f, "read {filter} later than {at} {consistency:?}")
            }
            Self::State { collection } => write!(f, "read the state of {}", short(*collection)),
            Self::Key { key, consistency } => write!(f, "read {key} {consistency:?}"),
            Self::Keys { collection, prefix, after, limit, consistency } => {
                let of = short(*collection);
                write!(f, "read {limit} keys {prefix}* of {of} after {after:?} {consistency:?}")
            }
            Self::Names { tenant } => match tenant {
                None => write!(f, "read tenants"),
                Some(tenant) => write!(f, "read collections of {}", short(*tenant)),
            },
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Is(id) => write!(f, " if it is {id}"),
            Self::IsOneOf(one, other) => write!(f, " if it is {one} or {other}"),
            Self::IsNot(id) => write!(f, " if it is not {id}"),
            Self::Exists => write!(f, " if there is one"),
            Self::IsAbsent => write!(f, " if there is none"),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |changes: &[Seen]| {
            let ids = changes.first().zip(changes.last());
            format!("{:?}", ids.map(|(first, last)| (first.id, last.id)))
        };
        let end = |at_end: &bool| if *at_end { ", the end" } else { "" };
        match self {
            Self::Done { first, created } => {
                write!(f, "done as {first}{}", if *created { "" } else { ", replaced" })
            }
            Self::Made(id) => write!(f, "made {}", short(*id)),
            Self::Redacted => write!(f, "redacted"),
            Self::Retained => write!(f, "retained"),
            Self::Taken(id) => write!(f, "taken by {}", short(*id)),
            Self::Refused { current } => write!(f, "refused, it is {current:?}"),
            Self::Gone => write!(f, "gone"),
            Self::Failed => write!(f, "failed"),
            Self::Unknown => write!(f, "unknown"),
            Self::Page { changes, last, at_end } => {
                let (count, ids) = (changes.len(), range(changes));
                write!(f, "{count} changes {ids}, up to {last}{}", end(at_end))
            }
            Self::State { changes, held, upto } => {
                let (count, ids) = (changes.len(), range(changes));
                write!(f, "{count} changes {ids}, at {upto} it is {held:?}")
            }
            Self::Key(seen) => write!(f, "{:?}", seen.as_ref().map(|seen| seen.id)),
            Self::Keys { changes, at_end } => {
                let ids: Vec<u64> = changes.iter().map(|seen| seen.id).collect();
                write!(f, "keys {ids:?}{}", end(at_end))
            }
            Self::Names(names) => {
                names.iter().try_for_each(|(name, id)| write!(f, "{name} is {}, ", short(*id)))
            }
            Self::Purged { first } => write!(f, "purged, {first} is the first"),
            Self::Damaged { first, last } => write!(f, "damaged, {first} to {last}"),
            Self::Odd(text) => write!(f, "ODD: {text}"),
        }
    }
}
