//! The HTTP API as pure functions: what a request asks for, what is wrong with
//! it, and the bytes of an answer.

pub mod answer;
pub mod change_body;
pub mod content_type;
pub mod error;
pub mod json;
pub mod query;
pub mod tag_filter;
