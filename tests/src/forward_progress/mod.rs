//! A benchmark of the forward progress of training on a device whose power fails. The page docs/forward-progress.md
//! describes the method and the results.
//!
//! A simulated device trains on each of six memories, with power supplies of several kinds. The real engine, checkpoint
//! handler, run record and store run on a simulated chip. Each operation of the chip advances a clock by the time of the
//! data sheet, and the power fails at a given time: during an erase, a program, a read, or an iteration.
//!
//! * [`parts`], [`supply`], [`workload`], [`digits`]: the memories, the power supplies, the models.
//! * [`device`], [`stack`], [`simulation`]: the simulated device, a start of the program, a run with many starts.
//! * [`model`]: the search for the best fixed interval in hindsight, and the calculated optimum.
//! * [`cases`], [`run`]: the combinations that are simulated.
//! * [`requirements`], [`report`], [`chart`]: what is required and printed.

pub mod cases;
pub mod chart;
pub mod device;
pub mod digits;
pub mod model;
pub mod parts;
pub mod report;
pub mod requirements;
pub mod run;
pub mod simulation;
pub mod stack;
pub mod supply;
pub mod time;
pub mod workload;
