//! The training monitor for devices that learn on the spot: PyTorch-Ignite's `ModelCheckpoint`, `EarlyStopping`,
//! `Timer` and `TerminateOnNan`, and the `Engine` and events they attach to, without an allocator and without a panic.
//!
//! * [`Engine`] fires [events](event) around a step function of the user's own; [`State`] is what handlers see.
//! * [`EarlyStopping`], [`Timer`], [`TerminateOnNan`], [`ModelCheckpoint`] are state machines that can be used alone, or
//!   attached: [`Handler`]s, composed in tuples.
//! * [`checkpoint`] is a checkpoint as bytes, [`store`] where the bytes go.
//! * [`finite`], [`ranking`], [`time`], [`record`] are what these stand on.
//!
//! ```
//! use training_monitor::event::{EpochCompleted, IterationCompleted};
//! use training_monitor::{EarlyStopping, Engine, State, StopReason, TerminateOnNan};
//!
//! // One weight, learning to be 3.
//! let mut weight = 0.0_f32;
//! let mut handlers = (
//!     TerminateOnNan::new().attach(IterationCompleted, |_: &f32, s: &State<f32>| s.output),
//!     EarlyStopping::new(2)?.attach(EpochCompleted, |s: &State<f32>| -s.output.unwrap_or(f32::INFINITY)),
//! );
//! let mut engine = Engine::new(100);
//! let outcome = engine.run(&mut weight, 0..10, &mut handlers, |weight, _batch, _state| {
//!     let error = *weight - 3.0;
//!     *weight -= 0.5 * error;
//!     error * error // the loss is the output
//! })?;
//! assert_eq!(outcome.reason, StopReason::EarlyStopping);
//! assert_eq!(weight, 3.0);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Features
//! None is on by default. `nor-flash`: checkpoints in NOR flash. `crc-table-4k`: a faster checksum for 4 KiB of
//! read-only memory. `defmt`: `Format` for what a log line could show. `serde`: for events, settings and outcomes, to
//! send them elsewhere (what is in a checkpoint has it always).

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(test)]
extern crate std;

pub mod checkpoint;
pub mod engine;
pub mod event;
pub mod finite;
pub mod handler;
pub mod handlers;
pub mod name;
pub mod ranking;
pub mod record;
pub mod state;
pub mod store;
pub mod time;

pub use embedded_io;
#[cfg(feature = "nor-flash")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash")))]
pub use embedded_storage;

pub use engine::{Batches, Engine, Outcome, RunError};
pub use event::{Event, UserEvent, When};
pub use handler::{Handler, on};
pub use handlers::early_stopping::EarlyStopping;
pub use handlers::model_checkpoint::ModelCheckpoint;
pub use handlers::terminate_on_nan::TerminateOnNan;
pub use handlers::timer::Timer;
pub use state::{State, StopReason};
