//! A training monitor for devices that learn in the field. The crate contains PyTorch-Ignite's `ModelCheckpoint`,
//! `EarlyStopping`, `Timer` and `TerminateOnNan`, and an `Engine` whose events call them. It is `no_std`, allocates
//! nothing and never panics.
//!
//! * [`Engine`] fires [events](event) around the user's step function. Handlers see the [`State`] of the run.
//! * [`EarlyStopping`], [`Timer`], [`TerminateOnNan`] and [`ModelCheckpoint`] are state machines. They can be used
//!   alone, or attached to an engine as a [`Handler`]. Handlers are composed in tuples.
//! * [`RunningAverage`], [`WeightAverage`], [`TimeLimit`], [`ScoreLimits`], [`SpikeGuard`] and [`RollBack`] are further
//!   handlers. The module [`gradient`] clips gradients. A [`Profiler`] measures the parts of a run. An
//!   [`AdaptiveInterval`] chooses how often to save.
//! * A [`Schedule`] and [`ReduceOnPlateau`] change a parameter of the model during the run, such as the learning rate.
//! * [`checkpoint`] converts a model to bytes and back. A [`store`] keeps the bytes.
//! * [`run_record`] contains what a run needs to resume, beside the model.
//!
//! ```
//! use training_monitor::event::{EpochCompleted, IterationCompleted};
//! use training_monitor::{EarlyStopping, Engine, StopReason, TerminateOnNan};
//!
//! // One weight that learns the value 3.
//! let mut weight = 0.0_f32;
//! let mut handlers = (
//!     TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
//!     EarlyStopping::new(2)?.attach(EpochCompleted, |state| -state.output.unwrap_or(f32::INFINITY)),
//! );
//! let mut engine = Engine::new(100);
//! let outcome = engine.run(&mut weight, 0..10, &mut handlers, |weight, _batch, _state| {
//!     let error = *weight - 3.0;
//!     *weight -= 0.5 * error;
//!     error * error // the loss is the output of the step
//! })?;
//! assert_eq!(outcome.reason, StopReason::EarlyStopping);
//! assert_eq!(weight, 3.0);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Features
//! No feature is on by default.
//!
//! * `derive`: `#[derive(StateDict)]` and `#[derive(Objects)]`.
//! * `nor-flash`: the store for NOR flash, over `embedded_storage::nor_flash`.
//! * `nor-flash-async`: the store for NOR flash over an async driver, with a blocking adapter.
//! * `byte-addressable`: the store for FRAM, MRAM and EEPROM, over `embedded_storage::Storage`.
//! * `crc-table-4k`: a faster checksum with 4 KiB of constants instead of 64 bytes.
//! * `small`: about 480 bytes less code on a microcontroller. The checksum, the scan for NaN and the encoder are slower.
//! * `defmt`: `defmt::Format` for events, settings, decisions and errors, and the log lines of [`log`].
//! * `serde`: `Serialize` and `Deserialize` for events, settings and outcomes, to send them to another program.
//! * `heapless-vec`: the NaN guard checks `heapless::Vec`.
//! * `half`: tensors of `half::f16` and `half::bf16`.
//! * `alloc`: strings and byte arrays in whole values have no size limit.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
extern crate alloc;

// The derive macros generate paths that begin with `training_monitor::`. This alias makes the paths valid in the unit
// tests of this crate.
extern crate self as training_monitor;

pub mod checkpoint;
mod config;
pub mod engine;
pub mod event;
pub mod finite;
pub mod gradient;
pub mod handler;
pub mod handlers;
mod hash;
pub mod log;
pub mod run_record;
pub mod state;
pub mod store;
mod target;
pub mod time;
mod varint;

pub use embedded_io;
#[cfg(feature = "nor-flash")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash")))]
pub use embedded_storage;
#[cfg(feature = "nor-flash-async")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash-async")))]
pub use embedded_storage_async;

// Exports the two traits. With the feature `derive`, this line also exports the derive macros of the same names.
pub use checkpoint::{Objects, StateDict};
pub use config::ConfigError;
pub use engine::{Batches, Engine, RunError};
pub use event::{Event, EventFilter, UserEvent};
pub use handler::{Handler, on};
pub use handlers::adaptive_interval::AdaptiveInterval;
pub use handlers::early_stopping::EarlyStopping;
pub use handlers::model_checkpoint::ModelCheckpoint;
pub use handlers::plateau::ReduceOnPlateau;
pub use handlers::profiler::{Profiled, Profiler};
pub use handlers::roll_back::RollBack;
pub use handlers::running_average::RunningAverage;
pub use handlers::schedules::Schedule;
pub use handlers::score_limits::ScoreLimits;
pub use handlers::spike_guard::SpikeGuard;
pub use handlers::terminate_on_nan::TerminateOnNan;
pub use handlers::time_limit::TimeLimit;
pub use handlers::timer::Timer;
pub use handlers::weight_average::WeightAverage;
pub use state::{Outcome, State, StopReason};

/// Compiles and runs the examples of the README as doc tests.
#[cfg(all(doctest, feature = "derive"))]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
