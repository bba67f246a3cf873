//! The [training monitor](training_monitor) on a host: what a simulation, or a training run on a workstation, needs beside
//! the state machines that the device runs.
//!
//! * [`Directory`] keeps checkpoints as files, under Ignite's names, and keeps them through a power cut.
//! * [`History`] is the run as a file of lines, [`chart`] that as a picture, [`Progress`] a line in the terminal.
//! * `test_support` (a feature) breaks things in your own tests: flash, stores, clocks.
//! * [`StdClock`] is the clock for an attached timer, [`Crc32Fast`] the format's checksum at a host's speed.
//!
//! Nothing here decides anything about training: the handlers are the core's, so a run on a host saves, stops and goes on
//! exactly where the device would, and files of the one can be read on the other.
//!
//! A run that is interrupted and goes on:
//!
//! ```
//! use training_monitor::checkpoint::Named;
//! use training_monitor::event::{EpochCompleted, IterationCompleted};
//! use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, StopReason, Timer, on};
//! use training_monitor_std::{Directory, History, Progress, StdClock, chart};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//!
//! // Two weights that learn y = 2x + 1, one pair at a time; at most `epochs` epochs.
//! let train = |epochs: u32| -> Result<_, Box<dyn std::error::Error>> {
//!     let mut model = Named::new("line", [0.0_f32, 0.0]);
//!     let history = History::open(dir.path().join("history.jsonl"))?;
//!     let files = Directory::builder(dir.path(), "latest").require_empty(false).open()?;
//!     let mut handlers = (
//!         on(IterationCompleted, |_: &mut _, s: &mut State<f32>| {
//!             history.iteration(s.iteration(), s.output.unwrap_or(f32::NAN), None);
//!         }),
//!         on(EpochCompleted, |model: &mut Named<[f32; 2]>, s: &mut State<f32>| {
//!             history.epoch(s.epoch(), &[("slope", model.1[0].into()), ("offset", model.1[1].into())]);
//!         }),
//!         EarlyStopping::new(3)?.attach(EpochCompleted, |s: &State<f32>| -s.output.unwrap_or(f32::NAN)),
//!         Timer::new(0).attach_to_run(StdClock::new()),
//!         Progress::new().attach(|s: &State<f32>| s.output.unwrap_or(f32::NAN)),
//!         ModelCheckpoint::<2>::every(1)?.n_saved(2).build()?
//!             .attach(EpochCompleted, files)?
//!             .observe(history.observer("latest")),
//!     );
//!     let mut engine = Engine::new(epochs);
//!     let resumed = engine.resume(&mut model, &mut handlers)?;
//!     history.resumed(resumed)?;
//!     let outcome = engine.run(&mut model, &[-1.0_f32, 0.0, 1.0][..], &mut handlers, |model, x, _| {
//!         let error = model.1[0] * x + model.1[1] - (2.0 * x + 1.0);
//!         model.1[0] -= 0.5 * error * x;
//!         model.1[1] -= 0.5 * error;
//!         error * error
//!     })?;
//!     history.stopped(&outcome);
//!     history.flush()?;
//!     Ok((model.1, outcome, resumed.map(|resumed| resumed.epoch)))
//! };
//!
//! let (_, _, resumed) = train(4)?;
//! assert_eq!(resumed, None);
//! let (weights, outcome, resumed) = train(1000)?; // as after a restart: all that is known is in the files
//! assert_eq!(resumed, Some(4));
//! assert_eq!(outcome.reason, StopReason::EarlyStopping);
//! assert!((weights[0] - 2.0).abs() < 1e-3 && (weights[1] - 1.0).abs() < 1e-3);
//!
//! chart::write(dir.path().join("history.jsonl"), dir.path().join("run.svg"), "a line")?;
//! assert_eq!(std::fs::read_dir(dir.path())?.count(), 4); // two checkpoints, the history, the chart
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
mod progress;
#[cfg(feature = "test-support")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-support")))]
pub mod test_support;

pub use checksum::Crc32Fast;
pub use clock::StdClock;
pub use directory::Directory;
pub use history::History;
pub use progress::{Progress, ProgressHandler};

#[cfg(doctest)]
mod book;
