//! From the body of a write to changes ready to be stored: the members of each
//! change are found and checked, and its tail is rendered once.
//!
//! A body is taken whole or not at all. Rules beyond the grammar of JSON:
//!
//! - A change is an object of `data` (required), `tags`, `tenant`,
//!   `collection` and `key`, each at most once, in any order.
//! - Lone surrogate escapes are kept within `data`; names of members, tags,
//!   keys and names must be Unicode text.
//! - `data` is kept byte for byte, except for white space outside strings.
//! - `tags` are rewritten in their canonical spelling; an empty list is as none.
//! - In NDJSON a line holds one object or nothing but white space.
//!
//! The rendered text is never longer than the body: a tail takes the place of
//! the braces, names and values that it was read from, and no string has a
//! longer canonical spelling than the one that was sent.

mod error;
mod reader;

pub use error::{BodyError, Fault};

use crate::api::content_type::Form;
use crate::api::json::utf8;
use crate::base::batch::Append;
use crate::base::limits::Limits;
use reader::Reader;

/// What kind of answer a body asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A single object: the answer names its id.
    One,
    /// An array or lines, even of one object: the answer names a range of ids.
    Many,
}

/// An accepted body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeBody {
    /// Whether it was sent as one change or as a batch.
    pub shape: Shape,
    /// Its changes, rendered.
    pub append: Append,
}

/// Reads the changes of `body`.
///
/// # Errors
/// [`BodyError`] with the first thing that is wrong. A name that does not exist
/// is reported only when nothing else is wrong in the whole body.
pub fn parse(body: &[u8], form: Form, limits: &Limits) -> Result<ChangeBody, BodyError> {
    if u32::try_from(body.len()).is_err() {
        return Err(BodyError { offset: 0, index: None, fault: Fault::BodyTooLarge });
    }
    match utf8(body) {
        Ok(text) => Reader::new(text, limits).read(form),
        Err(ill) => {
            // What stands before the ill-formed bytes may be wrong already.
            let valid = body.get(..ill.offset).and_then(|valid| utf8(valid).ok());
            match valid.map(|text| Reader::new(text, limits).read(form)) {
                Some(Err(earlier)) if earlier.offset < ill.offset && !earlier.is_last() => {
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
