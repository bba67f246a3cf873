//! The pages of `docs/` and the crate's README, so that every Rust example in them is compiled and run with the other examples.
//!
//! Only there while documentation is tested. Their commands are run by `tests/tool_docs.rs`.

#[doc = include_str!("../README.md")]
mod readme {}
#[doc = include_str!("../../docs/firmware-engineer.md")]
mod firmware_engineer {}
#[doc = include_str!("../../docs/ml-engineer.md")]
mod ml_engineer {}
#[doc = include_str!("../../docs/reliability-engineer.md")]
mod reliability_engineer {}
#[doc = include_str!("../../docs/flash-and-endurance.md")]
mod flash_and_endurance {}
#[doc = include_str!("../../docs/from-ignite.md")]
mod from_ignite {}
#[doc = include_str!("../../docs/tool.md")]
mod tool {}
#[doc = include_str!("../../docs/faq.md")]
mod faq {}
#[doc = include_str!("../../docs/README.md")]
mod contents {}
