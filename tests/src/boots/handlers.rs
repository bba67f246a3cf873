//! The handlers of a simulated program.

use super::net::Net;
use super::program::Program;
use super::watch::{STEP_TICKS, Watch};
use training_monitor::engine::{Evaluator, EvaluatorHandler};
use training_monitor::event::Counters;
use training_monitor::handlers::early_stopping::EarlyStoppingHandler;
use training_monitor::handlers::keep::KeepOutput;
use training_monitor::handlers::model_checkpoint::{
    CheckpointHandler, NoScore, RestoreBest, ScoreFunction, StepSource,
};
use training_monitor::handlers::plateau::PlateauHandler;
use training_monitor::handlers::roll_back::RollBackHandler;
use training_monitor::handlers::running_average::RunningAverageHandler;
use training_monitor::handlers::score_limits::ScoreLimitsHandler;
use training_monitor::handlers::spike_guard::{SpikeGuardHandler, SpikeVerdict, stop_run};
use training_monitor::handlers::terminate_on_nan::NanGuard;
use training_monitor::handlers::time_limit::TimeLimitHandler;
use training_monitor::handlers::timer::TimerHandler;
use training_monitor::handlers::weight_average::WeightAverageHandler;
use training_monitor::store::Store;
use training_monitor::{
    ConfigError, EarlyStopping, Engine, Event, EventFilter, Handler, ModelCheckpoint, ReduceOnPlateau, RollBack,
    RunningAverage, ScoreLimits, SpikeGuard, State, TerminateOnNan, TimeLimit, Timer, WeightAverage,
};

/// Computes a score from the state of the run.
type Score = Box<dyn FnMut(&State<f32>) -> f32>;
type Stopping = EarlyStoppingHandler<Event, Score>;
type Guard = NanGuard<Event, for<'a> fn(&'a Net, &'a State<f32>) -> &'a f32>;
type Clock = fn() -> u64;
/// Keeps the latest checkpoints.
pub type Latest<S> = CheckpointHandler<3, At, S, NoScore>;
/// Keeps the best checkpoints.
pub type Best<S> = CheckpointHandler<3, At, S, ScoreFunction<Score>>;
/// Keeps the best checkpoints, and restores the best one at the end of the run.
pub type Restoring<S> = RestoreBest<3, At, S, ScoreFunction<Score>, ()>;
/// The first checkpoint handler: one of the three.
pub type Primary<S> = (Option<Latest<S>>, Option<Best<S>>, Option<Restoring<S>>);
type Evaluate<S> = fn(&mut Net, &mut State<f32>, &mut Engine<f32>, &mut Primary<S>);
type Evaluation<S> = EvaluatorHandler<Event, Evaluate<S>, f32, (), Primary<S>>;

type Spikes = SpikeGuardHandler<Event, Score, fn(&mut SpikeGuard, SpikeVerdict, &mut State<f32>)>;
type Average = RunningAverageHandler<Event, Score, fn(&mut State<f32>, f32)>;
type Plateau = PlateauHandler<Event, Score, fn(&mut Net, f32)>;
type Weights = WeightAverageHandler<Event, fn(&mut Net, &mut dyn FnMut(&mut [f32], &mut [f32]))>;

/// The handlers that stop the run, reduce the rate, average the weights, or roll the run back, in this order.
pub type Limits<'w> = (
    Option<TimeLimitHandler<Event, Box<dyn FnMut() -> u64 + 'w>>>,
    Option<ScoreLimitsHandler<Event, Score>>,
    Option<Spikes>,
    Option<(Average, Plateau)>,
    Option<Weights>,
    Option<RollBackHandler<fn(&mut Net, &mut State<f32>)>>,
);

/// All handlers of a program. A handler that the program does not have is `None`.
pub type Handlers<'w, S> = (
    (Option<Guard>, [Option<Stopping>; 2], Option<TimerHandler<Clock>>, Option<KeepOutput>),
    Limits<'w>,
    Option<Evaluation<S>>,
    Primary<S>,
    Option<Latest<S>>,
    EventCounter<'w>,
);

/// Selects the events of a checkpoint handler, see [`Program::at`]. A handler without scores also saves at `Interrupt`.
#[derive(Clone, Copy, Debug)]
pub struct At {
    at: u8,
    interrupt: bool,
}

impl EventFilter for At {
    fn matches(&mut self, event: Event, _: &Counters) -> bool {
        match event {
            Event::IterationCompleted => matches!(self.at, 0 | 3),
            Event::EpochCompleted => matches!(self.at, 1 | 2),
            Event::Completed => matches!(self.at, 2..=4),
            Event::Interrupt => self.interrupt,
            _ => false,
        }
    }
}

/// Counts the events of a run, and interrupts the run on request.
#[derive(Debug)]
pub struct EventCounter<'w>(&'w Watch);

