//! See `changeagent::fuzzing::answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::answer(input));
