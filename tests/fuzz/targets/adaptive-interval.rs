//! The fuzz target `adaptive-interval` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("adaptive-interval")
    .expect("a target")
    .body)(data));