impl Handler<Net, f32> for EventCounter<'_> {
    fn on_event(&mut self, event: Event, _: &mut Net, state: &mut State<f32>) {
        self.0.events.set(self.0.events.get() + 1);
        if event != Event::SavedCheckpoint && self.0.must_stop() {
            state.interrupt();
        }
        if self.0.is_off() {
            state.terminate(training_monitor::StopReason::User(99));
        }
    }
}

/// Returns a score that depends on the position in the run and on `seed`. Scores repeat, and some are NaN.
fn score(seed: u64, purpose: u64) -> Score {
    Box::new(move |state| {
        let position = u64::from(state.iteration()) << 32 | u64::from(state.epoch());
        let hash = (position ^ seed.wrapping_mul(0x9E37_79B9) ^ purpose << 56).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        match hash >> 40 & 15 {
            15 => f32::NAN,
            number => number as f32 - 4.0,
        }
    })
}

/// Scores an evaluation by its output.
fn evaluation_score() -> Score {
    Box::new(|state| state.output.unwrap_or(f32::NAN) % 5.0)
}

fn latest<S: Store>(program: &Program, store: S, at: u8) -> Result<Latest<S>, String> {
    let policy = ModelCheckpoint::every(u32::from(program.interval)).map_err(|error| error.to_string())?;
    configure(policy, program)?.attach(At { at, interrupt: at != 4 }, store).map_err(|_| "attach".into())
}

fn configure<F>(policy: ModelCheckpoint<3, F>, program: &Program) -> Result<ModelCheckpoint<3, F>, String> {
    let source = [StepSource::Calls, StepSource::Iteration, StepSource::Epoch][usize::from(program.steps)];
    policy
        .with_n_saved(u32::from(program.saved))
        .and_then(|policy| policy.with_series_name(program.series_name()))
        .map(|policy| policy.with_step_source(source))
        .map_err(|error| error.to_string())
}

fn primary<S: Store>(program: &Program, store: S, seed: u64) -> Result<Primary<S>, String> {
    let at = if program.evaluator != 0 { 4 } else { program.at };
    if program.rule == 0 {
        return Ok((Some(latest(program, store, at)?), None, None));
    }
    let function = if program.evaluator != 0 { evaluation_score() } else { score(seed, 1) };
    let mut policy = ModelCheckpoint::best_by(function);
    if let Some(name) = program.score_name() {
        policy = policy.with_score_name(name).map_err(|error| error.to_string())?;
    }
    let handler = configure(policy, program)?.attach(At { at, interrupt: false }, store).map_err(|_| "attach")?;
    let restores = program.restore != 0 && program.evaluator == 0;
    Ok(if restores { (None, None, Some(handler.restore_best())) } else { (None, Some(handler), None) })
}

/// Returns a number from 0 to 100 that depends on the output of the step, and so on the weights.
fn remainder() -> Score {
    Box::new(|state| state.output.unwrap_or(0.0) % 101.0)
}

fn limits<'w>(program: &Program, watch: &'w Watch, seed: u64) -> Result<Limits<'w>, ConfigError> {
    let at = Event::IterationCompleted;
    let scores = ScoreLimits::new().with_check_finite(false);
    let (mut time, mut score_limits, mut spikes) = (None, None, None);
    match program.stop {
        1 => time = Some(TimeLimit::new(7 * STEP_TICKS)?.attach(at, Box::new(|| watch.ticks.get()) as _)),
        2 => score_limits = Some(scores.with_target(9.5)?.attach(at, score(seed, 3))),
        3 => score_limits = Some(scores.with_divergence_limit(6.0)?.attach(at, remainder())),
        4 => {
            let guard = SpikeGuard::new().with_warmup(2).with_relative_tolerance(0.8)?;
            spikes = Some(guard.attach(at, remainder(), stop_run as _));
        }
        _ => (),
    }
    let smooth = (program.smooth != 0).then(|| {
        let store: fn(&mut State<f32>, f32) = |state, average| state.output = Some(average);
        let average = RunningAverage::new(0.5)?.attach(at, remainder(), store);
        // The average of the same event, which the handler before this one has stored.
        let plateau = ReduceOnPlateau::new(8.0)?.with_patience(1).with_factor(0.5)?;
        Ok((
            average,
            plateau.attach(at, Box::new(|state: &State<f32>| state.output.unwrap_or(0.0)) as _, Net::set_rate as _),
        ))
    });
    let weights = (program.model == 4).then(|| Ok(WeightAverage::exponential(0.25)?.attach(at, Net::average as _)));
    let roll_back = (program.roll != 0).then(|| {
        let change: fn(&mut Net, &mut State<f32>) = |net, _| net.change();
        Ok(RollBack::new(2)?.attach(change))
    });
    Ok((time, score_limits, spikes, smooth.transpose()?, weights.transpose()?, roll_back.transpose()?))
}

/// The name of the second series.
pub const SECOND: &str = "second";

