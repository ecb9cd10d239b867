//! Reading JSON without building a tree: one pass over the bytes proves the
//! grammar of RFC 8259 and finds where values lie, so that they can be stored
//! as they were sent.
//!
//! The grammar is taken strictly and in full: numbers of any length and size,
//! duplicate members and lone surrogate escapes are valid; a byte order mark,
//! control characters in strings and anything after the value are not. That
//! the bytes are UTF-8 is checked apart ([`utf8`]), since that is quickest over
//! the whole body at once.
//!
//! simd-json has no part in it: it needs a copy that it may write to, refuses
//! valid numbers and escapes, and still leaves the values to be found; measured
//! (`benches/json.rs`), it takes as long as this one pass or longer at every
//! size up to 1 MiB. The tests use it as a second opinion.
//!
//! Nothing here recurses on the input, and nothing allocates below a nesting
//! depth of 65.

mod error;
mod scanner;
mod text;

pub use error::{JsonError, Reason};
pub use scanner::{Scanner, StringSpan, ValueSpan};
pub use text::{LoneSurrogate, compact, unescape, utf8};

/// Checks that `bytes` are one JSON text with white space around it, nested at
/// most `depth_max` deep, and says where its value lies.
///
/// # Errors
/// [`JsonError`] with the first wrong byte; for bytes that are not UTF-8, the
/// first byte of the ill-formed sequence.
pub fn validate(bytes: &[u8], depth_max: usize) -> Result<ValueSpan, JsonError> {
    match utf8(bytes) {
        Ok(text) => whole(text.as_bytes(), depth_max),
        Err(ill) => match whole(bytes.get(..ill.offset).unwrap_or_default(), depth_max) {
            Err(earlier) if earlier.offset < ill.offset => Err(earlier),
            _ => Err(ill),
        },
    }
}

fn whole(bytes: &[u8], depth_max: usize) -> Result<ValueSpan, JsonError> {
    let mut scanner = Scanner::new(bytes);
    scanner.start()?;
    let value = scanner.value(depth_max)?;
    scanner.finish()?;
    Ok(value)
}

#[cfg(test)]
pub(in crate::api) mod tests;
