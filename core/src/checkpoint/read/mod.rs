//! Reading a checkpoint.

mod decoder;
mod input;
mod inspect;
mod matching;
mod run;

pub use decoder::{Loader, load, load_with};
pub(crate) use input::SliceReader;
pub use inspect::{Inspect, Tensor, inspect, inspect_with};
