//! Checkpoints of a burn module with training-monitor.
//!
//! * [`TrainingState`] makes a burn module and its AdamW optimizer the `Objects` of a checkpoint. Copy it and the
//!   modules `tensors` and `adamw` into your program.
//! * [`train`] runs a tiny training job.

mod adamw;
mod tensors;
mod training;
mod training_state;

pub use tensors::{NamedTensor, NamedTensors, Reason, Unavailable};
pub use training::{
    EPOCH_LENGTH, EPOCHS, LEARNING_RATE, Net, PowerFailure, Report, SAVE_INTERVAL, StepError, Training, loss, train,
};
pub use training_state::TrainingState;
