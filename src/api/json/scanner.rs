//! The strict scanner: a cursor over bytes that steps over one grammatical
//! unit at a time and refuses the first byte that cannot stand there.

use super::error::{JsonError, Reason};
use super::text::plain_end;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueSpan {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
    /// White space in it that stands outside strings, in bytes.
    pub spaces: usize,
}

impl ValueSpan {
    /// Bytes that remain when white space outside strings is left out.
    #[must_use]
    pub fn compact_bytes(&self) -> usize {
        self.end - self.start - self.spaces
    }
}

/// Where the characters of a string lie, quotes left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringSpan {
    /// Offset of the first byte after the opening quote.
    pub start: usize,
    /// Offset of the closing quote.
    pub end: usize,
    /// Whether it holds a backslash.
    pub escaped: bool,
}

/// A cursor over a JSON text. After an error it must not be used further.
#[derive(Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// A cursor before the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A cursor at offset `at`; offsets stay those of `bytes`.
    #[must_use]
    pub fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The offset of the cursor.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The byte under the cursor; `None` at the end.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Steps over white space.
    pub fn spaces(&mut self) {
        self.at = spaces_end(self.bytes, self.at);
    }

    /// Steps to the first value of a text.
    ///
    /// # Errors
    /// [`Reason::ByteOrderMark`].
    pub fn start(&mut self) -> Result<(), JsonError> {
        if self.bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(JsonError { offset: 0, reason: Reason::ByteOrderMark });
        }
        self.spaces();
        Ok(())
    }

    /// Steps over white space to the end of the text.
    ///
    /// # Errors
    /// [`Reason::Trailing`] when something else stands there.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        self.spaces();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(JsonError { offset: self.at, reason: Reason::Trailing }),
        }
    }

    /// Steps over `byte` if it is under the cursor.
    pub fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The error for the byte under the cursor: [`Reason::End`] at the end,
    /// else `reason`.
    #[must_use]
    pub fn wrong(&self, reason: Reason) -> JsonError {
        wrong(self.bytes, self.at, reason)
    }

    /// Steps over a string, which must start under the cursor.
    ///
    /// # Errors
    /// [`Reason::Value`] when no string starts there, or what is wrong in it.
    pub fn string(&mut self) -> Result<StringSpan, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong(Reason::Value));
        }
        let start = self.at + 1;
        let (end, escaped) = string_end(self.bytes, start)?;
        self.at = end;
        Ok(StringSpan { start, end: end - 1, escaped })
    }

    /// Steps over `"name":` and the white space in and after it.
    ///
    /// # Errors
    /// [`Reason::Name`], [`Reason::Colon`], or what is wrong in the string.
    pub fn name(&mut self) -> Result<StringSpan, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong(Reason::Name));
        }
        let name = self.string()?;
        self.spaces();
        if !self.accept(b':') {
            return Err(self.wrong(Reason::Colon));
        }
        self.spaces();
        Ok(name)
    }

    /// Steps over any value, which must start under the cursor and nest at most
    /// `depth_max` deep (`[]` is one level).
    ///
    /// # Errors
    /// The first byte that the grammar or the bound refuses.
    #[inline]
    pub fn value(&mut self, depth_max: usize) -> Result<ValueSpan, JsonError> {
        let bytes = self.bytes;
        let start = self.at;
        let mut at = start;
        let mut spaces = 0;
        let mut nesting = Nesting::default();
        loop {
            at = match bytes.get(at) {
                Some(b'"') => string_end(bytes, at + 1)?.0,
                Some(&open @ (b'{' | b'[')) => {
                    if nesting.depth == depth_max {
                        return Err(wrong(bytes, at, Reason::Depth(depth_max)));
                    }
                    let inside = spaces_end(bytes, at + 1);
                    spaces += inside - at - 1;
                    // In ASCII a closing bracket is its opening one plus two.
                    if bytes.get(inside) != Some(&(open + 2)) {
                        nesting.open(open == b'{');
                        at = if open == b'{' { name(bytes, inside, &mut spaces)? } else { inside };
                        continue;
                    }
                    inside + 1
                }
                Some(b'-' | b'0'..=b'9') => number_end(bytes, at)?,
                Some(b't') => literal_end(bytes, at, b"true")?,
                Some(b'f') => literal_end(bytes, at, b"false")?,
                Some(b'n') => literal_end(bytes, at, b"null")?,
                _ => return Err(wrong(bytes, at, Reason::Value)),
            };
            match after_value(bytes, at, &mut nesting, &mut spaces)? {
                Next::Value(next) => at = next,
                Next::Done(end) => {
                    self.at = end;
                    return Ok(ValueSpan { start, end, spaces });
                }
            }
        }
    }
}

