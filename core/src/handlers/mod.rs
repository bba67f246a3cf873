//! The handlers of this crate. Each handler is a state machine, which works alone or attached to the events of an
//! engine.

pub mod early_stopping;
pub mod keep;
pub mod model_checkpoint;
pub mod plateau;
pub mod schedules;
pub mod terminate_on_nan;
pub mod timer;
