//! A complete training run on a host: checkpoint files, history, chart, progress line, clock, and resuming.
//!
//! The program trains a small network on the sine function and keeps two series of checkpoints in one directory: the
//! best two by validation loss, and the latest one. It interrupts the run in the middle, resumes it from the files, and
//! compares the result with a run that was not interrupted: both have the same bits. At the end it prints the names of
//! the files.
//!
//! Run it with `cargo run -p training-monitor-std --example desktop`. The program works in a temporary directory and
//! removes it at the end.

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::early_stopping::ThresholdMode;
use training_monitor::handlers::keep::KeepOutput;
use training_monitor::{
    EarlyStopping, Engine, ModelCheckpoint, Objects, Outcome, State, StateDict, StopReason, TerminateOnNan, Timer, on,
};
use training_monitor_std::history::HistoryEvent;
use training_monitor_std::{Directory, History, Progress, StdClock, chart};

const UNITS: usize = 12;
const SAMPLES: u32 = 32;

/// A network with one input, one hidden layer and one output. Each field is one tensor.
#[derive(StateDict, Clone, Copy, PartialEq, Debug)]
struct Net {
    weight: [f32; UNITS],
    bias: [f32; UNITS],
    output: [f32; UNITS],
}

/// The objects of a checkpoint. The directory stores one file for each object.
#[derive(Objects, Clone, Copy, PartialEq, Debug)]
struct Training {
    net: Net,
    momentum: Net,
}

/// The metrics of the run. A handler computes the validation loss at the end of each epoch.
struct Metrics {
    validation_loss: f32,
}

/// The types of the run: model, output of a step, metrics. They give types to the closures that read fields.
const RUN: RunTypes<Training, f32, Metrics> = RunTypes::new();

impl Net {
    /// The activations of the hidden layer and the error of the prediction.
    fn forward(&self, x: f32) -> ([f32; UNITS], f32) {
        let hidden: [f32; UNITS] = std::array::from_fn(|unit| (self.weight[unit] * x + self.bias[unit]).tanh());
        let prediction: f32 = hidden.iter().zip(&self.output).map(|(hidden, weight)| hidden * weight).sum();
        (hidden, prediction - x.sin())
    }

    /// The mean squared error over points that the training does not use.
    fn validation_loss(&self) -> f32 {
        let points = (0..SAMPLES).map(|index| (index as f32 + 0.5) / SAMPLES as f32 * 6.0 - 3.0);
        points.map(|x| self.forward(x).1.powi(2)).sum::<f32>() / SAMPLES as f32
    }
}

impl Training {
    fn new() -> Self {
        let zero = Net { weight: [0.0; UNITS], bias: [0.0; UNITS], output: [0.0; UNITS] };
        let weight = std::array::from_fn(|unit| 0.2 + unit as f32 / UNITS as f32);
        let bias = std::array::from_fn(|unit| unit as f32 / 3.0 - 2.0);
        Training { net: Net { weight, bias, ..zero }, momentum: zero }
    }

    /// One step of stochastic gradient descent with momentum. Returns the loss. The order of the samples depends only
    /// on the epoch, so a resumed run uses the same order.
    fn step(&mut self, batch: u32, epoch: u32) -> f32 {
        let sample = (batch * 13 + epoch * 5) % SAMPLES;
        let x = sample as f32 / SAMPLES as f32 * 6.0 - 3.0;
        let (hidden, error) = self.net.forward(x);
        let Training { net, momentum } = self;
        let update = |parameter: &mut f32, momentum: &mut f32, gradient: f32| {
            *momentum = 0.8 * *momentum + gradient;
            *parameter -= 0.02 * *momentum;
        };
        for (unit, hidden) in hidden.into_iter().enumerate() {
            let slope = error * net.output[unit] * (1.0 - hidden * hidden);
            update(&mut net.output[unit], &mut momentum.output[unit], error * hidden);
            update(&mut net.weight[unit], &mut momentum.weight[unit], slope * x);
            update(&mut net.bias[unit], &mut momentum.bias[unit], slope);
        }
        error * error
    }
}

/// The results at the end of a run, which the program compares.
#[derive(Clone, PartialEq, Debug)]
struct Summary {
    training: Training,
    outcome: Outcome,
    /// The network of the best checkpoint.
    best: Net,
    /// The iteration from which the run resumed.
    resumed_at: Option<u32>,
}

