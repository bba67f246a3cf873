//! stub
use super::{Failure, checkpoints::Files};
pub fn replay(_: &Files) -> Result<(), Failure> { Ok(()) }
