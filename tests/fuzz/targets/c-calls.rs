//! The fuzz target `c-calls` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("c-calls").expect("a target").body)(
    data
));
