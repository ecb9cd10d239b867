//! Whether a request was carried out, seen in the list that it stores into: the
//! node forgets the keys of requests after a day.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    super::{
        failure::Failure,
        node::{JSON, Node},
        page::{Page, id},
    },
    change::{Rewrite, Step},
    request::Request,
};

/// What is compared of a change: all but its id and time.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    tenant: Option<Uuid>,
    collection: Option<Uuid>,
    key: Option<String>,
    ttl: Option<u32>,
    tags: Vec<String>,
    /// The digest of the data without white space, which a node may change.
    data: [u8; 32],
}

impl Content {
    /// The content of a change that is no deletion.
    fn of(change: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Change<'a> {
            tenant: Option<String>,
            collection: Option<Uuid>,
            key: Option<String>,
            ttl: Option<u32>,
            #[serde(default)]
            tags: Vec<String>,
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let Change { tenant, collection, key, ttl, tags, data } =
            serde_json::from_slice(change).ok()?;
        let tenant = tenant.and_then(|name| Uuid::try_parse(&name).ok());
        Some(Self {
            tenant,
            collection,
            key,
            ttl,
            tags,
            data: Sha256::digest(compact(data.get())).into(),
        })
    }

    /// Whether this, when it was sent, became `stored`.
    fn became(&self, stored: &Self) -> bool {
        // What is in a collection need not name its tenant, nor what is posted to a
        // tenant, and a tenant may be sent by its name.
        let tenant = self.tenant.is_none() || self.tenant == stored.tenant;
        tenant
            && (&self.collection, &self.key, self.ttl, &self.tags, &self.data)
                == (&stored.collection, &stored.key, stored.ttl, &stored.tags, &stored.data)
    }
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !byte.is_ascii_whitespace()
    };
    json.bytes().filter(keep).collect()
}

/// What is looked for.
enum Wanted {
    /// These, with ids that follow each other.
    Changes(Vec<Content>),
    /// The deletion at that address.
    Deletion(String),
}

/// Finds it while changes go by.
struct Search {
    wanted: Wanted,
    /// How many of the wanted changes the last ones were: all possibilities.
    matched: Vec<usize>,
    /// The id of the last change.
    last: u64,
}

impl Search {
    /// # Errors
    /// The request cannot be told in a list.
    fn new(request: &Request) -> Result<Self, Failure> {
        let wanted = match &request.body {
            None => Wanted::Deletion(request.target.clone()),
            Some(body) => {
                let unreadable = |error: serde_json::Error| Failure::Other(error.to_string());
                let changes: Vec<&RawValue> = serde_json::from_slice(body).map_err(unreadable)?;
                let contents = changes.iter().map(|change| Content::of(change.get().as_bytes()));
                let contents = contents.collect::<Option<_>>().ok_or_else(|| {
                    Failure::Other("what was sent cannot be compared with what is stored".into())
                })?;
                Wanted::Changes(contents)
            }
        };
        Ok(Self { wanted, matched: Vec::new(), last: 0 })
    }

    /// The next change of the list: the id that the request got first, when this
    /// was the last of what it stored.
    fn take(&mut self, id: u64, change: &[u8]) -> Option<u64> {
        let follows = id == self.last + 1;
        self.last = id;
        match &self.wanted {
            Wanted::Deletion(target) => {
                let step = Rewrite::default().step(change);
                let (Ok(Step::Delete(deleted)) | Ok(Step::Expire(deleted))) = step else {
                    return None;
                };
                (deleted == *target).then_some(id)
            }
            Wanted::Changes(wanted) => {
                let begun = std::mem::take(&mut self.matched);
                let content = Content::of(change)?;
                let begun = begun.into_iter().filter(|_| follows).chain([0]);
                let goes_on = |matched: &usize| {
                    wanted.get(*matched).is_some_and(|next| next.became(&content))
                };
                self.matched = begun.filter(goes_on).map(|matched| matched + 1).collect();
                let found = self.matched.contains(&wanted.len());
                found.then(|| id + 1 - wanted.len() as u64)
            }
        }
    }
}

