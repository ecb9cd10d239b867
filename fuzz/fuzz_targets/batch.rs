//! See `changeagent::fuzzing::batch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::batch(input));
