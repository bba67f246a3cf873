//! Adapters that connect the [training monitor](training_monitor) to a host with the Rust standard library: a
//! simulation of a device, or a training run on a workstation.
//!
//! * [`Directory`] stores checkpoints as files with Ignite's file names. Committed checkpoints survive a power failure.
//! * [`History`] records the events of a run in a file of JSON lines, and [`chart`] draws them as an SVG image.
//! * [`Progress`] shows the progress of a run in the terminal.
//! * [`inspect`](inspect()) reads a checkpoint file without a model and checks every rule of the format.
//! * [`StdClock`] is a clock for an attached [`Timer`](training_monitor::Timer).
//! * [`Crc32Fast`] computes the checksum of the checkpoint format with the CPU's own instructions.
//! * `test_support` (feature `test-support`) provides simulated flash, disks, stores and clocks that fail on request,
//!   for tests of your firmware.
//!
//! All decisions about training are made by the handlers of the core crate. Therefore a run on a host saves, stops and
//! resumes at exactly the same points as on the device, and each can read the checkpoints of the other.
//!
//! This example interrupts a run after four epochs and resumes it from its files:
//!
//! ```
//! use training_monitor::checkpoint::Named;
//! use training_monitor::event::{EpochCompleted, IterationCompleted};
//! use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, StateDict, StopReason, Timer, on};
//! use training_monitor_std::{Directory, History, Progress, StdClock, chart};
//!
//! #[derive(StateDict)]
//! struct Line { slope: f32, offset: f32 }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//!
//! // Learns y = 2x + 1 in at most `epochs` epochs. Each batch is one x.
//! let train = |epochs: u32| -> Result<_, Box<dyn std::error::Error>> {
//!     let mut model = Named::new("line", Line { slope: 0.0, offset: 0.0 });
//!     let history = History::open(dir.path().join("history.jsonl"))?;
//!     let files = Directory::builder(dir.path(), "latest").require_empty(false).open()?;
//!     let mut handlers = (
//!         on(IterationCompleted, |_, s| history.record_iteration(s.iteration(), s.output.unwrap_or(f32::NAN), None)),
//!         on(EpochCompleted, |model: &mut Named<Line>, s| {
//!             history.record_epoch(s.epoch(), &[("slope", model.slope.into()), ("offset", model.offset.into())]);
//!         }),
//!         EarlyStopping::new(3)?.attach(EpochCompleted, |s| -s.output.unwrap_or(f32::NAN)),
//!         Timer::new(0).attach(StdClock::new()),
//!         Progress::new().attach(|s| s.output.unwrap_or(f32::NAN)),
//!         ModelCheckpoint::<2>::every(1)?.attach(EpochCompleted, files)?.observe(history.observer("latest")),
//!     );
//!     let mut engine = Engine::new(epochs);
//!     let resumed = engine.resume(&mut model, &mut handlers)?;
//!     history.record_resume(resumed)?;
//!     let outcome = engine.run(&mut model, &[-1.0_f32, 0.0, 1.0][..], &mut handlers, |line, x, _| {
//!         let error = line.slope * x + line.offset - (2.0 * x + 1.0);
//!         line.slope -= 0.5 * error * x;
//!         line.offset -= 0.5 * error;
//!         error * error
//!     })?;
//!     history.record_stop(&outcome);
//!     history.flush()?;
//!     Ok((model.object, outcome, resumed.map(|resumed| resumed.epoch)))
//! };
//!
//! let (_, _, resumed) = train(4)?;
//! assert_eq!(resumed, None);
//! // The second call knows only the files, like a program after a restart.
//! let (line, outcome, resumed) = train(1000)?;
//! assert_eq!(resumed, Some(4));
//! assert_eq!(outcome.reason, StopReason::EarlyStopping);
//! assert!((line.slope - 2.0).abs() < 1e-3 && (line.offset - 1.0).abs() < 1e-3);
//!
//! chart::write(dir.path().join("history.jsonl"), dir.path().join("run.svg"), "a line")?;
//! assert_eq!(std::fs::read_dir(dir.path())?.count(), 5); // two checkpoints, a lock file, a history, a chart
//! # Ok(())
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod chart;
mod checksum;
mod clock;
pub mod directory;
pub mod history;
mod inspect;
mod progress;
#[cfg(feature = "test-support")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-support")))]
pub mod test_support;
#[cfg(feature = "tool")]
#[doc(hidden)]
pub mod tool;

pub use checksum::Crc32Fast;
pub use clock::StdClock;
pub use directory::Directory;
pub use history::History;
pub use inspect::{InspectError, inspect};
pub use progress::{Progress, ProgressHandler};

#[cfg(doctest)]
mod doc_tests;
