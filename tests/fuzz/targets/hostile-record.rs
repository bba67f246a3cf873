//! The fuzz target `hostile-record` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("hostile-record")
    .expect("a target")
    .body)(data));
