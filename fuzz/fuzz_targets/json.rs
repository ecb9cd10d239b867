//! See `changeagent::fuzzing::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::json(input));
