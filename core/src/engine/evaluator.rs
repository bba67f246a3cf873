//! An evaluator is a second engine that runs inside a handler of the training run, for example to validate the model.

use super::Engine;
use crate::event::{Event, EventFilter};
use crate::handler::{Handler, forward_to_inner};
use crate::run_record::{HandlerStates, RunRecord};
use crate::state::{State, StopReason};

/// A second engine with its own handlers, for evaluation during a training run.
///
/// A checkpoint of the training run also contains the states of the evaluator's handlers. Early stopping that is
/// attached to an evaluator therefore survives a restart. A [`ModelCheckpoint`](crate::ModelCheckpoint) on an evaluator
/// decides during the evaluation. It saves after the evaluation, together with the state of the training run. So a
/// training run can resume from its checkpoints. If it decides several times during one evaluation, it saves once, because
/// the model does not change. To terminate the training run as well, pass the outcome of
/// the evaluation to [`State::terminate_if_stopped`].
///
/// ```
/// use training_monitor::engine::Evaluator;
/// use training_monitor::event::{Completed, EpochCompleted};
/// use training_monitor::{EarlyStopping, Engine, StopReason};
///
/// let stopping = EarlyStopping::new(1)?.attach(Completed, |s| -s.output.unwrap_or(f32::INFINITY));
/// let validate = Evaluator::new(Engine::<f32>::new(1), stopping).run_at(
///     EpochCompleted,
///     |weight: &mut f32, trainer, engine, handlers| {
///         if let Ok(outcome) = engine.run(weight, 0..1, handlers, |weight, _, _| *weight) {
///             trainer.terminate_if_stopped(&outcome);
///         }
///     },
/// );
/// let mut trainer = Engine::new(10);
/// let outcome = trainer.run(&mut 1.0, 0..4, &mut { validate }, |weight, _, _| *weight += 1.0)?;
/// assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 2));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Evaluator<O, X, H> {
    engine: Engine<O, X>,
    handlers: H,
}

impl<O, X, H> Evaluator<O, X, H> {
    /// Creates an evaluator from its engine and the handlers of that engine.
    pub fn new(mut engine: Engine<O, X>, handlers: H) -> Self {
        engine.state_mut().deferred = Some(false);
        Evaluator { engine, handlers }
    }

    /// Attaches the evaluator to the training run. At each event that `filter` selects, the handler calls `call` with
    /// four arguments: the model, the state of the training run, the evaluator's engine, and the evaluator's handlers.
    /// Usually `call` runs the engine with [`Engine::run`].
    pub fn run_at<T, O1, X1, W, F>(self, filter: W, call: F) -> EvaluatorHandler<W, F, O, X, H>
    where
        T: ?Sized,
        W: EventFilter,
        F: FnMut(&mut T, &mut State<O1, X1>, &mut Engine<O, X>, &mut H),
    {
        EvaluatorHandler { filter, call, engine: self.engine, handlers: self.handlers }
    }
}

/// A handler of the training run that runs an [`Evaluator`] at selected events. Created by [`Evaluator::run_at`].
#[derive(Clone, Debug)]
pub struct EvaluatorHandler<W, F, O, X, H> {
    filter: W,
    call: F,
    /// The evaluator's engine.
    pub engine: Engine<O, X>,
    /// The evaluator's handlers.
    pub handlers: H,
}

impl<T, O, X, W, F, O2, X2, H> Handler<T, O, X> for EvaluatorHandler<W, F, O2, X2, H>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&mut T, &mut State<O, X>, &mut Engine<O2, X2>, &mut H),
    H: Handler<T, O2, X2>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.filter.matches(event, state.counters()) {
            (self.call)(model, state, &mut self.engine, &mut self.handlers);
            if self.engine.state().deferred == Some(true) {
                state.request_action();
            }
        }
    }
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        // The checkpoint handlers of the evaluator compare their checkpoints with the training run.
        let evaluation = self.engine.state_mut();
        let counters = evaluation.counters;
        (evaluation.run, evaluation.counters, evaluation.extended) = (run.run, run.counters, run.extended);
        self.handlers.persist(evaluation, states);
        (evaluation.counters, evaluation.extended) = (counters, false);
    }
    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
        let evaluation = self.engine.state_mut();
        evaluation.deferred = Some(false);
        let counters = evaluation.counters;
        (evaluation.run, evaluation.counters, evaluation.sequence) = (state.run, state.counters, state.sequence);
        let saved = self.handlers.perform(model, evaluation, record);
        evaluation.counters = counters;
        state.sequence = evaluation.sequence;
        if evaluation.stop_reason() == Some(StopReason::SaveFailed) {
            state.terminate(StopReason::SaveFailed);
        }
        if saved {
            self.handlers.on_event(Event::SavedCheckpoint, model, evaluation);
        }
        saved
    }
    fn finish(&mut self, model: &mut T) {
        self.handlers.finish(model);
    }
    forward_to_inner!(all self.handlers, O2, X2);
}
