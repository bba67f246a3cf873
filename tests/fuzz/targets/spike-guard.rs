//! The fuzz target `spike-guard` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("spike-guard")
    .expect("a target")
    .body)(data));