/// Creates the handlers of a program. The error "attach" is one of a store; each other error is a fault.
pub fn attach<'w, S: Store>(
    program: &Program,
    first: S,
    second: Option<S>,
    watch: &'w Watch,
    seed: u64,
) -> Result<Handlers<'w, S>, String> {
    let mut stopping = [None, None];
    for (place, patience) in stopping.iter_mut().zip(program.patience()) {
        let handler = EarlyStopping::new(patience).map_err(|error| error.to_string())?;
        *place = Some(handler.attach(Event::EpochCompleted, score(seed, 2)));
    }
    let guard: for<'a> fn(&'a Net, &'a State<f32>) -> &'a f32 = |net, _| net.first();
    let guard = (program.guard != 0).then(|| TerminateOnNan::new().attach(Event::IterationCompleted, guard));
    let clock: Clock = || 5;
    let timer = (program.timer != 0).then(|| Timer::new(0).attach(clock));
    let keep = (program.keep != 0).then_some(KeepOutput);
    let limits = limits(program, watch, seed).map_err(|error| error.to_string())?;
    let (mut evaluation, mut direct) = (None, (None, None, None));
    if program.evaluator != 0 {
        let call: Evaluate<S> = |net, trainer, engine, handlers| {
            if let Ok(outcome) = engine.run(net, 0..1, handlers, |net, _, _| *net.first()) {
                trainer.terminate_if_stopped(&outcome);
            }
        };
        let evaluator = Evaluator::new(Engine::<f32>::new(1), primary(program, first, seed)?);
        evaluation = Some(evaluator.run_at(Event::EpochCompleted, call));
    } else {
        direct = primary(program, first, seed)?;
    }
    let second = second.map(|store| {
        let policy = ModelCheckpoint::every(2).and_then(|policy| policy.with_n_saved(1)?.with_series_name(SECOND));
        policy
            .map_err(|error| error.to_string())?
            .attach(At { at: 0, interrupt: true }, store)
            .map_err(|_| String::from("attach"))
    });
    let second = second.transpose()?;
    Ok(((guard, stopping, timer, keep), limits, evaluation, direct, second, EventCounter(watch)))
}

/// Returns the first checkpoint handler.
pub fn first<'h, S: Store>(handlers: &'h mut Handlers<'_, S>) -> &'h mut Primary<S> {
    let (_, _, evaluation, direct, _, _) = handlers;
    match evaluation {
        Some(evaluation) => &mut evaluation.handlers,
        None => direct,
    }
}

/// Returns the stores of all checkpoint handlers.
pub fn stores<'h, S: Store>(handlers: &'h mut Handlers<'_, S>) -> Vec<&'h mut S> {
    let (_, _, evaluation, direct, second, _) = handlers;
    let (latest, best, restoring) = match evaluation {
        Some(evaluation) => &mut evaluation.handlers,
        None => direct,
    };
    let latest = latest.iter_mut().chain(second).map(CheckpointHandler::store_mut);
    let best = best.iter_mut().chain(restoring.iter_mut().map(|handler| &mut **handler));
    latest.chain(best.map(CheckpointHandler::store_mut)).collect()
}

/// Loads the best checkpoint of the first checkpoint handler. Returns its sequence number, if there is one.
pub fn load_best<S: Store>(handlers: &mut Handlers<'_, S>, net: &mut Net) -> Option<u32> {
    let info = match first(handlers) {
        (Some(latest), _, _) => latest.load_best(net).ok(),
        (_, Some(best), _) => best.load_best(net).ok(),
        (_, _, Some(restoring)) => restoring.load_best(net).ok(),
        _ => None,
    };
    info.flatten().map(|info| info.sequence)
}

/// The kinds and settings of the handlers whose states are saved, in the order of the handlers. The text is equal if
/// the settings are equal.
pub fn settings(program: &Program) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if program.guard != 0 {
        all.push(("TerminateOnNan", String::new()));
    }
    for patience in program.patience() {
        all.push(("EarlyStopping", patience.to_string()));
    }
    if program.timer != 0 {
        all.push(("Timer", String::new()));
    }
    if program.keep != 0 {
        all.push(("KeepOutput", String::new()));
    }
    let limits = [
        ("TimeLimit", program.stop == 1),
        ("SpikeGuard", program.stop == 4),
        ("RunningAverage", program.smooth != 0),
        ("ReduceOnPlateau", program.smooth != 0),
        ("WeightAverage", program.model == 4),
        ("RollBack", program.roll != 0),
    ];
    all.extend(limits.into_iter().filter(|(_, exists)| *exists).map(|(kind, _)| (kind, String::new())));
    all.push((
        "ModelCheckpoint",
        format!("{}/{}/{:?}/{}", program.series_name(), program.rule, program.score_name(), program.steps),
    ));
    if program.second != 0 {
        all.push(("ModelCheckpoint", format!("{SECOND}/0/None")));
    }
    all
}
