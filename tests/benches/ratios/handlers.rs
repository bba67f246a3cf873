//! The instructions per iteration of the engine and its handlers, compared with the same checks in a manual loop.
//!
//! The benchmark runs itself under `valgrind --tool=callgrind` for n and for 2n iterations. The difference is exact,
//! and other programs on the machine do not affect it. The manual loop uses the same handlers without the engine
//! ([`EarlyStopping`], [`Timer`], …) and the same two counters.

use std::hint::black_box;
use std::process::Command;
use training_monitor::checkpoint::Named;
use training_monitor::event::{Completed, EpochCompleted, EventFilter, IterationCompleted};
use training_monitor::store::ram::Ram;
use training_monitor::time::Clock;
use training_monitor::{EarlyStopping, Engine, Handler, ModelCheckpoint, Objects, TerminateOnNan, Timer};

/// Iterations per epoch.
const EPOCH_LENGTH: u32 = 100;

/// A neuron. The cost of a training step is proportional to the number of weights.
#[derive(Objects)]
pub struct Neuron<const N: usize> {
    #[objects(rename = "model")]
    weights: [f32; N],
}

impl<const N: usize> Neuron<N> {
    #[inline(never)]
    fn step(&mut self, batch: u32) -> f32 {
        let input = |index: usize| ((index as u32 ^ batch) & 7) as f32 * 0.125;
        let output: f32 = self.weights.iter().enumerate().map(|(index, weight)| weight * input(index)).sum();
        let error = output - 1.0;
        for (index, weight) in self.weights.iter_mut().enumerate() {
            *weight -= 1e-6 * error * input(index);
        }
        error * error
    }
}

#[derive(Clone, Copy)]
struct Ticks;

impl Clock for Ticks {
    #[inline(never)]
    fn now(&mut self) -> u64 {
        black_box(0)
    }
}

type Store = Ram<2, 2048>;

/// Builds an early stopping rule. Its settings are opaque to the compiler, so that no variant can be optimised for
/// them.
fn stopping() -> EarlyStopping {
    black_box(EarlyStopping::new(u32::MAX).expect("a valid patience"))
}

fn policy() -> ModelCheckpoint<2> {
    black_box(ModelCheckpoint::every(u32::MAX).and_then(|policy| policy.with_n_saved(1)).expect("valid settings"))
}

/// Builds the four handlers of the benchmark. Early stopping and checkpoints are attached to `filter`, which is usually
/// the end of an epoch.
fn four_handlers<const N: usize, W: EventFilter + Copy>(filter: W) -> impl Handler<Neuron<N>, f32> {
    (
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        Timer::new(0).attach(Ticks).step(IterationCompleted),
        stopping().attach(filter, |state| -state.output.unwrap_or(0.0)),
        policy().attach(filter, Store::new()).expect("an empty store"),
    )
}

#[inline(never)]
fn run<const N: usize, H: Handler<Neuron<N>, f32>>(epochs: u32, mut handlers: H) {
    let mut neuron = Neuron::<N> { weights: [0.5; N] };
    let mut engine = Engine::new(epochs);
    let outcome = engine.run(&mut neuron, 0..EPOCH_LENGTH, &mut handlers, |neuron, batch, _| neuron.step(batch));
    black_box((outcome.is_ok(), neuron.weights, handlers.newest_checkpoint(None).is_ok()));
}

/// A training loop without the engine that only calls the step function. It shows the cost of the step alone.
#[inline(never)]
fn bare_loop<const N: usize>(epochs: u32) {
    let mut neuron = Neuron::<N> { weights: [0.5; N] };
    let mut output = 0.0;
    for _ in 0..epochs {
        for batch in 0..EPOCH_LENGTH {
            output = neuron.step(batch);
        }
    }
    black_box((output, neuron.weights));
}

/// A training loop without the engine that makes the same checks as the four handlers: NaN, timer, early stopping and
/// checkpoints.
#[inline(never)]
fn manual_loop<const N: usize, const EVERY_ITERATION: bool>(epochs: u32) {
    let mut neuron = Neuron::<N> { weights: [0.5; N] };
    let (mut timer, mut stopping, mut checkpoint) = (Timer::new(0), stopping(), policy());
    let mut store = Store::new();
    let (mut epoch, mut iteration, mut output) = (0u32, 0u32, 0.0f32);
    timer.reset(Ticks.now());
    'run: while epoch < epochs {
        epoch += 1;
        for batch in 0..EPOCH_LENGTH {
            iteration += 1;
            output = neuron.step(batch);
            timer.step();
            if !output.is_finite() {
                break 'run;
            }
            if EVERY_ITERATION {
                if stopping.update(-output) {
                    break 'run;
                }
                if checkpoint.update(None).is_some() {
                    save(&mut store, &neuron);
                }
            }
        }
        if !EVERY_ITERATION {
            if stopping.update(-output) {
                break 'run;
            }
            if checkpoint.update(None).is_some() {
                save(&mut store, &neuron);
            }
        }
    }
    timer.pause(Ticks.now());
    black_box((output, iteration, neuron.weights, timer, stopping));
}

