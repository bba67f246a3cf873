//! A user-defined handler whose state survives a restart. It is in a tuple with handlers of the library.
//!
//! The handler lowers the learning rate when the loss no longer falls, as PyTorch's `ReduceLROnPlateau` does. It counts
//! epochs, so a resumed run needs its counter. The program simulates a reset in each epoch; every resumed run ends with
//! the same weight and the same learning rate as a run without a reset.
//!
//! Run it with `cargo run -p training-monitor --example custom_handler --features derive`.

use serde::{Deserialize, Serialize};
use training_monitor::event::EpochCompleted;
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, Event, Handler, ModelCheckpoint, Objects, Outcome, State};

/// The model and its learning rate. The learning rate is not a tensor, so a checkpoint contains it as a plain value.
#[derive(Objects, Clone, Copy, PartialEq, Debug)]
struct Training {
    weight: f32,
    #[objects(value)]
    learning_rate: f32,
}

/// The handler, with its settings and its state.
struct ReduceOnPlateau {
    /// The number of epochs without an improvement after which the handler lowers the learning rate.
    patience: u32,
    factor: f32,
    plateau: Plateau,
}

/// The state of the handler, which changes during a run. Its postcard encoding must have at most 127 bytes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
struct Plateau {
    best: f32,
    epochs_without_improvement: u32,
}

impl ReduceOnPlateau {
    fn new(patience: u32, factor: f32) -> Self {
        let plateau = Plateau { best: f32::INFINITY, epochs_without_improvement: 0 };
        ReduceOnPlateau { patience, factor, plateau }
    }
}

/// The handler changes the learning rate, so it needs the model type `Training`. A handler that does not use the model
/// supports every model type: `impl<T: ?Sized> Handler<T, f32> for ...`.
impl Handler<Training, f32> for ReduceOnPlateau {
    fn on_event(&mut self, event: Event, training: &mut Training, state: &mut State<f32>) {
        let (Event::EpochCompleted, Some(loss)) = (event, state.output) else { return };
        if loss < self.plateau.best {
            self.plateau = Plateau { best: loss, epochs_without_improvement: 0 };
            return;
        }
        self.plateau.epochs_without_improvement += 1;
        if self.plateau.epochs_without_improvement >= self.patience {
            self.plateau.epochs_without_improvement = 0;
            training.learning_rate *= self.factor;
        }
    }

    // Saves and restores the state of this handler. Without this method, a resumed run would start with a new state.
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

impl Persist for ReduceOnPlateau {
    /// The number 1 identifies this kind of handler in a checkpoint. Each kind of handler in a program needs a
    /// different number.
    const KIND: HandlerKind = HandlerKind::user(1);
    type State = Plateau;
    fn save(&mut self) -> Plateau {
        self.plateau
    }
    fn restore(&mut self, plateau: Plateau) {
        self.plateau = plateau;
    }
}

/// Runs the training as a device does from a reset to the end. Returns `None` if a simulated reset interrupts the run
/// in epoch `reset_in`.
fn run(
    training: &mut Training,
    store: &mut Ram<2, 256>,
    reset_in: u32,
) -> Result<Option<Outcome>, Box<dyn core::error::Error>> {
    // The engine calls the handlers in tuple order. Checkpoints are saved after all these calls, so the position of the
    // checkpoint handler makes no difference.
    let mut handlers = (
        ModelCheckpoint::<1>::every(1)?.attach(EpochCompleted, store)?,
        ReduceOnPlateau::new(2, 0.5),
        EarlyStopping::new(4)?.attach(EpochCompleted, |state| -state.output.unwrap_or(f32::INFINITY)),
    );
    let mut engine = Engine::new(100).with_epoch_length(1);
    engine.resume(training, &mut handlers)?;
    while engine.begin_iteration(training, &mut handlers)? {
        if engine.state().epoch() == reset_in {
            return Ok(None);
        }
        // The loss is the distance between the weight and 1. Its gradient is 1 or -1, so the weight oscillates
        // around 1.
        training.weight += if training.weight < 1.0 { training.learning_rate } else { -training.learning_rate };
        engine.end_iteration((training.weight - 1.0).abs(), training, &mut handlers);
    }
    Ok(engine.outcome())
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let start = Training { weight: 0.0, learning_rate: 0.15 };
    let (mut expected, mut store) = (start, Ram::new());
    let outcome = run(&mut expected, &mut store, u32::MAX)?.ok_or("the run was interrupted")?;
    println!("{outcome:?}, {expected:?}");
    assert!(expected.learning_rate < 0.1 && (expected.weight - 1.0).abs() < 0.05);

    for reset_in in 2..outcome.epoch {
        let (mut interrupted, mut store) = (start, Ram::new());
        assert_eq!(run(&mut interrupted, &mut store, reset_in)?, None);
        let mut resumed = start;
        assert_eq!(run(&mut resumed, &mut store, u32::MAX)?, Some(outcome));
        assert_eq!(resumed, expected, "reset in epoch {reset_in}");
    }

    // A program without this handler cannot resume the run. The checkpoint contains the state of the handler, and no
    // other handler accepts it.
    let mut others = ModelCheckpoint::<1>::every(1)?.attach(EpochCompleted, &mut store)?;
    let error = Engine::<f32>::new(100).resume(&mut expected, &mut others);
    assert_eq!(error, Err(RestoreError::Unclaimed { kind: ReduceOnPlateau::KIND }));
    Ok(())
}
