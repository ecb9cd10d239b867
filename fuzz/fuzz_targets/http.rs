//! Any bytes, in any pieces, are understood alike and survived.

#![no_main]

#[path = "../../tests/support/http_any.rs"]
mod http_any;

libfuzzer_sys::fuzz_target!(|input: &[u8]| http_any::feed(input));
