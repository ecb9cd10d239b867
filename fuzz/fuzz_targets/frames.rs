//! See `changeagent::fuzzing::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::frames(input));
