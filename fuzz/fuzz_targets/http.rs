//! See `changeagent::fuzzing::http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::http(input));
