//! A list of what has a name, in the order of names, a page at a time.

use crate::{
    api::{reply::Reply, request::ReadQuery},
    base::limits::READ_LIMIT_DEFAULT,
    http::Response,
    io::cores,
    state::index::Slice,
};

/// `{"<member>":[…],"atEnd":b}` of what `slice` gives, which is asked for what
/// comes after a name and for how many, and may give fewer.
pub(in crate::api) async fn list<T>(
    member: &str,
    query: &ReadQuery<'_>,
    slice: impl Fn(Option<&str>, usize) -> Slice<T>,
    json: impl Fn(&T) -> String,
) -> Reply {
    let mut left = query.limit.unwrap_or(READ_LIMIT_DEFAULT);
    let mut after = query.after.map(Box::from);
    let mut entries = Vec::new();
    let at_end = loop {
        let Slice { entries: some, next } = slice(after.as_deref(), left);
        left -= some.len();
        entries.extend(some.iter().map(&json));
        after = next;
        if after.is_none() || left == 0 {
            break after.is_none();
        }
        cores::yield_if_needed().await;
    };
    let entries = entries.join(",");
    Reply::Now(Response::json(200, format!("{{\"{member}\":[{entries}],\"atEnd\":{at_end}}}")))
}
