//! Handlers that save the last output and the metrics of a run in its checkpoints.
//!
//! A checkpoint can be saved at `IterationCompleted` in the last iteration of an epoch. A run that resumes from this
//! checkpoint continues with `EpochCompleted`. A handler that reads the output or the metrics at that event needs the
//! values from before the restart. The handlers [`KeepOutput`] and [`KeepMetrics`] save and restore these values. They
//! are separate handlers, because only some runs need them and not every output type can be serialised. The postcard
//! encoding of a value must have at most 127 bytes. The position of these handlers in the tuple makes no difference.
//!
//! ```
//! use training_monitor::handlers::keep::KeepOutput;
//! use training_monitor::Engine;
//!
//! let mut engine = Engine::<f32>::new(1);
//! engine.run(&mut (), &[0.5, 0.25][..], &mut KeepOutput, |_, loss, _| *loss)?;
//! let record = engine.record::<(), _>(&mut KeepOutput)?;
//!
//! let mut resumed = Engine::<f32>::new(1);
//! resumed.restore::<(), _>(&record, &mut KeepOutput)?;
//! assert_eq!(resumed.state().output, Some(0.25));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use crate::event::Event;
use crate::handler::Handler;
use crate::run_record::{HandlerKind, HandlerStates, Persist};
use crate::state::State;
use serde::{Serialize, de::DeserializeOwned};

/// A handler that saves the last output of the step function in each checkpoint. After a restart, it
/// restores [`State::output`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeepOutput;

/// A handler that saves the user's metrics in each checkpoint. After a restart, it restores [`State::metrics`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeepMetrics;

impl<T: ?Sized, O: Clone + Serialize + DeserializeOwned, X> Handler<T, O, X> for KeepOutput {
    #[inline(always)]
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O, X>) {}
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut SavedOutput(&mut run.output));
    }
}

impl<T: ?Sized, O, X: Clone + Serialize + DeserializeOwned> Handler<T, O, X> for KeepMetrics {
    #[inline(always)]
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O, X>) {}
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut SavedMetrics(&mut run.metrics));
    }
}

struct SavedOutput<'a, O>(&'a mut Option<O>);

impl<O: Clone + Serialize + DeserializeOwned> Persist for SavedOutput<'_, O> {
    const KIND: HandlerKind = HandlerKind::KEEP_OUTPUT;
    type State = Option<O>;
    fn save(&mut self) -> Option<O> {
        self.0.clone()
    }
    fn restore(&mut self, output: Option<O>) {
        *self.0 = output;
    }
}

struct SavedMetrics<'a, X>(&'a mut X);

impl<X: Clone + Serialize + DeserializeOwned> Persist for SavedMetrics<'_, X> {
    const KIND: HandlerKind = HandlerKind::KEEP_METRICS;
    type State = X;
    fn save(&mut self) -> X {
        self.0.clone()
    }
    fn restore(&mut self, metrics: X) {
        *self.0 = metrics;
    }
}
