//! The directory of checkpoints: on a real file system, on one that fails, and on one whose power is cut.

mod errors;
mod power_cuts;
mod real;
mod resume;
mod rolled;
mod steps;
mod system;
mod training;
mod watched;

use training_monitor_std::test_support::disk as model;
