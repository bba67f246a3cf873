//! Keeps a part of the run's own state over a restart: the last output, the metrics.
//!
//! A checkpoint that is taken at `IterationCompleted` of an epoch's last iteration is resumed between that event and
//! `EpochCompleted`. A handler that asks for the output there, or for metrics of an earlier epoch, finds what the run
//! that was cut would have found, if one of these is among the handlers. They are handlers of their own because only a
//! run that needs them should pay for them, and because not every output can be written down: what can is any
//! [`Serialize`] type, in at most 127 bytes of postcard.
//! They see every event and do nothing at any; where in the tuple they stand makes no difference.
//!
//! ```
//! use training_monitor::handlers::keep::KeepOutput;
//! use training_monitor::{Engine, Event, event::IterationCompleted};
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
use crate::record::{RecordReader, RecordWriter, kind};
use crate::state::State;
use serde::{Serialize, de::DeserializeOwned};

/// Keeps [`State::output`], what the step function returned last.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeepOutput;

impl<T: ?Sized, O: Serialize + DeserializeOwned, X> Handler<T, O, X> for KeepOutput {
    #[inline(always)]
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O, X>) {}
    fn save_state(&mut self, state: &State<O, X>, record: &mut RecordWriter<'_>) {
        record.push(kind::OUTPUT, &state.output);
    }
    fn restore_state(&mut self, state: &mut State<O, X>, record: &mut RecordReader<'_>) {
        if let Some(output) = record.take(kind::OUTPUT) {
            state.output = output;
        }
    }
}

/// Keeps [`State::metrics`], the user's own.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeepMetrics;

impl<T: ?Sized, O, X: Serialize + DeserializeOwned> Handler<T, O, X> for KeepMetrics {
    #[inline(always)]
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O, X>) {}
    fn save_state(&mut self, state: &State<O, X>, record: &mut RecordWriter<'_>) {
        record.push(kind::METRICS, &state.metrics);
    }
    fn restore_state(&mut self, state: &mut State<O, X>, record: &mut RecordReader<'_>) {
        if let Some(metrics) = record.take(kind::METRICS) {
            state.metrics = metrics;
        }
    }
}
