//! The fuzz target `memory-operations` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("memory-operations")
    .expect("a target")
    .body)(data));
