//! See `changeagent::fuzzing::small_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::small_body(input));
