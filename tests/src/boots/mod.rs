//! A simulator of starts. It checks the rules for changes of the program between two starts, which the user guides
//! state: nothing is lost, the device always makes progress, and a finished run stays finished.
//!
//! A device is started several times, and each start can run another program: another ranking rule, another model, one
//! handler more. Each start can have a failure: the power fails, a read fails, a checkpoint is damaged. Each start does
//! what the documentation tells a user. After each start, the checker compares the media with its own history of the
//! device, which uses neither the ranking nor the recovery of the library.
//!
//! * [`program`], [`net`], [`handlers`]: the programs.
//! * [`medium`], [`directory`], [`flash`]: the media. [`watch`] reports what a program does with them, and fails on request.
//! * [`history`], [`expect`]: what the checker knows and expects. [`boot`] performs and checks one start.
//! * [`cases`], [`generate`], [`table`]: sequences of starts, written as lines of text. [`mistakes`]: the self-check.
//!
//! ```
//! use training_monitor_tests::boots::cases::{Sequence, check};
//!
//! let line = "store=ram seed=1 tail=commits starts=default/stop:3;rule=1,patience=4/power:2:0";
//! let sequence: Sequence = line.parse().unwrap();
//! assert_eq!(sequence.to_string(), line);
//! assert!(check(&sequence, false).is_ok());
//! ```

pub mod boot;
pub mod cases;
pub mod directory;
pub mod expect;
pub mod failures;
pub mod flash;
pub mod generate;
pub mod handlers;
pub mod history;
pub mod medium;
pub mod mistakes;
pub mod net;
pub mod program;
mod run;
pub mod table;
pub mod watch;
