//! The types that the engine of a C program uses: the output of a step, the metrics, the score and the event masks.

use crate::model::Model;
use crate::status::{Result, tm_status};
use core::num::NonZeroU32;
use training_monitor::event::Counters;
use training_monitor::{Event, EventFilter, State};

/// The number of metrics of an engine.
pub const TM_METRICS: usize = 4;

/// The metrics of a run, which the program writes with `tm_engine_set_metric`.
pub(crate) type Metrics = [f32; TM_METRICS];
/// The state of a run.
pub(crate) type RunState = State<f32, Metrics>;
/// Any handler of an engine.
pub(crate) type DynHandler = dyn training_monitor::Handler<Model, f32, Metrics>;

/// A run starts.
pub const TM_STARTED: u32 = 1 << 0;
/// An epoch starts. The epoch counter already includes it.
pub const TM_EPOCH_STARTED: u32 = 1 << 1;
/// An iteration starts. The iteration counter already includes it.
pub const TM_ITERATION_STARTED: u32 = 1 << 4;
/// A step is complete.
pub const TM_ITERATION_COMPLETED: u32 = 1 << 5;
/// An epoch is complete.
pub const TM_EPOCH_COMPLETED: u32 = 1 << 6;
/// The run is over.
pub const TM_COMPLETED: u32 = 1 << 7;
/// The run is being terminated.
pub const TM_TERMINATE: u32 = 1 << 8;
/// The epoch is being terminated.
pub const TM_TERMINATE_SINGLE_EPOCH: u32 = 1 << 9;
/// At least one checkpoint was saved after the previous event.
pub const TM_SAVED_CHECKPOINT: u32 = 1 << 11;
/// The run is being interrupted. A checkpoint that is saved now contains the exact position of the run.
pub const TM_INTERRUPT: u32 = 1 << 12;

/// Returns the bit of an event in a mask. An event that no mask selects has no bit.
#[inline]
pub(crate) const fn bit(event: Event) -> u32 {
    match event {
        Event::Started => TM_STARTED,
        Event::EpochStarted => TM_EPOCH_STARTED,
        Event::IterationStarted => TM_ITERATION_STARTED,
        Event::IterationCompleted => TM_ITERATION_COMPLETED,
        Event::EpochCompleted => TM_EPOCH_COMPLETED,
        Event::Completed => TM_COMPLETED,
        Event::Terminate => TM_TERMINATE,
        Event::TerminateSingleEpoch => TM_TERMINATE_SINGLE_EPOCH,
        Event::SavedCheckpoint => TM_SAVED_CHECKPOINT,
        Event::Interrupt => TM_INTERRUPT,
        _ => 0,
    }
}

/// Selects the events of a mask.
#[derive(Clone, Copy)]
pub(crate) struct Mask(pub u32);

impl EventFilter for Mask {
    #[inline]
    fn matches(&mut self, event: Event, _: &Counters) -> bool {
        self.0 & bit(event) != 0
    }
}

/// Selects every n-th occurrence of the events of a mask. It is smaller and faster than the filter of the crate
/// `training-monitor`, which also has a window.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    events: Mask,
    every: NonZeroU32,
}

impl EventFilter for Rule {
    #[inline]
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        // Most handlers select all occurrences, and a division is slow.
        self.events.matches(event, counters)
            && (self.every == NonZeroU32::MIN || event.value(counters) % self.every == 0)
    }
}

/// Creates a filter from the settings of a handler. 0 and 1 mean every occurrence.
pub(crate) fn rule(events: u32, every: u32) -> Rule {
    Rule { events: Mask(events), every: NonZeroU32::new(every).unwrap_or(NonZeroU32::MIN) }
}

/// The score is the output of the step.
pub const TM_SCORE_OUTPUT: u32 = 0;
/// The score is the metric 0. TM_SCORE_METRIC_0 + n is the metric n.
pub const TM_SCORE_METRIC_0: u32 = 1;
/// Is added to a score to negate it, for example to rank a loss.
pub const TM_SCORE_NEGATED: u32 = 0x100;

/// A function that returns a score.
pub(crate) type Score = fn(&RunState) -> f32;

fn output(state: &RunState) -> f32 {
    state.output.unwrap_or(f32::NAN)
}

fn negated_output(state: &RunState) -> f32 {
    -output(state)
}

fn metric<const INDEX: usize>(state: &RunState) -> f32 {
    const { assert!(INDEX < TM_METRICS) }
    state.metrics[INDEX]
}

fn negated_metric<const INDEX: usize>(state: &RunState) -> f32 {
    -metric::<INDEX>(state)
}

/// Returns the function of a score setting.
pub(crate) fn score(setting: u32) -> Result<Score> {
    const SCORES: [Score; 1 + TM_METRICS] = [output, metric::<0>, metric::<1>, metric::<2>, metric::<3>];
    const NEGATED: [Score; 1 + TM_METRICS] =
        [negated_output, negated_metric::<0>, negated_metric::<1>, negated_metric::<2>, negated_metric::<3>];
    let scores = if setting & TM_SCORE_NEGATED == 0 { &SCORES } else { &NEGATED };
    let index = (setting & !TM_SCORE_NEGATED) as usize;
    scores.get(index).copied().ok_or(tm_status::TM_ERROR_SETTING)
}
