//! See `changeagent::fuzzing::target`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::target(input));