/// The id that a request got first, if it was carried out: whether it was is seen
/// in what follows `after` in the list.
///
/// # Errors
/// The node does not answer, or no longer holds that part of the list.
pub(super) fn find(
    node: &Node,
    list: &str,
    after: u64,
    request: &Request,
) -> Result<Option<u64>, Failure> {
    let mut search = Search::new(request)?;
    let mut since = after;
    let mut backoff = node.backoff();
    loop {
        // What was acknowledged anywhere must be seen.
        let target = format!("{list}?since={since}&limit=1000&consistency=strong");
        let bytes = match node.get(&target, JSON).and_then(|answer| answer.bytes()) {
            Ok(bytes) => bytes,
            Err(failure) if failure.is("purged") => {
                let text = "it is unknown whether an earlier run stored them, and the node no \
                            longer holds the changes of that time: see what is stored, and import \
                            the rest as another file";
                return Err(failure.at(text));
            }
            Err(failure) => {
                backoff.wait(failure)?;
                continue;
            }
        };
        backoff.reset();
        let page = Page::parse(&bytes)?;
        for change in page.changes() {
            let (_, line) = change?;
            if let Some(first) = search.take(id(&line)?, &line) {
                return Ok(Some(first));
            }
        }
        if page.at_end {
            return Ok(None);
        }
        if page.last <= since {
            return Err(Failure::Other(format!("the list stands still at {}", page.last)));
        }
        since = page.last;
    }
}

#[cfg(test)]
mod tests {
    use ureq::http::Method;

    use super::super::batch::Lines;
    use super::*;

    const A: &str = "6f1c8a52-0000-4000-8000-00000000000a";

    fn search(body: Option<&str>, target: &str, stored: &[(u64, &str)]) -> Option<u64> {
        let request = Request {
            method: Method::POST,
            target: target.into(),
            body: body.map(|body| body.as_bytes().to_vec()),
            lines: Lines::default(),
            may_be_gone: false,
        };
        let mut search = Search::new(&request).unwrap();
        stored.iter().find_map(|&(id, rest)| {
            search.take(id, format!("{{\"_id\":{id},\"_ts\":5,{rest}}}").as_bytes())
        })
    }

    #[test]
    fn changes_are_found_as_a_whole_and_with_ids_that_follow_each_other() {
        let sent = r#"[{"data":1},{"data":1},{"tags":["a"],"data":{"s": " \" " , "n":1.0}}]"#;
        let last = r#""tags":["a"],"data":{"s":" \" ","n":1.0}"#;
        let (one, two) = (r#""data":1"#, r#""data":2"#);
        for (stored, first) in [
            (&[(4, one), (5, one), (6, last)][..], Some(4)),
            (&[(4, one), (5, one), (6, one), (7, last), (8, one)], Some(5)),
            (&[(4, one), (5, one), (7, last)], None),
            (&[(4, one), (5, one), (6, two), (7, last)], None),
            (&[(5, one), (6, last)], None),
            (&[(4, one), (5, one)], None),
            (&[(4, one), (5, one), (6, r#""data":{"s":" \" ","n":1.0}"#)], None),
            (&[(4, one), (5, one), (6, r#""tags":["a"],"data":{"s":"\" ","n":1.0}"#)], None),
            (
                &[
                    (4, one),
                    (5, r#""tenant":"6f1c8a52-0000-4000-8000-00000000000a","deleted":true"#),
                ],
                None,
            ),
        ] {
            assert_eq!(search(Some(sent), "/changes", stored), first, "{stored:?}");
        }
    }

    #[test]
    fn tenant_collection_and_key_must_be_the_same() {
        let upper = A.to_uppercase();
        let sent =
            format!(r#"[{{"tenant":"{upper}","collection":"{A}","key":"\u006b","data":1}}]"#);
        let stored = format!(r#""tenant":"{A}","collection":"{A}","key":"k","data":1"#);
        assert_eq!(search(Some(&sent), "/changes", &[(1, &stored)]), Some(1));
        for other in [stored.replace("\"k\"", "\"K\""), r#""data":1"#.to_owned()] {
            assert_eq!(search(Some(&sent), "/changes", &[(1, &other)]), None, "{other}");
        }
        let of_tenant = format!(r#""tenant":"{A}","data":1"#);
        assert_eq!(search(Some(r#"[{"data":1}]"#), "/changes", &[(1, &of_tenant)]), Some(1));
    }

    #[test]
    fn a_deletion_is_found_by_its_address() {
        let deletion = format!(r#""tenant":"{A}","collection":"{A}","key":"a/b","deleted":true"#);
        let target = format!("/collections/{A}/keys/a%2Fb");
        assert_eq!(search(None, &target, &[(3, r#""data":1"#), (4, &deletion)]), Some(4));
        assert_eq!(search(None, &format!("/collections/{A}"), &[(4, &deletion)]), None);
    }
}
