//! Reading a checkpoint.

mod decoder;
mod input;
mod inspect;
mod loader;
mod matching;
mod run;
mod source;
mod value;

pub(super) use input::Input;
pub use inspect::{Inspect, Tensor, inspect, inspect_with};
pub use loader::{Differences, Loader, load, load_with};
pub(crate) use source::SliceReader;
pub(super) use source::{ChecksummedSource, ReadFailure};
pub(super) use value::read_value;
