//! The workload of the example: a small network that learns to read handwritten digits.
//!
//! One real training program, the same on a microcontroller and on the host, to which the
//! monitor is attached. This library is the half that trains; only [`checkpoint`] and [`monitored`] know of the monitor.
//! The firmware and the host simulation are programs of this package that put the two together.
//!
//! | module | what |
//! | --- | --- |
//! | [`data`] | 1 797 images in flash, dealt into training, validation and test |
//! | [`random`] | first weights and the order of an epoch, as functions of a seed |
//! | [`mlp`] | the network and its gradients |
//! | [`train`] | SGD with momentum, one step, one evaluation |
//! | [`checkpoint`] | what of it a checkpoint holds |
//! | [`boards`] | where boards keep their checkpoints |
//! | [`flash`] | the rules of NOR flash, for devices that do not enforce them |
//! | [`monitored`] | the run under all four handlers, as boards and host make it |
//!
//! It holds three promises. **No heap, no panic, no `unsafe`.** **The same bits everywhere:** a
//! run ends with the same weights on x86-64, on a Cortex-M4F with hardware floats, and on a
//! Cortex-M0 or RV32IMC without ([`mlp`] says how). **No hidden state:** a step is a function
//! of what a checkpoint holds and of its place in the run, so a resumed run is exact.
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

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod boards;
pub mod checkpoint;
pub mod data;
pub mod flash;
pub mod mlp;
pub mod monitored;
pub mod random;
pub mod train;
