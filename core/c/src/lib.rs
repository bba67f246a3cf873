//! The interface of training-monitor for C and C++: a header and a static library, without a heap.
//!
//! The header `include/training_monitor.h` is generated from this source. Its comments are those of this source, so they
//! address a reader who knows C. `docs/c-firmware.md` in the repository is a quick start.
//!
//! This crate contains no algorithm. Each object is a handler of the crate `training-monitor`, in memory that the caller
//! provides; see the module `object`. The attached objects of an engine are handlers behind a pointer, so that the engine is
//! compiled once and a program links only the objects that it attaches.
//!
//! # Safety
//! All functions have the same rules, which the header states at its top: a pointer is null or points to memory of its type
//! that was written before; an object is used by one thread at a time; texts, models and attached objects exist as long as the
//! object that uses them. Everything else is checked: null and misaligned pointers, objects that are not initialized, settings,
//! shapes, and the results of callbacks.
//!
//! `unsafe` occurs only where this crate reads the memory of the caller or calls its functions.

#![no_std]
#![allow(non_camel_case_types, reason = "the names of C")]
#![allow(clippy::missing_safety_doc, reason = "the rules of all functions are above")]

#[cfg(not(target_os = "none"))]
extern crate std;

mod attach;
mod average;
mod callback;
mod checkpoint;
mod early_stopping;
mod engine;
mod finite;
mod flash;
mod handlers;
mod limits;
mod memory;
mod model;
mod object;
mod outcome;
#[cfg(all(feature = "panic-handler", target_os = "none"))]
mod panic;
mod policy;
mod run;
mod schedule;
mod state;
mod status;
mod stream;
mod timer;

pub use attach::*;
pub use average::*;
pub use callback::*;
pub use checkpoint::*;
pub use early_stopping::*;
pub use engine::*;
pub use finite::*;
pub use flash::*;
pub use handlers::*;
pub use limits::*;
pub use memory::*;
pub use model::*;
pub use outcome::*;
pub use policy::*;
pub use run::*;
pub use schedule::*;
pub use state::*;
pub use status::*;
pub use stream::*;
pub use timer::*;

/// The version of the header: major × 10000 + minor × 100 + patch.
pub const TM_VERSION: u32 = 100;

/// Returns the version of the library. A program compares it with TM_VERSION of its header.
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub extern "C" fn tm_version() -> u32 {
    TM_VERSION
}
