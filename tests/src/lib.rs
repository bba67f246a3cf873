//! Test tools of the project: replay of recorded Ignite traces, fuzz targets, naive models of the state machines, and
//! an exhaustive check of the flash store under power failures.

/// Compiles and runs the examples of README.md as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

pub mod boots;
pub mod conformance;
pub mod forward_progress;
pub mod fuzz;
pub mod models;
pub mod power_failure;
#[path = "../../core/tests/common/script.rs"]
pub mod script;
#[path = "../../core/tests/common/store_access.rs"]
pub mod store_access;

pub use training_monitor_std::test_support::{flash, random};
