//! The training run of the host simulation.
//!
//! It has the handlers of [`monitored`](crate::monitored), which the boards execute, and those that a study
//! on a host needs. The boards do not contain the latter: they would take flash, and the boards' results are compared bit
//! for bit.
//!
//! | handler | input | effect |
//! | --- | --- | --- |
//! | [`Schedule`] or [`ReduceOnPlateau`] | the iteration, or the validation loss of each epoch | sets the learning rate |
//! | [`RunningAverage`] | the loss of each step | smooths the loss that the progress shows |
//! | [`TerminateOnNan`] | the loss of each step; the weights once per epoch | stops the run |
//! | [`EarlyStopping`] | the validation loss of each epoch | stops the run |
//! | [`ResumableTimeLimit`] | the time of all starts of the run | interrupts the run at the end of an epoch |
//! | [`Timer`] | the events before and after each step | counts steps and measures their duration |
//! | [`ModelCheckpoint`] | the validation loss of each epoch | saves the best and the latest ones; restores the best one |
//! | [`Profiler`], [`Profiled`] | the events of the run, and the two checkpoint handlers | measure the parts of this start |
//!
//! A schedule is a function of the iteration. The states of the other handlers are part of each checkpoint. A resumed
//! run therefore ends with the same bits.

use super::arguments::MAX_N_SAVED;
use super::network::Study;
use super::observer::{EpochReport, IterationReport, RunObserver};
use super::recorder::Recorder;
use super::settings::{ScheduleKind, Settings};
use super::time_limit::ResumableTimeLimit;
use crate::data::Split;
use crate::monitored::Series;
use crate::train::Metrics;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use training_monitor::checkpoint::EncodeError;
use training_monitor::engine::Resumed;
use training_monitor::event::{EpochCompleted, EpochStarted, Interrupt, IterationCompleted, IterationStarted};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::handlers::schedules::{Cosine, Warmup};
use training_monitor::run_record::RestoreError;
use training_monitor::{
    ConfigError, EarlyStopping, Engine, Event, EventFilter, ModelCheckpoint, Outcome, Profiled, Profiler,
    ReduceOnPlateau, RunningAverage, Schedule, State, StopReason, TerminateOnNan, Timer, on,
};
use training_monitor_std::{Directory, History, StdClock};

/// Capacity of the run record in bytes. The states of these handlers do not fit into the default of 128.
const RECORD: usize = 256;

/// The weight of the earlier losses in the smoothed loss.
pub const SMOOTHING: f32 = 0.98;

/// The learning rate of each iteration, unless `ReduceOnPlateau` changes it.
enum LearningRate {
    Constant(f32),
    Cosine(Cosine),
    WarmupCosine(Warmup<Cosine>),
}

impl LearningRate {
    /// Returns `None` for the schedule `plateau`.
    fn new(settings: &Settings, batches: u32) -> Result<Option<Self>, ConfigError> {
        let rate = settings.learning_rate;
        let steps = settings.schedule_epochs.saturating_mul(batches);
        let warmup = steps / 20;
        Ok(match settings.schedule {
            ScheduleKind::Plateau => None,
            ScheduleKind::Constant => Some(LearningRate::Constant(rate)),
            ScheduleKind::Cosine => {
                let cosine = Cosine::new(rate, steps - warmup)?.with_eta_min(rate * 0.01)?;
                // A warm-up has at least two steps.
                Some(if warmup < 2 {
                    LearningRate::Cosine(cosine)
                } else {
                    LearningRate::WarmupCosine(Warmup::new(cosine, rate * 0.1, warmup)?)
                })
            }
        })
    }
}

impl Schedule for LearningRate {
    fn value(&self, step: u32) -> f32 {
        match self {
            LearningRate::Constant(rate) => *rate,
            LearningRate::Cosine(schedule) => schedule.value(step),
            LearningRate::WarmupCosine(schedule) => schedule.value(step),
        }
    }
}

/// The best checkpoint of a run.
#[derive(Debug, Clone, Copy)]
pub struct Best {
    /// Epoch of the checkpoint.
    pub epoch: u32,
    /// Loss and accuracy on the test images.
    pub test: Metrics,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The reason why the run stopped, with its last epoch and iteration.
    pub outcome: Outcome,
    /// Number of training steps, including the steps before a restart.
    pub steps: u32,
    /// Duration of all training steps in seconds.
    pub step_seconds: f64,
    /// Duration of the run in seconds, with evaluations and saves. The time between two starts does not count.
    pub seconds: f64,
    /// A hash of the numbers in a checkpoint after the last training step.
    pub checksum: u64,
    /// Whether the resumed run was already finished, so that this start trained nothing.
    pub was_finished: bool,
    /// The best checkpoint so far. `None` if no epoch was completed with a finite validation loss.
    pub best: Option<Best>,
    /// A table of the durations of this start in microseconds: a heading, and a line for each part of the run.
    pub profile: String,
}

