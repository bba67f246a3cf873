//! A second implementation of every state machine, as simple as possible: with `Vec`, in `f64` and without size limits.
//!
//! The models follow the documentation of the library and the sources of Ignite, not the code under test. They contain
//! no test logic: [`fuzz`](crate::fuzz) makes the same calls to a model and to the library, and compares them after
//! each call. A difference is an error in one of the two, and the documentation decides in which.
//!
//! ```
//! use training_monitor_tests::models::early_stopping::EarlyStopping;
//!
//! let mut model = EarlyStopping { patience: 2, ..EarlyStopping::default() };
//! assert_eq!([1.0, 1.0, f32::NAN].map(|score| model.update(score)), [false, false, true]);
//! ```

pub mod averages;
pub mod early_stopping;
pub mod engine;
pub mod filters;
pub mod guard;
pub mod limits;
pub mod number;
pub mod plateau;
pub mod profiler;
pub mod ranking;
pub mod roll_back;
pub mod schedules;
pub mod score_text;
pub mod spike_guard;
pub mod stream;
pub mod timer;
