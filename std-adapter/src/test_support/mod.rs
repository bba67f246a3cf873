//! Test tools for firmware that uses the training monitor (feature `test-support`). The tools run on the host. Some
//! tools simulate a memory chip or a disk. Others wrap your own store, flash driver or tick counter, and inject faults.
//!
//! | tool | simulates or wraps | faults |
//! | --- | --- | --- |
//! | [`flash::Flash`] | simulates a NOR flash in RAM | power failure in any operation, with 19 [kinds of interruption](flash::Interruption), for example a partly programmed granule or an unstable bit; reports violations of the driver contract; counts operations and erases |
//! | [`memory::Memory`] | simulates FRAM, MRAM or EEPROM in RAM | power failure in any write of a byte or a page, with 13 kinds of interruption |
//! | [`disk::Disk`] | simulates a directory in RAM | power failure in any operation, with all possible contents of the medium afterwards; failing operations, as on a full disk |
//! | [`driver::FaultyFlash`] | wraps a flash driver | calls that fail, that are performed partly, or during which power fails |
//! | [`store::FaultyStore`] | wraps a store | operations that fail before or after their effect; short reads and writes |
//! | [`ticks::TickSource`], [`ticks::offset_to_wrap_after`] | simulates or wraps a tick counter | overflow at a chosen time |
//! | [`random::Random`] | | repeatable random decisions from a seed |
//!
//! Three checks run on your own implementations:
//!
//! | check | checks |
//! | --- | --- |
//! | [`check_store`] | a [`Store`](training_monitor::store::Store) against the contract of the trait |
//! | [`check_nor_flash`] | a flash driver for everything on which [`Slots`](training_monitor::store::flash::Slots) relies |
//! | [`judge_power_failures`] | that a store keeps its checkpoints, wherever a power failure interrupts a save |
//!
//! The tools use no clock and no external source of randomness, so a test has the same result in every run. The tests
//! of this project use the same tools. A tool panics only if its arguments are invalid.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, Timer, checkpoint::Named, time::WrappingClock};
//! use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted};
//! use training_monitor::handlers::model_checkpoint::OnError;
//! use training_monitor::store::flash::Slots;
//! use training_monitor_std::test_support::flash::Flash;
//! use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};
//! use training_monitor_std::test_support::ticks::TickSource;
//!
//! let mut flash = Flash::<4, 512>::new(1536, 0xFF);
//! let ticks = TickSource::with_ticks_until_wrap(2);
//! // Every second commit fails.
//! let mut commits = 0;
//! let store = FaultyStore::new(Slots::<_, 3>::open(&mut flash, 0..1536)?, |operation| {
//!     commits += u32::from(operation == StoreOperation::Commit);
//!     if operation == StoreOperation::Commit && commits % 2 == 0 { StoreFault::Before } else { StoreFault::None }
//! });
//! let mut handlers = (
//!     Timer::new(0)
//!         .attach(WrappingClock::new(ticks.reader()))
//!         .resume(IterationStarted)
//!         .pause(IterationCompleted)
//!         .step(IterationCompleted),
//!     ModelCheckpoint::<2>::every(1)?.with_on_error(OnError::Continue).attach(EpochCompleted, store)?,
//! );
//! Engine::new(5).run(&mut Named::new("m", [0.0_f32]), 0..2, &mut handlers, |_, _, _| ticks.advance(3))?;
//! assert_eq!(handlers.0.timer.total(), 30);
//! assert_eq!(handlers.1.policy().kept().iter().map(|kept| kept.step).collect::<Vec<_>>(), [3, 5]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod chip;
pub mod disk;
pub mod driver;
pub mod flash;
mod flash_check;
mod interruption;
mod medium;
pub mod memory;
mod power_judge;
pub mod random;
pub mod store;
mod store_check;
pub mod ticks;

pub use flash_check::{FlashRule, FlashViolation, WrongByte, check_nor_flash};
pub use medium::{Medium, PowerMedium};
pub use power_judge::{
    JudgeOptions, JudgeReport, JudgedFailure, JudgedSave, PowerFailureCase, PowerFailureRule, PowerFailureViolation,
    judge_power_failures, replay_power_failures,
};
pub use store_check::{StoreRule, StoreViolation, check_store};
