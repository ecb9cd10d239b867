//! See `changeagent::fuzzing::log_recovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| changeagent::fuzzing::log_recovery(input));
