//! Fuzz targets: plain functions of bytes that panic when something is wrong.
//!
//! Each draws a configuration and a sequence of operations from its bytes ([`arbitrary`]), drives the library and a
//! [model](crate::models) side by side and compares after every operation. Nothing here reads a clock or a file, so the
//! same bytes come to the same every time. Three programs run them: `cargo test` (the committed corpus and some
//! thousands of seeded inputs), `cargo run --release --bin fuzz` ([`runner`], on stable Rust, for as long as one likes),
//! and libFuzzer (`tests/fuzz`, which sees coverage and finds its way in).
//!
//! ```
//! let target = training_monitor_tests::fuzz::target("early-stopping").unwrap();
//! (target.body)(&[3, 0, 1, 2]);
//! ```

pub mod bytes;
pub mod directory;
pub mod engine;
pub mod filters;
pub mod machines;
pub mod runner;
pub mod saving;
pub mod slots;

use arbitrary::{Arbitrary, Unstructured};

/// Something that can be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called; also the directory of its corpus.
    pub name: &'static str,
    /// Panics when it finds something wrong.
    pub body: fn(&[u8]),
    /// How long inputs are worth being.
    pub len: usize,
}

/// All of them.
pub const TARGETS: [Target; 13] = [
    Target { name: "checkpoint-bytes", body: bytes::checkpoint_bytes, len: 160 },
    Target { name: "names", body: bytes::names, len: 48 },
    Target { name: "early-stopping", body: machines::early_stopping, len: 96 },
    Target { name: "model-checkpoint", body: machines::model_checkpoint, len: 160 },
    Target { name: "timer", body: machines::timer, len: 96 },
    Target { name: "filters", body: filters::filters, len: 64 },
    Target { name: "guard", body: machines::guard, len: 128 },
    Target { name: "engine", body: engine::engine, len: 64 },
    Target { name: "hostile-record", body: engine::hostile_record, len: 32 },
    Target { name: "saving", body: saving::saving, len: 160 },
    Target { name: "flash-image", body: slots::flash_image, len: 160 },
    Target { name: "slot-operations", body: slots::slot_operations, len: 128 },
    Target { name: "directory", body: directory::directory, len: 192 },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// What the bytes say; `None` when they say nothing.
fn input<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(data)).ok()
}
