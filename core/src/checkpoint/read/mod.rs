//! Reading a checkpoint.

mod decoder;
mod input;
mod inspect;
mod matching;
mod run;

pub use decoder::{Differences, Loader, load, load_with};
pub(crate) use input::SliceReader;
pub(super) use input::{ChecksummedSource, Input, ReadFailure};
pub use inspect::{Inspect, Tensor, inspect, inspect_with};
