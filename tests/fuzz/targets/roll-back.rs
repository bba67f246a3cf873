//! The fuzz target `roll-back` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (training_monitor_tests::fuzz::target("roll-back").expect("a target").body)(
    data
));
