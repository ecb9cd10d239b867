//! From the body of a write to changes ready to be stored: the members of each
//! change are found and checked, and its suffix is rendered once.
//!
//! A body is taken whole or not at all. Rules beyond the grammar of JSON:
//!
//! - A change is an object of `data` (required), `tags`, `tenant`,
//!   `collection`, `key` and `ttl`, each at most once, in any order. `ttl` needs a key.
//! - Lone surrogate escapes are kept within `data`; names of members, tags,
//!   keys and names must be Unicode text.
//! - `data` is kept byte for byte, except for white space outside strings.
//! - `tags` are rewritten in their canonical spelling; an empty list is as none.
//! - In NDJSON a line holds one object or nothing but white space.
//!
//! - Tenants are named by UUID or name and stored by UUID; a change of a
//!   collection also bears the collection's tenant.
//!
//! The rendered text is longer than the body by no more than the UUIDs, and the
//! key of the path, that it adds to each change: no string has a longer canonical
//! spelling than the one that was sent.

mod accepted;
mod error;
mod member;
mod names;
mod reader;
mod scope;
mod tags;

pub use accepted::{ChangeBody, Payer, Shape};
pub use error::{BodyError, Fault};
pub use scope::{Members, Scope};

use self::reader::Reader;
use crate::{
    api::{access::Visible, json::utf8, request::content_type::Form},
    base::limits::Limits,
};

/// Reads the changes of `body`, which was sent to a path that says `scope`. Names
/// are looked up in `visible`.
///
/// # Errors
/// [`BodyError`] with the first thing that is wrong. A name that does not exist
/// is reported only when nothing else is wrong in the whole body.
pub fn parse(
    body: &[u8],
    form: Form,
    limits: &Limits,
    scope: &Scope,
    visible: Visible<'_>,
) -> Result<ChangeBody, BodyError> {
    if u32::try_from(body.len()).is_err() {
        return Err(BodyError { offset: 0, index: None, fault: Fault::BodyTooLarge });
    }
    let read = |text| Reader::new(text, limits, scope, visible).read(form);
    match utf8(body) {
        Ok(text) => read(text),
        Err(ill) => {
            // What stands before the ill-formed bytes may be wrong already.
            let valid = body.get(..ill.offset).and_then(|valid| utf8(valid).ok());
            match valid.map(read) {
                Some(Err(earlier)) if earlier.offset < ill.offset && !earlier.is_unresolved() => {
                    Err(earlier)
                }
                _ => Err(BodyError {
                    offset: ill.offset,
                    index: None,
                    fault: Fault::Json(ill.reason),
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests;
