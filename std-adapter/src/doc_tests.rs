//! Compiles and runs the Rust examples in the guides of `docs/` and in the README of this crate.
//!
//! Only `cargo test --doc` compiles this module. The test `tests/tool_docs.rs` runs the shell commands of the guides.

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
#[doc = include_str!("../../docs/writing-a-store.md")]
mod writing_a_store {}
#[doc = include_str!("../../docs/README.md")]
mod contents {}
#[doc = include_str!("../../docs/architecture.md")]
mod architecture {}
#[doc = include_str!("../../docs/costs.md")]
mod costs {}
