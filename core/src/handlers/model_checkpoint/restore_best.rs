//! Restores the best checkpoint at the end of a run, as Keras' `EarlyStopping(restore_best_weights=True)` does.
//!
//! However the run ends, the model then contains the objects of the best checkpoint: its weights, and for example the
//! optimizer that was saved with them. The last checkpoint of the run contains the last weights, because nothing is saved
//! after the restore. If a finished run is resumed, the best checkpoint is restored again.
//!
//! One rule differs from Keras: a NaN is never the best score. If no checkpoint of the ranking can be loaded, the model
//! keeps its last weights, and [`RestoreBest::restored`] returns the reason.
//!
//! ```
//! use training_monitor::checkpoint::Named;
//! use training_monitor::event::EpochCompleted;
//! use training_monitor::store::ram::Ram;
//! use training_monitor::{Engine, ModelCheckpoint};
//!
//! let best = ModelCheckpoint::<1>::best_by(|state| state.output.unwrap_or(f32::NAN));
//! let mut best = best.attach(EpochCompleted, Ram::<2, 256>::new())?.restore_best();
//! let mut model = Named::new("model", [0.0_f32; 1]);
//! // The weight is the score of its epoch.
//! let scores = [0.25, 0.75, 0.5];
//! Engine::new(3).run(&mut model, &[()][..], &mut best, |model, _, state| {
//!     model[0] = scores[state.epoch() as usize - 1];
//!     model[0]
//! })?;
//! assert_eq!(model[0], 0.75);
//! assert!(matches!(best.restored(), Ok(Some(info)) if info.step == 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{CheckpointHandler, CheckpointObserver, GetScore};
use crate::checkpoint::{DecodeError, Info, Objects};
use crate::event::{Event, EventFilter};
use crate::handler::{Handler, forward_to_inner};
use crate::run_record::{HandlerStates, RunRecord};
use crate::state::State;
use crate::store::Store;
use core::ops::{Deref, DerefMut};

/// A [`CheckpointHandler`] that restores its best checkpoint at the end of the run. Created
/// by [`CheckpointHandler::restore_best`]. It dereferences to that handler.
#[derive(Debug)]
pub struct RestoreBest<const N: usize, W, S: Store, F, B> {
    handler: CheckpointHandler<N, W, S, F, B>,
    /// Whether the run is over and the best checkpoint was restored. A custom loop can learn several times that the run
    /// is over.
    is_finished: bool,
    restored: Result<Option<Info>, DecodeError<S::Error>>,
}

impl<const N: usize, W, S: Store, F, B> CheckpointHandler<N, W, S, F, B> {
    /// Restores the best checkpoint at the end of each run. An observer must be added before.
    #[must_use]
    pub const fn restore_best(self) -> RestoreBest<N, W, S, F, B> {
        RestoreBest { handler: self, is_finished: false, restored: Ok(None) }
    }
}

impl<const N: usize, W, S: Store, F, B> RestoreBest<N, W, S, F, B> {
    /// Returns the checkpoint that the last finished run restored. Returns `Ok(None)` if the ranking was empty, or if no
    /// run is finished.
    ///
    /// # Errors
    /// Returns the error of the last attempt if no checkpoint of the ranking could be loaded.
    pub const fn restored(&self) -> Result<Option<&Info>, &DecodeError<S::Error>> {
        match &self.restored {
            Ok(info) => Ok(info.as_ref()),
            Err(error) => Err(error),
        }
    }

    /// Returns the handler without the restore.
    pub fn into_handler(self) -> CheckpointHandler<N, W, S, F, B> {
        self.handler
    }
}

impl<const N: usize, W, S: Store, F, B> Deref for RestoreBest<N, W, S, F, B> {
    type Target = CheckpointHandler<N, W, S, F, B>;
    fn deref(&self) -> &Self::Target {
        &self.handler
    }
}

impl<const N: usize, W, S: Store, F, B> DerefMut for RestoreBest<N, W, S, F, B> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.handler
    }
}

impl<T, O, X, const N: usize, W, S, F, B> Handler<T, O, X> for RestoreBest<N, W, S, F, B>
where
    T: Objects + ?Sized,
    W: EventFilter,
    S: Store,
    F: GetScore<O, X>,
    B: CheckpointObserver<S::Error>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        self.is_finished = false;
        self.handler.on_event(event, model, state);
    }
    fn finish(&mut self, model: &mut T) {
        if !self.is_finished {
            self.is_finished = true;
            self.restored = self.handler.load_ranked(model);
        }
    }
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        Handler::<T, O, X>::persist(&mut self.handler, run, states);
    }
    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
        self.handler.perform(model, state, record)
    }
    forward_to_inner!(all self.handler, O, X);
}
