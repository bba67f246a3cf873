//! Writing a checkpoint.

mod encoder;
mod output;
mod run;
mod value;

pub(crate) use encoder::measure_for;
pub use encoder::{encode, encode_with, measure};
pub use output::BUFFER;
