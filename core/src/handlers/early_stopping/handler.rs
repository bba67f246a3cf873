//! The handler that attaches [`EarlyStopping`] to a run, with its observer and its warm-up.

use super::EarlyStopping;
use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::run_record::HandlerStates;
use crate::state::{State, StopReason};

impl EarlyStopping {
    /// Attaches the state machine to a run. At each event that `filter` selects, the handler passes the result of
    /// `score` to [`update`](Self::update). When the patience is exhausted, the handler terminates the run with the
    /// reason [`StopReason::EarlyStopping`]. If that run is an evaluation, [`State::terminate_if_stopped`] can
    /// terminate the training run as well.
    pub const fn attach<O, X, W, F>(self, filter: W, score: F) -> EarlyStoppingHandler<W, F>
    where
        W: EventFilter,
        F: FnMut(&State<O, X>) -> f32,
    {
        EarlyStoppingHandler { early_stopping: self, filter, score, observer: (), warmup: () }
    }
}

/// A handler that stops a run early. Created by [`EarlyStopping::attach`]. The type parameters are the event filter, the
/// score function, the observer and the warm-up.
#[derive(Clone, Copy, Debug)]
pub struct EarlyStoppingHandler<W, F, B = (), U = ()> {
    /// The state machine that decides when the run stops.
    pub early_stopping: EarlyStopping,
    filter: W,
    score: F,
    observer: B,
    warmup: U,
}

impl<W, F, B, U> EarlyStoppingHandler<W, F, B, U> {
    /// Adds an observer, which is called after each score. It receives the state machine and the state of the run. For
    /// example, it can report the [remaining patience](EarlyStopping::remaining_patience).
    pub fn observe<O, X, C: FnMut(&EarlyStopping, &State<O, X>)>(
        self,
        observer: C,
    ) -> EarlyStoppingHandler<W, F, C, U> {
        let EarlyStoppingHandler { early_stopping, filter, score, warmup, .. } = self;
        EarlyStoppingHandler { early_stopping, filter, score, observer, warmup }
    }

    /// Adds a warm-up: the run does not stop before the end of epoch `epochs`. All scores count, so the run can stop in the
    /// next epoch, unless the score then improves. The epochs are those of the run to which the handler is attached; an
    /// evaluator's run has only its own. The warm-up has no state, so a checkpoint contains nothing of it.
    ///
    /// ```
    /// use training_monitor::{EarlyStopping, Engine, event::EpochCompleted};
    ///
    /// let falling = |state: &training_monitor::State<f32>| -(state.epoch() as f32);
    /// let mut stopping = EarlyStopping::new(2)?.attach(EpochCompleted, falling).with_warmup(5);
    /// let outcome = Engine::new(9).run(&mut (), 0..1, &mut stopping, |_, _, _| 0.0)?;
    /// assert_eq!((outcome.epoch, stopping.early_stopping.counter()), (6, 5)); // without the warm-up: epoch 3
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn with_warmup(self, epochs: u32) -> EarlyStoppingHandler<W, F, B, WarmupEpochs> {
        let EarlyStoppingHandler { early_stopping, filter, score, observer, .. } = self;
        EarlyStoppingHandler { early_stopping, filter, score, observer, warmup: WarmupEpochs(epochs) }
    }
}

/// The warm-up of an [`EarlyStoppingHandler`]: the number of epochs in which the run does not stop. Created
/// by [`EarlyStoppingHandler::with_warmup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WarmupEpochs(u32);

/// The warm-up of an [`EarlyStoppingHandler`]: [`WarmupEpochs`], or `()` for none.
pub trait EarlyStoppingWarmup: warmup::Sealed {}

impl EarlyStoppingWarmup for () {}
impl EarlyStoppingWarmup for WarmupEpochs {}

mod warmup {
    //! The method of a warm-up, private to this crate.

    pub trait Sealed {
        /// Returns whether the warm-up allows the run to stop in this epoch.
        fn can_stop(&self, epoch: u32) -> bool;
    }

    impl Sealed for () {
        #[inline(always)]
        fn can_stop(&self, _: u32) -> bool {
            true
        }
    }

    impl Sealed for super::WarmupEpochs {
        #[inline]
        fn can_stop(&self, epoch: u32) -> bool {
            epoch > self.0
        }
    }
}

/// A function that an [`EarlyStoppingHandler`] calls after each score. Closures `FnMut(&EarlyStopping, &State<O, X>)`
/// implement this trait. The type `()` stands for no observer.
pub trait EarlyStoppingObserver<O, X> {
    /// The handler calls this method after `early_stopping` has received a score.
    fn on_score(&mut self, early_stopping: &EarlyStopping, state: &State<O, X>);
}

/// An observer that does nothing. A handler uses it unless the program adds another observer.
impl<O, X> EarlyStoppingObserver<O, X> for () {
    #[inline(always)]
    fn on_score(&mut self, _: &EarlyStopping, _: &State<O, X>) {}
}

impl<O, X, B: FnMut(&EarlyStopping, &State<O, X>)> EarlyStoppingObserver<O, X> for B {
    #[inline]
    fn on_score(&mut self, early_stopping: &EarlyStopping, state: &State<O, X>) {
        self(early_stopping, state);
    }
}

impl<T, O, X, W, F, B, U> Handler<T, O, X> for EarlyStoppingHandler<W, F, B, U>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&State<O, X>) -> f32,
    B: EarlyStoppingObserver<O, X>,
    U: EarlyStoppingWarmup,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if !self.filter.matches(event, state.counters()) {
            return;
        }
        let stop = self.early_stopping.update((self.score)(state));
        self.observer.on_score(&self.early_stopping, state);
        if stop && self.warmup.can_stop(state.epoch()) {
            state.terminate(StopReason::EarlyStopping);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.early_stopping);
    }
}
