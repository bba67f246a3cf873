//! The workload of the firmware example: a small neural network that learns to read handwritten digits.
//!
//! The network and its training steps are the same on a microcontroller and on the host. This library contains the
//! network, the data, the optimizer and the training run. [`monitored`] attaches the handlers of `training-monitor`;
//! [`mlp`] and [`train`] use its derive macros to list what a checkpoint contains. The firmware programs are binaries
//! of this package that call [`monitored::run`]. The host simulation adds further handlers and options.
//!
//! | module | contents |
//! | --- | --- |
//! | [`data`] | 1 797 images in flash, split into training, validation and test |
//! | [`random`] | initial weights and the image order of an epoch, as functions of a seed |
//! | [`shard`] | the training images of one device of a fleet |
//! | [`mlp`] | the network and its gradients |
//! | [`train`] | SGD with momentum, one training step, one evaluation |
//! | [`quantized`] | the same network and its training with 8-bit weights, for smaller checkpoints |
//! | [`boards`] | the flash regions in which each board stores its checkpoints |
//! | [`flash`] | a wrapper that enforces the rules of NOR flash on devices that do not enforce them |
//! | [`monitored`] | the training run with all four handlers, as the boards execute it |
//! | `host` | the training run of the host simulation, which the boards do not contain |
//! | [`node`] | rounds of a fleet: a board receives weights over a serial line, trains and replies |
//!
//! The library gives three guarantees:
//!
//! * **No heap, no panic, no `unsafe`**, except that the host simulation uses the heap.
//! * **The same bits everywhere.** A run ends with the same weights on x86-64, on a Cortex-M4F with a floating-point
//!   unit, and on a Cortex-M0 or RV32IMC without one. The module [`mlp`] explains how.
//! * **No hidden state.** The result of a training step depends only on the contents of a checkpoint and on the
//!   epoch and batch offset, so a resumed run is exact.
//!
//! ```
//! use digits_workload::data::Split;
//! use digits_workload::train::{Hyper, Trainee};
//!
//! let mut trainee = Trainee::<32, 16>::new();
//! trainee.init(1, Hyper::default());
//! for epoch in 0..2 {
//!     for offset in 0..Trainee::<32, 16>::BATCHES {
//!         let loss = trainee.step(epoch, offset);
//!         assert!(loss.is_finite());
//!     }
//! }
//! assert!(trainee.evaluate(Split::Validation).accuracy > 0.85);
//! ```

#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

pub mod boards;
pub mod data;
pub mod flash;
#[cfg(not(target_os = "none"))]
pub mod host;
pub mod mlp;
pub mod monitored;
pub mod node;
pub mod quantized;
pub mod random;
pub mod shard;
pub mod train;

/// `cargo test --doc` compiles the code blocks of BOARDS.md through this type.
#[cfg(doctest)]
#[doc = include_str!("../BOARDS.md")]
pub struct BoardsPage;
