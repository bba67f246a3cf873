//! The fuzz target `model-checkpoint` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("model-checkpoint")
    .expect("a target")
    .body)(data));
