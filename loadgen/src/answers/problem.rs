//! Answers that are no success, by the code of their problem document.

use std::borrow::Cow;

use serde::Deserialize;

/// The status with the problem's code, or the status alone where the body is no problem document.
pub(crate) fn code(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
    }
    match serde_json::from_slice::<Problem<'_>>(body) {
        Ok(problem) => format!("{status} {}", problem.code),
        Err(_) => format!("status {status}"),
    }
}
