//! A simulator of starts: sequences of starts of a device, in which the program, the store and the failures change.
pub mod boot;
pub mod cases;
pub mod expect;
pub mod failures;
pub mod files;
pub mod flash;
pub mod generate;
pub mod handlers;
pub mod history;
pub mod medium;
pub mod net;
pub mod program;
pub mod table;
pub mod watch;
