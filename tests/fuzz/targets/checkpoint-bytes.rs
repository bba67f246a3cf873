//! The fuzz target `checkpoint-bytes` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("checkpoint-bytes")
    .expect("a target")
    .body)(data));
