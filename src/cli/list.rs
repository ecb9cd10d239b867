//! Which list of changes, and the addresses of resources.

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use super::{failure::Failure, node::Node};

/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One segment of a path, or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A list of changes to read.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    pub(super) place: PlaceArguments,
    /// Only changes with this tag; may be repeated, then any of them
    #[arg(long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<String>,
}

/// A tenant or a collection.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PlaceArguments {
    /// The tenant, by UUID or name
    #[arg(long, value_name = "T", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) tenant: Option<String>,
    /// The collection, by UUID or, with --tenant, by name
    #[arg(long, value_name = "C", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) collection: Option<String>,
}

impl PlaceArguments {
    /// The path of the tenant or collection; empty for the whole database.
    ///
    /// # Errors
    /// A name of a collection without its tenant.
    pub(super) fn path(&self) -> Result<String, Failure> {
        match (&self.tenant, &self.collection) {
            (None, None) => Ok(String::new()),
            (Some(tenant), None) => Ok(format!("/tenants/{}", encoded(tenant))),
            (Some(tenant), Some(collection)) => {
                Ok(format!("/tenants/{}/collections/{}", encoded(tenant), encoded(collection)))
            }
            (None, Some(collection)) if Uuid::try_parse(collection).is_ok() => {
                Ok(format!("/collections/{}", encoded(collection)))
            }
            (None, Some(collection)) => Err(Failure::Usage(format!(
                "--collection {collection} is not a UUID; a name needs its --tenant"
            ))),
        }
    }
}

impl PlaceArguments {
    /// The path of the tenant or collection by its UUID: a name may be given to
    /// another one.
    ///
    /// # Errors
    /// There is none of that name, or the node does not say.
    pub(super) fn identity(&self, node: &Node) -> Result<String, Failure> {
        #[derive(serde::Deserialize)]
        struct Resource {
            tenant: Uuid,
            collection: Option<Uuid>,
        }
        let path = self.path()?;
        if path.is_empty() {
            return Ok(path);
        }
        let bytes = node.get_json(&path)?;
        let resource: Resource = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::Other(format!("{path}: an answer that says nothing: {error}"))
        })?;
        Ok(match resource {
            Resource { collection: Some(uuid), .. } => format!("/collections/{uuid}"),
            Resource { tenant, .. } => format!("/tenants/{tenant}"),
        })
    }
}

impl ListArguments {
    /// What list that is, whatever it was called.
    ///
    /// # Errors
    /// There is none, or the node does not say.
    pub(super) fn identity(&self, node: &Node) -> Result<String, Failure> {
        let mut tags: Vec<_> = self.tags.iter().map(|tag| encoded(tag)).collect();
        tags.sort();
        tags.dedup();
        let query =
            if tags.is_empty() { String::new() } else { format!("?tag={}", tags.join("&tag=")) };
        Ok(format!("{}/changes{query}", self.place.identity(node)?))
    }
}

/// The address of a list.
#[derive(Clone, Debug)]
pub(super) struct List {
    path: String,
    /// `&tag=…` for each.
    tags: String,
}

impl List {
    pub(super) fn new(arguments: &ListArguments) -> Result<Self, Failure> {
        let path = format!("{}/changes", arguments.place.path()?);
        let tags = arguments.tags.iter().map(|tag| format!("&tag={}", encoded(tag))).collect();
        Ok(Self { path, tags })
    }

    /// Whether it holds every change, so that its ids have no gaps.
    pub(super) fn is_everything(&self) -> bool {
        self.path == "/changes" && self.tags.is_empty()
    }

    /// What to ask for: what follows `since`, with further parameters.
    pub(super) fn target(&self, since: impl std::fmt::Display, further: &str) -> String {
        format!("{}?since={since}{further}{}", self.path, self.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tenant: Option<&str>, collection: Option<&str>, tags: &[&str]) -> List {
        let place = PlaceArguments {
            tenant: tenant.map(Into::into),
            collection: collection.map(Into::into),
        };
        let tags = tags.iter().map(ToString::to_string).collect();
        List::new(&ListArguments { place, tags }).unwrap()
    }

    #[test]
    fn a_list_has_its_address() {
        let uuid = "6f1c8a52-0000-4000-8000-000000000001";
        for (list, target) in [
            (list(None, None, &[]), "/changes?since=7&limit=1".to_owned()),
            (list(None, None, &["a b", "ü&"]), {
                "/changes?since=7&limit=1&tag=a%20b&tag=%C3%BC%26".to_owned()
            }),
            (list(Some("foo"), None, &[]), "/tenants/foo/changes?since=7&limit=1".to_owned()),
            (list(Some("f/o"), Some("bar"), &[]), {
                "/tenants/f%2Fo/collections/bar/changes?since=7&limit=1".to_owned()
            }),
            (list(None, Some(uuid), &[]), format!("/collections/{uuid}/changes?since=7&limit=1")),
        ] {
            assert_eq!(list.target(7, "&limit=1"), target);
            assert_eq!(list.is_everything(), target == "/changes?since=7&limit=1");
        }
    }

    #[test]
    fn a_name_of_a_collection_needs_its_tenant() {
        let place = PlaceArguments { tenant: None, collection: Some("bar".into()) };
        assert_eq!(place.path().unwrap_err().exit_code(), 2);
    }
}
