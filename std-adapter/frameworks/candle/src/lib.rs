//! Checkpoints of a candle model with training-monitor.
//!
//! * [`VarMapState`] makes a candle `VarMap` a `StateDict`. Copy it into your program.
//! * [`AdamW`] is candle's optimizer with moments that a checkpoint can contain.
//! * [`Training`] is a tiny training job that combines both.

mod adamw;
mod training;
mod var_map_state;

pub use adamw::AdamW;
pub use training::{EPOCH_LENGTH, EPOCHS, PowerFailure, Report, SAVE_INTERVAL, StepError, Training, train};
pub use var_map_state::{Reason, Unavailable, VarMapState};
