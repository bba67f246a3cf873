//! Tools to break your own firmware with, on the host (feature `test-support`): put them around your store, your flash
//! driver or your clock, or take the flash that is made of them.
//!
//! | what | stands for | what it can do |
//! | --- | --- | --- |
//! | [`flash::Flash`] | a NOR flash, in memory | holds its user to the contract; power cuts in any operation, with 19 outcomes from a torn granule to a cell that reads differently each time; counts operations and wear |
//! | [`disk::Disk`] | a directory, in memory | cuts the power in any operation and tells every state that the medium may then be in; operations that fail, as on a full disk |
//! | [`driver::FaultyFlash`] | around your flash driver | calls that fail, are done in part, or end with the power |
//! | [`store::Faulty`] | around your store | operations that fail before or after they were done, short reads and writes |
//! | [`ticks::TickSource`], [`ticks::wrapping_after`] | your tick counter, or around it | wraps when you want it to |
//! | [`random::Random`] | | chance that one number brings back |
//!
//! None of them reads a clock or draws a random number of its own: the same test does the same every time. They are the
//! tools that this project's own tests use. Where they panic it is because of a wrong set-up.
//!
//! ```
//! use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, Timer, checkpoint::Named, time::Extend};
//! use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted, Started};
//! use training_monitor::handlers::model_checkpoint::OnError;
//! use training_monitor::store::flash::Slots;
//! use training_monitor_std::test_support::{flash::Flash, store::{Fault, Faulty, Operation}, ticks::TickSource};
//!
//! let mut flash = Flash::<4, 256>::new(768, 0xFF);
//! let ticks = TickSource::before_wrap(2);
//! // Every other commit fails.
//! let mut commits = 0;
//! let store = Faulty::new(Slots::<_, 3>::open(&mut flash, 0..768)?, |operation| {
//!     commits += u32::from(operation == Operation::Commit);
//!     if operation == Operation::Commit && commits % 2 == 0 { Fault::Before } else { Fault::None }
//! });
//! let settings = ModelCheckpoint::<2>::every(1)?.n_saved(2).on_error(OnError::Continue);
//! let mut handlers = (
//!     Timer::new(0).attach(Extend::new(ticks.reader()), Started, IterationCompleted, IterationStarted, IterationCompleted),
//!     settings.build()?.attach(EpochCompleted, store)?,
//! );
//! Engine::new(5).run(&mut Named::new("m", [0.0_f32]), 0..2, &mut handlers, |_, _, _| ticks.advance(3))?;
//! assert_eq!(handlers.0.timer.total(), 30);
//! assert_eq!(handlers.1.policy().kept().iter().map(|entry| entry.step).collect::<Vec<_>>(), [3, 5]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod chip;
pub mod disk;
pub mod driver;
pub mod flash;
mod outcome;
pub mod random;
pub mod store;
pub mod ticks;
