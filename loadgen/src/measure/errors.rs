//! Errors, counted by what went wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::answers::problem;
use crate::http::response::Response;

/// Errors by code: the server's, the bare status, or the kind of a connection's failure.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Errors(BTreeMap<Cow<'static, str>, u64>);

impl Errors {
    /// Counts one error of this code.
    pub(crate) fn add(&mut self, code: impl Into<Cow<'static, str>>) {
        self.add_many(code, 1);
    }

    /// Counts several errors of this code.
    pub(crate) fn add_many(&mut self, code: impl Into<Cow<'static, str>>, count: u64) {
        if count > 0 {
            *self.0.entry(code.into()).or_default() += count;
        }
    }

    /// Counts an answer that was no success, by its problem code or else its status.
    pub(crate) fn add_answer(&mut self, response: &Response<'_>) {
        self.add(problem::code(response.status, response.body));
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (code, count) in &other.0 {
            self.add_many(code.clone(), *count);
        }
    }

    /// Codes and counts, in the order of the codes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(code, count)| (code.as_ref(), *count))
    }

    /// How many errors there were of all codes.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_problem_code_or_status() {
        let answer = |status, body| Response { status, body, close: false, consumed: 0 };
        let mut errors = Errors::default();
        errors.add_answer(&answer(503, br#"{"title":"x","code":"overloaded"}"#));
        errors.add_answer(&answer(503, br#"{"code":"over\u006coaded"}"#));
        errors.add_answer(&answer(502, b"<html>"));
        errors.add_answer(&answer(500, br#"{"code":7}"#));
        errors.add("timeout");
        let counts: Vec<_> = errors.iter().collect();
        let expected =
            [("503 overloaded", 2), ("status 500", 1), ("status 502", 1), ("timeout", 1)];
        assert_eq!(counts, expected);
        assert_eq!(errors.total(), 5);
    }
}
