//! Reading a checkpoint.

mod decoder;
mod input;
mod inspect;
mod loader;
mod matching;
mod run;

pub(crate) use input::SliceReader;
pub(super) use input::{ChecksummedSource, Input, ReadFailure};
pub use inspect::{Inspect, Tensor, inspect, inspect_with};
pub use loader::{Differences, Loader, load, load_with};
