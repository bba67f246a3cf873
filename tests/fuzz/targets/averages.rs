//! The fuzz target `averages` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("averages").expect("a target").body)(
    data
));
