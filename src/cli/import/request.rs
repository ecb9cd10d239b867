//! One request of an import: the changes of some lines, or one deletion.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use ureq::http::Method;

use super::{super::failure::Failure, batch::Lines};
use crate::base::hex::hex;

/// What is sent, and which lines that is.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: String,
    /// A JSON array; nothing for a deletion.
    pub(super) body: Option<Vec<u8>>,
    pub(super) lines: Lines,
    /// It is no matter if what it deletes is gone.
    pub(super) may_be_gone: bool,
}

impl Request {
    /// The same for the same bytes sent to the same address.
    pub(super) fn digest(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.method.as_str());
        digest.update([0]);
        digest.update(&self.target);
        digest.update([0]);
        digest.update(self.body.as_deref().unwrap_or_default());
        hex(&digest.finalize())
    }

    /// A failure, said of the line that it is about.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        let lines = &self.lines;
        if failure.is("idempotency-mismatch") {
            return self.sent_otherwise().at(failure);
        }
        let offset = failure.problem().and_then(|problem| problem.offset);
        let place = lines.named(offset);
        let owner = offset.and_then(|offset| self.owner(offset));
        match owner.filter(|_| failure.is("not-found")) {
            Some(owner) => failure.at(format!("{place}: {owner} (--map OLD=NEW names another)")),
            None => failure.at(place),
        }
    }

    pub(super) fn sent_otherwise(&self) -> Failure {
        Failure::Other(format!(
            "{}: an earlier run sent them otherwise, and they may be stored: give the same \
             arguments as then",
            self.lines.named(None)
        ))
    }

    /// The tenant and collection of the change at a byte of the body.
    fn owner(&self, offset: usize) -> Option<String> {
        #[derive(Deserialize)]
        struct Owner {
            tenant: Option<String>,
            collection: Option<String>,
        }
        let text = self.body.as_deref()?.get(self.lines.start_of(offset)?..)?;
        let mut changes = serde_json::Deserializer::from_slice(text).into_iter::<Owner>();
        let Owner { tenant, collection } = changes.next()?.ok()?;
        let named = |kind: &str, name: Option<String>| name.map(|name| format!("{kind} {name}"));
        let names = [named("tenant", tenant), named("collection", collection)];
        let names: Vec<String> = names.into_iter().flatten().collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}
