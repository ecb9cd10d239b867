//! Text within JSON: UTF-8, the plain runs of strings, escapes, and white space
//! between tokens.

use super::error::{JsonError, Reason};
use std::borrow::Cow;

/// The bytes as text.
///
/// # Errors
/// [`Reason::Utf8`] with the offset of the first ill-formed sequence.
pub fn utf8(bytes: &[u8]) -> Result<&str, JsonError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| {
        let offset = match std::str::from_utf8(bytes) {
            Ok(text) => text.len(),
            Err(ill) => ill.valid_up_to(),
        };
        JsonError { offset, reason: Reason::Utf8 }
    })
}

/// The offset of the first quote, backslash or control character from `at` on;
/// the length of `bytes` when there is none.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    // Most strings end within two words; only longer ones are worth the wide
    // steps that the compiler turns into vector instructions.
    for _ in 0..2 {
        match word(bytes, at).map(special) {
            Some(0) => at += 8,
            Some(hits) => return at + hits.trailing_zeros() as usize / 8,
            None => return plain_end_bytewise(bytes, at),
        }
    }
    plain_end_long(bytes, at)
}

fn plain_end_long(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
        if block.iter().fold(false, |any, &byte| any | is_special(byte)) {
            break;
        }
        at += 32;
    }
    while let Some(word) = word(bytes, at) {
        let hits = special(word);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    plain_end_bytewise(bytes, at)
}

fn plain_end_bytewise(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| !is_special(byte)) {
        at += 1;
    }
    at
}

#[inline(always)]
fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The high bit of each byte of `word` that is special. A borrow can only set
/// bits above a true one, so the lowest set bit is always true.
#[inline(always)]
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & HIGHS
}

/// Appends `json`, a valid value, without the white space outside its strings.
pub fn compact(out: &mut Vec<u8>, json: &[u8]) {
    let mut copied = 0;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => at = string_after(json, at + 1),
            b' ' | b'\n' | b'\t' | b'\r' => {
                out.extend_from_slice(&json[copied..at]);
                at += 1;
                while let Some(b' ' | b'\n' | b'\t' | b'\r') = json.get(at) {
                    at += 1;
                }
                copied = at;
            }
            _ => at += 1,
        }
    }
    out.extend_from_slice(json.get(copied..).unwrap_or_default());
}

/// The offset after the closing quote of a valid string.
fn string_after(json: &[u8], mut at: usize) -> usize {
    loop {
        at = plain_end(json, at);
        match json.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return json.len().min(at + 1),
            Some(_) => at += 1,
        }
    }
}

/// Half a surrogate pair, as an escape at this offset of the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoneSurrogate {
    /// Offset of its backslash from the start of the string's characters.
    pub offset: usize,
}

/// The characters of a string, given without its quotes. Its grammar must have
/// been checked by a [`Scanner`](super::Scanner).
///
/// # Errors
/// [`LoneSurrogate`] when they are no Unicode text.
pub fn unescape(raw: &str) -> Result<Cow<'_, str>, LoneSurrogate> {
    let Some(first) = raw.find('\\') else {
        return Ok(Cow::Borrowed(raw));
    };
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    let mut next = Some(first);
    while let Some(plain) = next {
        let offset = at + plain;
        out.push_str(&raw[at..offset]);
        let (char, bytes) = escape(&raw[offset..]).ok_or(LoneSurrogate { offset })?;
        out.push(char);
        at = offset + bytes;
        next = raw[at..].find('\\');
    }
    out.push_str(&raw[at..]);
    Ok(Cow::Owned(out))
}

/// The character that the escape at the start of `raw` stands for, and the
/// escape's length in bytes.
fn escape(raw: &str) -> Option<(char, usize)> {
    let char = match raw.as_bytes().get(1)? {
        b'u' => {
            let high = unit(raw, 0)?;
            if let Some(char) = char::from_u32(high) {
                return Some((char, 6));
            }
            let low = unit(raw, 6).filter(|low| (0xdc00..0xe000).contains(low))?;
            let code = 0x1_0000 + ((high.checked_sub(0xd800)? << 10) | (low - 0xdc00));
            return Some((char::from_u32(code).filter(|_| high < 0xdc00)?, 12));
        }
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        &other => char::from(other),
    };
    Some((char, 2))
}

/// The code unit of the `\uXXXX` at `at`.
fn unit(raw: &str, at: usize) -> Option<u32> {
    let digits = raw.get(at..at + 6)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}