#[cold]
#[inline(never)]
fn save<const N: usize>(store: &mut Store, neuron: &Neuron<N>) {
    let mut weights = neuron.weights;
    black_box((store, Named::new("model", &mut weights)));
}

/// A measured program: its name, and a function that runs it for the given number of epochs.
pub type Program = (&'static str, fn(u32));

pub const PROGRAMS: [Program; 18] = [
    ("bare loop, 8 weights", bare_loop::<8>),
    ("bare loop, 256 weights", bare_loop::<256>),
    ("manual loop, each epoch, 8 weights", manual_loop::<8, false>),
    ("manual loop, each epoch, 256 weights", manual_loop::<256, false>),
    ("manual loop, each iteration, 8 weights", manual_loop::<8, true>),
    ("manual loop, each iteration, 256 weights", manual_loop::<256, true>),
    ("engine, 4 handlers, each epoch, 8 weights", |epochs| run::<8, _>(epochs, four_handlers(EpochCompleted))),
    ("engine, 4 handlers, each epoch, 256 weights", |epochs| run::<256, _>(epochs, four_handlers(EpochCompleted))),
    ("engine, 4 handlers, each iteration, 8 weights", |epochs| run::<8, _>(epochs, four_handlers(IterationCompleted))),
    ("engine, 4 handlers, each iteration, 256 weights", |epochs| {
        run::<256, _>(epochs, four_handlers(IterationCompleted))
    }),
    ("engine, 0 inactive", |epochs| run::<8, _>(epochs, ())),
    ("engine, 4 inactive", |epochs| run::<8, _>(epochs, inactive())),
    ("engine, 8 inactive", |epochs| run::<8, _>(epochs, (inactive(), inactive()))),
    ("engine, 16 inactive", |epochs| run::<8, _>(epochs, (inactive(), inactive(), inactive(), inactive()))),
    ("engine, 0 guards", |epochs| run::<8, _>(epochs, ())),
    ("engine, 4 guards", |epochs| run::<8, _>(epochs, guards())),
    ("engine, 8 guards", |epochs| run::<8, _>(epochs, (guards(), guards()))),
    ("engine, 16 guards", |epochs| run::<8, _>(epochs, (guards(), guards(), guards(), guards()))),
];

/// Four NaN guards (handlers that stop the run at a NaN). Each one checks the output of every iteration.
fn guards() -> impl Handler<Neuron<8>, f32> {
    let guard = || TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output);
    (guard(), guard(), guard(), guard())
}

/// Four handlers that do nothing in an iteration, because they are attached to other events. They show the cost of
/// inactive handlers.
fn inactive() -> impl Handler<Neuron<8>, f32> {
    (
        TerminateOnNan::new().attach(Completed, |_, state| &state.output),
        Timer::new(0).attach(Ticks),
        stopping().attach(Completed, |state| -state.output.unwrap_or(0.0)),
        policy().attach(Completed, Store::new()).expect("an empty store"),
    )
}

/// Runs the program with this name. The benchmark starts itself under valgrind to call this.
pub fn run_program(name: &str, epochs: u32) {
    let program = PROGRAMS.iter().find(|program| program.0 == name).expect("a program");
    program.1(black_box(epochs));
}

/// Counts the instructions per iteration of a program. Returns `None` if valgrind is not installed.
pub fn count(name: &str) -> Option<f64> {
    let instructions = |epochs: u32| {
        let program = std::env::current_exe().ok()?;
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(program)
            .args(["--program", name, &epochs.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.lines().find_map(|line| line.split_once("Collected : "))?.1.trim().parse::<f64>().ok()
    };
    const EPOCHS: u32 = 100;
    Some((instructions(2 * EPOCHS)? - instructions(EPOCHS)?) / f64::from(EPOCHS * EPOCH_LENGTH))
}
