//! A step function that returns a struct, user-defined metrics, and a validation run with early stopping.
//!
//! The compiler cannot infer the types of a closure that reads the fields of a struct. `RunTypes` names the types of
//! the run once. An `Evaluator` runs a second engine at the end of each epoch. Early stopping is attached to that
//! engine. A checkpoint of the training run contains its state, so it survives a reset.
//!
//! Run it with `cargo run -p training-monitor --example struct_output --features derive`.

use serde::{Deserialize, Serialize};
use training_monitor::checkpoint::Named;
use training_monitor::engine::Evaluator;
use training_monitor::event::{Completed, EpochCompleted, IterationCompleted};
use training_monitor::finite::Finite;
use training_monitor::handler::RunTypes;
use training_monitor::handlers::keep::KeepMetrics;
use training_monitor::store::ram::Ram;
use training_monitor::{
    EarlyStopping, Engine, EventFilter, ModelCheckpoint, Outcome, State, StateDict, StopReason, TerminateOnNan, on,
};

#[derive(StateDict, Clone, Copy, PartialEq, Debug)]
struct Net {
    weight: [f32; 3],
}

impl Net {
    /// Returns the error of the prediction for the sample `number`, and the inputs of that sample.
    fn error(&self, number: u32) -> (f32, [f32; 3]) {
        let x = (number * 5 % 12) as f32 / 6.0 - 1.0;
        let inputs = [1.0, x, x * x];
        let prediction: f32 = self.weight.iter().zip(inputs).map(|(weight, input)| weight * input).sum();
        (prediction - (0.5 - x + 2.0 * x * x), inputs)
    }
}

/// The output of the training step.
#[derive(Clone, Copy, PartialEq, Debug)]
struct StepOutput {
    loss: f32,
    gradient_norm: f32,
}

/// `TerminateOnNan` stops a run with a NaN in the output. This implementation defines which fields it checks.
impl Finite for StepOutput {
    fn is_finite(&self) -> bool {
        (self.loss, self.gradient_norm).is_finite()
    }
}

/// The metrics of the training run. The evaluator writes `validation_loss`. `KeepMetrics` saves both fields, so that
/// `largest_gradient` includes the iterations before a reset.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
struct Metrics {
    validation_loss: f32,
    largest_gradient: f32,
}

/// The model type of the engine. It combines the network with its name in a checkpoint.
type Model = Named<'static, Net>;

/// Names the types of the training run: the model, the output of the step, and the metrics.
const TRAINING: RunTypes<Model, StepOutput, Metrics> = RunTypes::new();

/// One training step.
fn step(model: &mut Model, batch: u32, _: &mut State<StepOutput, Metrics>) -> StepOutput {
    let (error, inputs) = model.error(batch);
    let gradient = inputs.map(|input| error * input);
    for (weight, gradient) in model.weight.iter_mut().zip(gradient) {
        *weight -= 0.3 * gradient;
    }
    StepOutput { loss: error * error, gradient_norm: gradient.map(|g| g * g).iter().sum::<f32>().sqrt() }
}

/// Runs the training as a device does from a reset to the end, with at most `max_epochs` epochs.
fn run(max_epochs: u32, store: &mut Ram<3, 256>) -> Result<(Net, Metrics, Outcome), Box<dyn core::error::Error>> {
    // The metric of the validation run is its largest loss. Early stopping reads this loss at the end of each
    // validation run.
    let stopping = EarlyStopping::new(3)?.attach(Completed, |state: &State<f32, f32>| -state.metrics);
    let validation = Evaluator::new(Engine::with_metrics(1, 0.0), stopping).run_at(
        EpochCompleted,
        |model: &mut Model, training: &mut State<StepOutput, Metrics>, engine, stopping| {
            engine.state_mut().metrics = 0.0;
            let outcome = engine.run(model, 12..18, stopping, |model, batch, state| {
                let (error, _) = model.error(batch);
                state.metrics = state.metrics.max(error * error);
                error * error
            });
            training.metrics.validation_loss = engine.state().metrics;
            if let Ok(outcome) = outcome {
                training.terminate_if_stopped(&outcome);
            }
        },
    );
    let mut handlers = (
        KeepMetrics,
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        on(
            IterationCompleted,
            TRAINING.function(|_, state| {
                let gradient = state.output.map_or(0.0, |output| output.gradient_norm);
                state.metrics.largest_gradient = state.metrics.largest_gradient.max(gradient);
            }),
        ),
        // The evaluator comes before the checkpoint handler, which reads the validation loss of the same epoch as the
        // score.
        validation,
        ModelCheckpoint::<2>::best_by(TRAINING.score(|state| -state.metrics.validation_loss))
            .attach(EpochCompleted, store)?,
        on(
            EpochCompleted.every(10)?,
            TRAINING.function(|_, state| println!("epoch {}: {:?}", state.epoch(), state.metrics)),
        ),
    );
    let mut model = Named::new("net", Net { weight: [0.0; 3] });
    let metrics = Metrics { validation_loss: f32::INFINITY, largest_gradient: 0.0 };
    let mut engine = Engine::with_metrics(max_epochs, metrics);
    engine.resume(&mut model, &mut handlers)?;
    let outcome = engine.run(&mut model, 0..12, &mut handlers, step)?;
    Ok((model.object, engine.state().metrics, outcome))
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let expected = run(100, &mut Ram::new())?;
    let (net, metrics, outcome) = expected;
    println!("{outcome:?}, {net:?}, {metrics:?}");
    assert_eq!(outcome.reason, StopReason::EarlyStopping);
    assert!((net.weight[2] - 2.0).abs() < 1e-3 && metrics.largest_gradient > 1.0);

    // The first run ends after five epochs. After a reset, a second run resumes from the store and continues to the
    // end.
    let mut store = Ram::new();
    let (_, _, outcome) = run(5, &mut store)?;
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::MaxEpochs, 5));
    assert_eq!(run(100, &mut store)?, expected);
    Ok(())
}
