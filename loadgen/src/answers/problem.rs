//! Answers that are no success, by the code of their problem document.

use serde::Deserialize;

use crate::answers::json;

/// The status with the problem's code, or the status alone where the body is no problem document.
pub(crate) fn code(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    match json::read(body) {
        Some(Problem { code }) => format!("{status} {code}"),
        None => format!("status {status}"),
    }
}
