//! Writing a checkpoint.

mod chunks;
mod encoder;
mod header;
mod name_check;
mod output;
mod pieces;
mod run;
mod value;

pub use encoder::{encode, encode_with, measure};
pub(crate) use encoder::{encode_measured, measure_for};
pub use output::BUFFER;
pub(crate) use pieces::{encode_piece, renumber};