/// The whole program: trains in the directory `dir`, and resumes if the directory contains checkpoints. The step
/// function fails after the iteration `interrupt_after`, as if the user had stopped the program.
fn train(dir: &Path, interrupt_after: Option<u32>) -> Result<Summary, Box<dyn Error>> {
    let best = Directory::builder(dir, "best").require_empty(false).open()?;
    let latest = Directory::builder(dir, "latest").require_empty(false).open()?;
    let history = History::open(dir.join("history.jsonl"))?;
    let progress = Progress::new();
    let score = RUN.score(|state| -state.metrics.validation_loss);
    let step_seconds = Cell::new(0.0);
    let mut handlers = (
        // A checkpoint of the last iteration of an epoch is resumed before `EpochCompleted`. The output of that
        // iteration must then be restored.
        KeepOutput,
        TerminateOnNan::new().attach(IterationCompleted, RUN.reference(|training, _| &training.net.output)),
        // The duration of each step. The other timer measures the whole run, including the time before a resume.
        Timer::new(0)
            .attach(StdClock::new())
            .start(IterationStarted)
            .pause(IterationCompleted)
            .observe(IterationCompleted, |timer: &Timer, _| step_seconds.set(StdClock::seconds(timer.total()))),
        Timer::new(0).attach(StdClock::new()),
        on(IterationCompleted, |_, s| {
            history.record_iteration(s.iteration(), s.output.unwrap_or(f32::NAN), Some(step_seconds.get()));
        }),
        // This handler computes the validation loss. Handlers run in tuple order, so it precedes the handlers that read
        // the loss.
        on(
            EpochCompleted,
            RUN.function(|training, state| {
                let loss = training.net.validation_loss();
                state.metrics.validation_loss = loss;
                history.record_epoch(state.epoch(), &[("val_loss", loss.into())]);
                progress.set_score("validation loss", loss.into());
            }),
        ),
        EarlyStopping::new(8)?.with_threshold(1e-4, ThresholdMode::Abs)?.attach(EpochCompleted, score),
        progress.attach(|s| s.output.unwrap_or(f32::NAN)),
        ModelCheckpoint::<2>::best_by(score)
            .with_score_name("val_loss")?
            .attach(EpochCompleted, best)?
            // The loss falls in most epochs, and each save takes milliseconds. A minimum interval limits the number of
            // saves.
            .min_interval(5 * SAMPLES)
            .observe(history.observer("best")),
        ModelCheckpoint::<1>::every(100)?.attach(IterationCompleted, latest)?.observe(history.observer("latest")),
    );

    let mut training = Training::new();
    let mut engine = Engine::with_metrics(200, Metrics { validation_loss: f32::INFINITY });
    let resumed = engine.resume(&mut training, &mut handlers)?;
    history.record_resume(resumed)?;
    let step = |training: &mut Training, batch: u32, state: &mut State<f32, Metrics>| {
        if interrupt_after.is_some_and(|iteration| state.iteration() > iteration) {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        Ok(training.step(batch, state.epoch()))
    };
    let outcome = engine.try_run(&mut training, 0..SAMPLES, &mut handlers, step)?;
    history.record_stop(&outcome);
    history.flush()?;
    println!("{outcome:?} after {:.3} s", handlers.3.seconds(StdClock::HERTZ));

    let mut loaded = training;
    handlers.8.load_best(&mut loaded)?;
    Ok(Summary { training, outcome, best: loaded.net, resumed_at: resumed.map(|resumed| resumed.iteration) })
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let expected = train(&dir.path().join("uninterrupted"), None)?;
    assert!(expected.best.validation_loss() < 0.01, "the network has learned the sine function");

    let run = dir.path().join("run");
    let interrupted = train(&run, Some(350)).expect_err("the run is interrupted");
    println!("interrupted: {interrupted}");
    let resumed = train(&run, None)?;
    // The newest of all checkpoints is the third one of the series "latest". It is from iteration 300, so the run
    // resumes there.
    assert_eq!(resumed, Summary { resumed_at: Some(300), ..expected });
    assert_eq!(resumed.outcome.reason, StopReason::EarlyStopping);

    // The history contains each iteration once, although the iterations 301 to 350 ran twice.
    let events = History::read(run.join("history.jsonl"))?;
    let iterations = events.iter().filter_map(|event| match event {
        HistoryEvent::Iteration { iteration, .. } => Some(*iteration),
        _ => None,
    });
    assert!(iterations.eq(1..=resumed.outcome.iteration));

    chart::write(run.join("history.jsonl"), run.join("run.svg"), "sine")?;
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&run)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    println!("{}", names.join("\n"));
    // Two series: two checkpoints and one checkpoint, each with a file for `net` and a file for `momentum`. The other
    // files are the history, the chart and the lock of each series.
    let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    assert_eq!((count("best_"), count("latest_"), names.len()), (4, 2, 10));
    Ok(())
}
