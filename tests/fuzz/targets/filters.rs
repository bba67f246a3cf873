//! The fuzz target `filters` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("filters").expect("a target").body)(
    data
));