/// A checkpoint could not be saved. The text contains the error of the directory, which names the file.
#[derive(Debug)]
pub struct SaveError(String);

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a checkpoint could not be saved: {}", self.0)
    }
}

impl Error for SaveError {}

/// Trains `study`, and resumes from the newest checkpoint of the two stores if there is one. `nan_at` is the iteration
/// whose loss is replaced by a NaN. `history` records the events of the run. At the end, `study` contains the best
/// checkpoint.
///
/// # Errors
/// Returns a [`SaveError`] if a checkpoint cannot be saved, and another error if a checkpoint cannot be read or a setting
/// is invalid.
pub fn run(
    study: &mut Study,
    settings: &Settings,
    nan_at: Option<u32>,
    latest: Directory,
    best: Directory,
    history: &History,
    observer: &impl RunObserver,
) -> Result<Summary, Box<dyn Error>> {
    let recorder = Recorder::new(history);
    let batches = study.batches();
    let smoothed_loss = Cell::new(f32::NAN);
    let learning_rate = Cell::new(study.learning_rate());
    let gradient_norm = Cell::new(None);
    let checksum = Cell::new(0_u64);
    let types = RunTypes::<Study, f32, Metrics>::new();
    let time_limit = settings.time_limit.map_or(u64::MAX, |seconds| (seconds * f64::from(StdClock::HERTZ)) as u64);

    let metadata = settings.metadata();
    let latest =
        ModelCheckpoint::<2>::every(1)?.with_metadata(metadata).attach(EpochCompleted.or(Interrupt), latest)?;
    // `ModelCheckpoint` keeps the highest scores, so the score is the negated loss.
    let best = ModelCheckpoint::<{ MAX_N_SAVED as usize }>::best_by(types.score(|state| -state.metrics.loss))
        .with_score_name("val_loss")?
        .with_n_saved(settings.n_saved)?
        .with_metadata(metadata)
        .attach(EpochCompleted, best)?;
    let set_rate = types.parameter(|study, rate| study.set_learning_rate(rate));
    let plateau = ReduceOnPlateau::new(settings.learning_rate)?.with_factor(0.5)?.with_patience(1).attach(
        EpochCompleted,
        types.score(|state| state.metrics.loss),
        types.parameter(|study, rate| study.set_learning_rate(rate)),
    );
    let plateau = (settings.schedule == ScheduleKind::Plateau).then_some(plateau);

    let on_checkpoint = |series, event: &CheckpointEvent<'_, _>| {
        if let Some(warning) = recorder.record_checkpoint(series, event) {
            observer.on_warning(&warning);
        }
    };
    let best = best.observe(|event: &CheckpointEvent<'_, _>| on_checkpoint(Series::Best, event));
    let latest = latest.observe(|event: &CheckpointEvent<'_, _>| on_checkpoint(Series::Latest, event));
    let mut handlers = (
        // It comes first, so that a step ends before the other handlers start.
        Profiler::new().attach(|| recorder.microseconds()),
        // The handlers of each iteration.
        (
            LearningRate::new(settings, batches)?.map(|schedule| schedule.attach(IterationStarted, set_rate)),
            RunningAverage::new(SMOOTHING)?.attach(
                IterationCompleted,
                types.score(|state| state.output.unwrap_or(f32::NAN)),
                types.store(|_, average| smoothed_loss.set(average)),
            ),
            on(
                IterationCompleted,
                types.function(|study, state| {
                    let report = IterationReport {
                        loss: state.output.unwrap_or(f32::NAN),
                        smoothed_loss: smoothed_loss.get(),
                        learning_rate: study.learning_rate(),
                        gradient_norm: study.gradient_norm(),
                    };
                    recorder.record_step(state.counters(), &report);
                    observer.on_iteration(state.counters(), &report);
                    if observer.stop_requested() {
                        // The handler of the latest checkpoints saves at the event `Interrupt`, before the next step.
                        state.interrupt();
                    }
                }),
            ),
            on(IterationStarted, |_, _: &mut State<f32, Metrics>| {
                recorder.start_step();
                observer.on_iteration_started();
            }),
            TerminateOnNan::new().attach(IterationCompleted, types.reference(|_, state| &state.output)),
            TerminateOnNan::new()
                .with_schedule(batches)?
                .attach_slices(IterationCompleted, types.slices(|study, check| study.scan(check))),
        ),
        on(
            EpochCompleted,
            types.function(|study, state| {
                state.metrics = study.evaluate(Split::Validation);
                learning_rate.set(study.learning_rate());
                gradient_norm.set(study.gradient_norm());
            }),
        ),
        plateau,
        EarlyStopping::new(settings.patience)?
            .attach(EpochCompleted, types.score(|state| -state.metrics.loss))
            .observe(|_, state| {
                let report = EpochReport {
                    epoch: state.epoch(),
                    smoothed_loss: smoothed_loss.get(),
                    validation: state.metrics,
                    learning_rate: learning_rate.get(),
                    gradient_norm: gradient_norm.get(),
                };
                recorder.record_epoch(&report);
                observer.on_epoch(&report);
            }),
        // The checkpoints of the previous epoch are saved now.
        on(
            EpochStarted,
            types.function(|study, state| {
                observer.on_weights(study);
                if observer.stop_requested() {
                    state.interrupt();
                }
            }),
        ),
        on(
            Event::Completed,
            types.function(|study, _| {
                checksum.set(study.checksum());
                observer.on_weights(study);
            }),
        ),
        ResumableTimeLimit::new(time_limit, || recorder.now())?,
        Timer::new(0)
            .attach(|| recorder.now())
            .pause(IterationCompleted)
            .resume(IterationStarted)
            .step(IterationCompleted),
        Profiled::new("best", best.restore_best(), EpochCompleted, || recorder.microseconds()),
        Profiled::new("latest", latest, EpochCompleted.or(Interrupt), || recorder.microseconds()),
    );

    let metrics = Metrics { loss: f32::INFINITY, accuracy: 0.0 };
    let mut engine = Engine::<f32, Metrics, RECORD>::with_record_capacity(settings.epochs, metrics);
    let resumed = match engine.resume(study, &mut handlers) {
        Ok(resumed) => resumed,
        // The observer has received one load error per checkpoint. The directory contains no other run, so the run
        // starts from the beginning, as on a device.
        Err(RestoreError::NoneLoadable { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    // The last weights of a finished run, which fires no further event.
    checksum.set(study.checksum());
    if let Err(error) = recorder.record_start(resumed) {
        observer.on_warning(&error.to_string());
    }
    observer.on_start(resumed, batches);
    observer.on_weights(study);
    let (.., time_limit, _, _, _) = &handlers;
    let outcome = match resumed {
        Some(Resumed { epoch, iteration, .. }) if time_limit.is_used_up() && engine.outcome().is_none() => {
            Ok(Outcome { reason: StopReason::TimeLimit, epoch, iteration })
        }
        _ => engine.run(study, 0..batches, &mut handlers, |study: &mut Study, _, state| {
            let loss = study.step(state.epoch(), state.offset());
            if nan_at == Some(state.iteration()) { f32::NAN } else { loss }
        }),
    };

    let (profiler, .., time_limit, timer, best, latest) = &mut handlers;
    let mut outcome = outcome.map_err(|error| match [best.handler.last_error(), latest.handler.last_error()] {
        // The error of the run contains only the kind of the error. The store's error names the file.
        [Some(EncodeError::Io(cause)), _] | [_, Some(EncodeError::Io(cause))] => SaveError(cause.to_string()).into(),
        _ => Box::<dyn Error>::from(error),
    })?;
    let profile = format!("{}\n{best}\n{latest}", profiler.profiler);
    let parts = &profiler.profiler;
    recorder.record_profile(&[
        ("fetch", parts.fetch()),
        ("step", parts.step()),
        ("other", parts.other()),
        ("epoch", parts.epoch()),
        ("best", best.events()),
        ("best, saves", best.actions()),
        ("latest", latest.events()),
        ("latest, saves", latest.actions()),
    ]);
    if outcome.reason == StopReason::Interrupted && time_limit.has_interrupted() {
        outcome.reason = StopReason::TimeLimit;
    }
    if matches!(outcome.reason, StopReason::Interrupted | StopReason::TimeLimit) {
        // The checkpoint of an interrupted run contains these weights. The best ones are loaded for the result only.
        checksum.set(study.checksum());
        observer.on_weights(study);
    }
    let restored = match outcome.reason {
        StopReason::Interrupted | StopReason::TimeLimit => {
            best.handler.load_best(study).map_err(|error| error.to_string())
        }
        _ => best.handler.restored().map(|info| info.cloned()).map_err(ToString::to_string),
    };
    let restored = restored.map_err(|error| format!("cannot load the best checkpoint: {error}"))?;
    let best = restored.map(|info| Best { epoch: info.step, test: study.evaluate(Split::Test) });
    Ok(Summary {
        outcome,
        steps: timer.timer.step_count(),
        step_seconds: StdClock::seconds(timer.timer.total()),
        seconds: StdClock::seconds(time_limit.elapsed()),
        checksum: checksum.get(),
        was_finished: resumed.is_some_and(|resumed| resumed.iteration == outcome.iteration),
        best,
        profile,
    })
}
