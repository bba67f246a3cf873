//! The fuzz target `names` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("names").expect("a target").body)(
    data
));
