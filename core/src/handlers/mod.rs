//! The handlers of this crate. Each handler is a state machine, which works alone or attached to the events of an
//! engine.

pub mod adaptive_interval;
pub mod early_stopping;
pub mod every_ticks;
pub mod keep;
pub mod model_checkpoint;
pub mod plateau;
pub mod profiler;
pub mod roll_back;
pub mod running_average;
pub mod schedules;
pub mod score_limits;
pub mod spike_guard;
pub mod terminate_on_nan;
pub mod time_limit;
pub mod timer;
pub mod weight_average;
