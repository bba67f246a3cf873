//! Every state machine a second time, as naively as possible: over `Vec` and `f64`, with nothing bounded.
//!
//! Written from the design and from what Ignite's sources say, not from the code under test. A model decides nothing
//! about how to test; [`fuzz`](crate::fuzz) drives a model and the machine side by side and compares after every
//! operation. Where a model and the machine differ, one of them is wrong, and the design says which.
//!
//! ```
//! use training_monitor_tests::models::early_stopping::EarlyStopping;
//!
//! let mut model = EarlyStopping { patience: 2, ..EarlyStopping::default() };
//! assert_eq!([1.0, 1.0, f32::NAN].map(|score| model.update(score)), [false, false, true]);
//! ```

pub mod early_stopping;
pub mod engine;
pub mod filters;
pub mod guard;
pub mod name;
pub mod number;
pub mod ranking;
pub mod stream;
pub mod timer;
