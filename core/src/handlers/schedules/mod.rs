//! Schedules of a parameter, such as the learning rate: a value for each step of a run.
//!
//! A [`Schedule`] is a pure function from the number of a step to an `f32`. It has no state, so a checkpoint contains
//! nothing of it, and a resumed run needs only the counters of the engine. Step 0 has the first value. The unit of a
//! step is the program's choice: an iteration or an epoch, see [`Schedule::attach`].
//!
//! | type | value at step `t` | rule of |
//! | --- | --- | --- |
//! | [`StepDecay`] | `base · gamma^⌊t / step_size⌋` | torch `StepLR` |
//! | [`MultiStep`] | `base · gamma^n`, where `n` milestones are at most `t` | torch `MultiStepLR` |
//! | [`Exponential`] | `base · gamma^t` | torch `ExponentialLR` |
//! | [`Linear`] | `base · f`, where `f` moves from `start_factor` to `end_factor` in `total_iters` steps | torch `LinearLR` |
//! | [`Constant`] | `base · factor`, and `base` from step `total_iters` | torch `ConstantLR` |
//! | [`Polynomial`] | `base · (1 − t / total_iters)^power` | torch `PolynomialLR` |
//! | [`Cosine`] | half a cosine wave from `base` to `eta_min` in `t_max` steps | torch `CosineAnnealingLR` |
//! | [`CosineRestarts`] | the same wave again and again, each `t_mult` times as long as the previous one | torch `CosineAnnealingWarmRestarts` |
//! | [`OneCycle`] | from `max / div_factor` to `max` and down to a very small value | torch `OneCycleLR` |
//! | [`Cyclic`] | triangles between two values | torch `CyclicLR` |
//! | [`LinearCyclical`] | triangles from `start_value` to `end_value` and back | Ignite `LinearCyclicalScheduler` |
//! | [`CosineAnnealing`] | half a cosine wave in each cycle | Ignite `CosineAnnealingScheduler` |
//! | [`PiecewiseLinear`] | straight lines between given points | Ignite `PiecewiseLinear` |
//! | [`Warmup`] | a straight line, then another schedule | Ignite `create_lr_scheduler_with_warmup` |
//! | [`Concat`], [`ConcatArray`] | one schedule after the other | Ignite `ConcatScheduler`, torch `SequentialLR` |
//! | [`Lambda`] | a function of the program | torch `LambdaLR`, Keras `LearningRateScheduler` |
//!
//! torch computes most of its schedules step by step from the previous value. The schedules of this module compute
//! torch's closed form, so that step `t` costs the same for every `t` and rounding errors do not add up. Recorded traces
//! of torch and Ignite test the values; the relative difference of `f32` and their `f64` is below 10⁻⁵.
//!
//! The value of a schedule is finite for every step. A factor greater than 1 grows up to `f32::MAX`. The arithmetic is
//! `+`, `−`, `·`, `/` and functions of the crate libm that consist of them, so every target computes the same bits.
//!
//! ```
//! use training_monitor::Schedule;
//! use training_monitor::handlers::schedules::{Cosine, Warmup};
//!
//! // 5 steps from 0.0 to 0.1; the last one is the first of the 100 steps of half a cosine wave down to 0.001.
//! let schedule = Warmup::new(Cosine::new(0.1, 100)?.with_eta_min(0.001)?, 0.0, 5)?;
//! assert_eq!([0, 2, 4].map(|step| schedule.value(step)), [0.0, 0.05, 0.1]);
//! assert_eq!([104, u32::MAX].map(|step| schedule.value(step)), [0.001; 2]); // the final value holds
//! assert!(Cosine::new(0.1, 0).is_err());
//! # Ok::<(), training_monitor::ConfigError>(())
//! ```

mod compose;
mod cosine;
mod cyclic;
mod cyclical;
mod decay;
mod handler;
mod math;
mod one_cycle;
mod piecewise;
mod ramp;

pub use compose::{Concat, ConcatArray, Lambda, Warmup};
pub use cosine::{Cosine, CosineRestarts};
pub use cyclic::{Cyclic, CyclicMode};
pub use cyclical::{CosineAnnealing, LinearCyclical};
pub use decay::{Exponential, MultiStep, StepDecay};
pub use handler::{ScheduleHandler, ScheduleObserver};
pub use one_cycle::{Anneal, OneCycle};
pub use piecewise::PiecewiseLinear;
pub use ramp::{Constant, Linear, Polynomial};

use crate::event::EventFilter;

/// A value for each step of a run, for example a learning rate.
pub trait Schedule {
    /// Returns the value of a step. The first step is 0. The same step always has the same value.
    #[must_use]
    fn value(&self, step: u32) -> f32;

    /// Attaches the schedule to a run. At each event that `filter` selects, the handler passes the value of the current
    /// step to `apply`, which writes it to the model.
    ///
    /// The step is `iteration − 1` at `IterationStarted` and `IterationCompleted`, and `epoch − 1` at events of epochs
    /// and of the run. At the batch events, the iteration has not been counted yet; the step is that of the iteration
    /// that follows. At a user-defined event, the step is its [`value`](crate::UserEvent::value) minus 1. Attach the
    /// schedule to `IterationStarted` or `EpochStarted`, so that the first iteration or epoch uses the value of step 0,
    /// as with torch and Ignite.
    ///
    /// [`RunTypes::parameter`](crate::handler::RunTypes::parameter) tells the compiler the type of the model.
    ///
    /// ```
    /// use training_monitor::event::EpochStarted;
    /// use training_monitor::handler::RunTypes;
    /// use training_monitor::handlers::schedules::StepDecay;
    /// use training_monitor::{Engine, Schedule};
    ///
    /// struct Net { rate: f32 }
    ///
    /// let types = RunTypes::<Net, f32>::new();
    /// let mut handler = StepDecay::new(1.0, 1, 0.5)?.attach(EpochStarted, types.parameter(|net, rate| net.rate = rate));
    /// let mut rates = Vec::new();
    /// Engine::new(3).run(&mut Net { rate: 0.0 }, 0..1, &mut handler, |net, _, _| {
    ///     rates.push(net.rate);
    ///     net.rate
    /// })?;
    /// assert_eq!(rates, [1.0, 0.5, 0.25]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Resume
    /// A checkpoint contains no state of the handler. `EpochStarted` does not fire again in a run that resumes inside
    /// the epoch. Before the first event of the resumed run, the handler therefore applies the value of the current
    /// epoch or iteration again, if `filter` selects its `EpochStarted` or `IterationStarted`. A program with another
    /// filter, such as `EpochStarted.every(5)`, saves the parameter with the model.
    fn attach<T, W, F>(self, filter: W, apply: F) -> ScheduleHandler<Self, W, F>
    where
        Self: Sized,
        T: ?Sized,
        W: EventFilter,
        F: FnMut(&mut T, f32),
    {
        ScheduleHandler::new(self, filter, apply)
    }
}

impl<S: Schedule + ?Sized> Schedule for &S {
    fn value(&self, step: u32) -> f32 {
        (**self).value(step)
    }
}
