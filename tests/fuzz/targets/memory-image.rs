//! The fuzz target `memory-image` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("memory-image")
    .expect("a target")
    .body)(data));
