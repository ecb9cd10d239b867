//! See `changeagent::fuzzing::change_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::change_body(input));
