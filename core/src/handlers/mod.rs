//! The handlers: each a state machine that can be used alone, and `attach`ed to an engine's events.

pub mod early_stopping;
pub mod keep;
pub mod model_checkpoint;
pub mod saving;
pub mod terminate_on_nan;
pub mod timer;
