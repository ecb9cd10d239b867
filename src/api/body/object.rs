//! Small bodies: one object, whose members are strings or whole numbers.

use std::num::NonZeroU64;

use crate::api::{
    error::{ApiError, Code, excerpt},
    json::{JsonError, Reason, Scanner, unescape, utf8},
};

/// The value of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum Value {
    Text(Box<str>),
    Number(u64),
}

/// The members of an object, each with the place of its value.
#[derive(Debug)]
pub(in crate::api) struct Object {
    members: Vec<(Box<str>, usize, Value)>,
    end: usize,
}

impl Object {
    /// Takes out a member and its place, if it is there.
    pub(in crate::api) fn take(&mut self, name: &str) -> Option<(usize, Value)> {
        let at = self.members.iter().position(|(found, ..)| **found == *name)?;
        let (_, place, value) = self.members.swap_remove(at);
        Some((place, value))
    }

    /// Takes out a member that must be there.
    ///
    /// # Errors
    /// [`Code::MissingMember`]
    pub(in crate::api) fn required(&mut self, name: &str) -> Result<(usize, Value), ApiError> {
        self.take(name).ok_or_else(|| {
            let detail = format!("member {name:?} is missing");
            member(Code::MissingMember, name, self.end, &detail)
        })
    }

    /// Takes out a string, if it is there.
    ///
    /// # Errors
    /// [`Code::InvalidJson`] for a number.
    pub(in crate::api) fn text(
        &mut self,
        name: &str,
    ) -> Result<Option<(usize, Box<str>)>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some((at, Value::Text(text))) => Ok(Some((at, text))),
            Some((at, Value::Number(_))) => Err(not_a_string(name, at)),
        }
    }

    /// Takes out a number from 1 to `max`, if it is there.
    ///
    /// # Errors
    /// [`Code::InvalidJson`] for a string, [`Code::InvalidParameter`] for another number.
    pub(in crate::api) fn number(
        &mut self,
        name: &str,
        max: u64,
    ) -> Result<Option<NonZeroU64>, ApiError> {
        let Some((at, value)) = self.take(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number,
            Value::Text(_) => {
                let rule = format!("member {name:?} must be a number");
                return Err(member(Code::InvalidJson, name, at, &rule));
            }
        };
        match NonZeroU64::new(number).filter(|number| number.get() <= max) {
            Some(number) => Ok(Some(number)),
            None => {
                let rule = format!("member {name:?} must be from 1 to {max}");
                Err(member(Code::InvalidParameter, name, at, &rule))
            }
        }
    }
}

/// Reads an object that may have the members `known`.
///
/// # Errors
/// What is wrong with the body, and where.
pub(in crate::api) fn parse(body: &[u8], known: &[&str]) -> Result<Object, ApiError> {
    let text = utf8(body).map_err(|error| json(&error))?;
    let mut scan = Scanner::new(body);
    let members = read(&mut scan, text, known)?;
    scan.finish().map_err(|error| json(&error))?;
    Ok(Object { members, end: scan.at() })
}

fn read(
    scan: &mut Scanner<'_>,
    text: &str,
    known: &[&str],
) -> Result<Vec<(Box<str>, usize, Value)>, ApiError> {
    let wrong = |scan: &Scanner<'_>, reason| json(&scan.wrong(reason));
    scan.start().map_err(|error| json(&error))?;
    let mut found: Vec<(Box<str>, usize, Value)> = Vec::new();
    match scan.peek() {
        Some(b'{') => scan.accept(b'{'),
        Some(b'"' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            return Err(at(Code::InvalidJson, scan.at(), "expected an object"));
        }
        _ => return Err(wrong(scan, Reason::Value)),
    };
    scan.spaces();
    if scan.accept(b'}') {
        return Ok(found);
    }
    loop {
        let start = scan.at();
        let span = scan.name().map_err(|error| json(&error))?;
        let name = characters(text, span.start, span.end)?;
        if !known.contains(&&*name) {
            let detail = format!("unknown member {:?}", excerpt(&name));
            return Err(member(Code::UnknownMember, &name, start, &detail));
        }
        if found.iter().any(|(other, ..)| *other == name) {
            let detail = format!("member {name:?} stands twice");
            return Err(member(Code::InvalidJson, &name, start, &detail));
        }
        let place = scan.at();
        let value = value(scan, text, &name)?;
        found.push((name, place, value));
        scan.spaces();
        if scan.accept(b'}') {
            return Ok(found);
        }
        if !scan.accept(b',') {
            return Err(wrong(scan, Reason::InObject));
        }
        scan.spaces();
    }
}

fn value(scan: &mut Scanner<'_>, text: &str, name: &str) -> Result<Value, ApiError> {
    match scan.peek() {
        Some(b'"') => {
            let span = scan.string().map_err(|error| json(&error))?;
            characters(text, span.start, span.end).map(Value::Text)
        }
        Some(b'0'..=b'9') => {
            let start = scan.at();
            scan.value(0).map_err(|error| json(&error))?;
            let digits = text.get(start..scan.at()).unwrap_or_default();
            let whole = digits.parse().ok().or_else(|| whole(digits));
            whole.map(Value::Number).ok_or_else(|| neither(name, start))
        }
        Some(b'{' | b'[' | b'-' | b't' | b'f' | b'n') => Err(neither(name, scan.at())),
        _ => Err(json(&scan.wrong(Reason::Value))),
    }
}

/// A whole number that is spelled otherwise, such as `2.0`.
fn whole(digits: &str) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let number: f64 = digits.parse().ok()?;
    ((0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

fn neither(name: &str, at: usize) -> ApiError {
    let what = format!("member {name:?} has a value of the wrong kind");
    member(Code::InvalidJson, name, at, &what)
}

fn characters(text: &str, start: usize, end: usize) -> Result<Box<str>, ApiError> {
    let raw = text.get(start..end).unwrap_or_default();
    let text = unescape(raw).map_err(|lone| {
        json(&JsonError { offset: start + lone.offset, reason: Reason::LoneSurrogate })
    })?;
    Ok(text.into())
}

/// The refusal of a value that should be a string.
pub(in crate::api) fn not_a_string(name: &str, at: usize) -> ApiError {
    member(Code::InvalidJson, name, at, &format!("member {name:?} must be a string"))
}

fn json(error: &JsonError) -> ApiError {
    at(Code::InvalidJson, error.offset, &error.reason.to_string())
}

fn at(code: Code, offset: usize, what: &str) -> ApiError {
    ApiError::new(code, format!("{what} at byte {offset}")).with_number("offset", offset as u64)
}

/// A refusal of a member, and where it stands.
pub(in crate::api) fn member(code: Code, name: &str, offset: usize, what: &str) -> ApiError {
    at(code, offset, what).with_text("member", excerpt(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_spelled() {
        let read = |text: &str| {
            let body = format!("{{\"id\":{text}}}");
            parse(body.as_bytes(), &["id"]).map(|mut object| object.take("id").map(|(_, id)| id))
        };
        for (text, number) in
            [("7", 7), ("7.0", 7), ("7e1", 70), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(read(text).unwrap(), Some(Value::Number(number)), "{text}");
        }
        for text in ["7.5", "1e30", "-1", "true", "null", "[]", "{}"] {
            assert_eq!(read(text).unwrap_err().code, Code::InvalidJson, "{text}");
        }
    }
}
