//! training-monitor-tests

/// The README's examples, compiled and run as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

pub mod conformance;
pub mod fuzz;
pub mod models;
pub mod power_cut;
pub mod script;
pub mod standing;

pub use training_monitor_std::test_support::{flash, random};
