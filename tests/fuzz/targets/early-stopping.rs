//! The fuzz target `early-stopping` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("early-stopping")
    .expect("a target")
    .body)(data));
