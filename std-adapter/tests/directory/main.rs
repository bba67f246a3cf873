//! The directory of checkpoints: on a real file system, on one that fails, and on one whose power is cut.

mod errors;
mod model;
mod power_cuts;
mod real;
mod resume;
mod training;