/// What follows a complete value.
enum Next {
    /// Another value starts at this offset.
    Value(usize),
    /// The outermost value ended before this offset.
    Done(usize),
}

/// Closes what ends here, up to the next value or the end of the outermost one.
#[inline(always)]
fn after_value(
    bytes: &[u8],
    mut at: usize,
    nesting: &mut Nesting,
    spaces: &mut usize,
) -> Result<Next, JsonError> {
    while nesting.depth > 0 {
        let next = spaces_end(bytes, at);
        *spaces += next - at;
        match (bytes.get(next), nesting.in_object()) {
            (Some(b','), in_object) => {
                let value = spaces_end(bytes, next + 1);
                *spaces += value - next - 1;
                let value = if in_object { name(bytes, value, spaces)? } else { value };
                return Ok(Next::Value(value));
            }
            (Some(b'}'), true) | (Some(b']'), false) => nesting.close(),
            (_, true) => return Err(wrong(bytes, next, Reason::InObject)),
            (_, false) => return Err(wrong(bytes, next, Reason::InArray)),
        }
        at = next + 1;
    }
    Ok(Next::Done(at))
}

/// The containers around the cursor, one bit each: set for an object. The
/// innermost 64 are at hand, those around them put aside 64 at a time.
#[derive(Default)]
struct Nesting {
    depth: usize,
    /// Invariant: the lowest bit is the innermost container.
    inner: u64,
    outer: Vec<u64>,
}

impl Nesting {
    #[inline]
    fn open(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(object);
        debug_assert_eq!(self.inner & 1 == 1, object, "the lowest bit is the innermost container");
        self.depth += 1;
    }

    #[inline]
    fn close(&mut self) {
        debug_assert!(self.depth > 0, "a container is open");
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    #[inline]
    fn in_object(&self) -> bool {
        self.inner & 1 == 1
    }
}

#[cold]
fn wrong(bytes: &[u8], at: usize, reason: Reason) -> JsonError {
    let reason = if at < bytes.len() { reason } else { Reason::End };
    JsonError { offset: at, reason }
}

#[inline(always)]
fn spaces_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// From a member's name to the start of its value.
#[inline]
fn name(bytes: &[u8], at: usize, spaces: &mut usize) -> Result<usize, JsonError> {
    if bytes.get(at) != Some(&b'"') {
        return Err(wrong(bytes, at, Reason::Name));
    }
    let end = string_end(bytes, at + 1)?.0;
    let colon = spaces_end(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return Err(wrong(bytes, colon, Reason::Colon));
    }
    let value = spaces_end(bytes, colon + 1);
    *spaces += value - end - 1;
    Ok(value)
}

/// From the first character of a string to after its closing quote, and
/// whether it has escapes.
#[inline]
fn string_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), JsonError> {
    let mut escaped = false;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, escaped)),
            Some(b'\\') => at = escape_end(bytes, at + 1)?,
            _ => return Err(wrong(bytes, at, Reason::Control)),
        }
        escaped = true;
    }
}

/// From the byte after a backslash to after the escape.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
        Some(b'u') => {
            for digit in at + 1..at + 5 {
                if !bytes.get(digit).is_some_and(u8::is_ascii_hexdigit) {
                    return Err(wrong(bytes, digit, Reason::Hex));
                }
            }
            Ok(at + 5)
        }
        _ => Err(wrong(bytes, at, Reason::Escape)),
    }
}

/// From a number's first byte to after its last.
#[inline]
fn number_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let digits = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = match bytes.get(digits) {
        Some(b'0') => digits + 1,
        _ => digits_end(bytes, digits)?,
    };
    if bytes.get(end) == Some(&b'.') {
        end = digits_end(bytes, end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits_end(bytes, end + 1 + usize::from(sign))?;
    }
    Ok(end)
}

/// After one digit or more.
#[inline]
fn digits_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let mut end = at;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    if end == at {
        return Err(wrong(bytes, at, Reason::Digit));
    }
    Ok(end)
}

#[inline]
fn literal_end(bytes: &[u8], at: usize, literal: &[u8]) -> Result<usize, JsonError> {
    let there = bytes.get(at..).unwrap_or_default();
    if there.starts_with(literal) {
        return Ok(at + literal.len());
    }
    let same = there.iter().zip(literal).take_while(|(there, want)| there == want).count();
    Err(wrong(bytes, at + same, Reason::Literal))
}
