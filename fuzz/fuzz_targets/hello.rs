//! See `changeagent::fuzzing::hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::hello(input));
