//! Compares `ReduceOnPlateau` with its model after every operation.

use super::state::{bits, transfer_state};
use crate::models::number::{Counter, Number};
use crate::models::plateau::Plateau;
use arbitrary::Arbitrary;
use training_monitor::event::User;
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::{ConfigError, Engine, Event, Handler, ReduceOnPlateau, State, UserEvent};

#[derive(Arbitrary, Debug)]
pub(super) struct PlateauInput {
    initial: Number,
    lower: bool,
    factor: Fraction,
    patience: Counter,
    threshold: Number,
    relative: bool,
    cooldown: Counter,
    min_value: Number,
    eps: Number,
    operations: Vec<Operation>,
}

/// A fraction from 0 to 31/32, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fraction {
    Small(u8),
    Any(Number),
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Update(Number),
    /// The same metric several times. The handler receives it from a run.
    Repeated(Number, u8),
    Reset,
    Restart,
}

/// Builds the state machine, and checks that the library refuses exactly the invalid settings.
fn build(input: &PlateauInput, factor: f32) -> Option<ReduceOnPlateau> {
    let is_valid = |value: f32| value >= 0.0 && value.is_finite();
    let (Number(initial), Number(threshold)) = (input.initial, input.threshold);
    let (Number(min_value), Number(eps)) = (input.min_value, input.eps);
    let expected = if !initial.is_finite() {
        Some(ConfigError::PlateauValue)
    } else if !(0.0..1.0).contains(&factor) {
        Some(ConfigError::PlateauFactor)
    } else if !is_valid(threshold) {
        Some(ConfigError::PlateauThreshold)
    } else if !min_value.is_finite() {
        Some(ConfigError::PlateauValue)
    } else {
        Some(ConfigError::PlateauThreshold).filter(|_| !is_valid(eps))
    };
    let threshold_mode = if input.relative { ThresholdMode::Rel } else { ThresholdMode::Abs };
    let built = ReduceOnPlateau::new(initial)
        .and_then(|plateau| plateau.with_factor(factor))
        .and_then(|plateau| plateau.with_threshold(threshold, threshold_mode))
        .and_then(|plateau| plateau.with_min_value(min_value))
        .and_then(|plateau| plateau.with_eps(eps));
    assert_eq!(built.as_ref().err(), expected.as_ref(), "{input:?}");
    let mode = if input.lower { Mode::Min } else { Mode::Max };
    built.ok().map(|plateau| {
        plateau.with_mode(mode).with_patience(input.patience.0).with_cooldown(input.cooldown.0).with_name("fuzz")
    })
}

/// Performs the operations with the library and with the model.
pub(super) fn plateau(input: &PlateauInput) {
    let factor = match input.factor {
        Fraction::Small(share) => f32::from(share % 32) / 32.0,
        Fraction::Any(Number(factor)) => factor,
    };
    let Some(configured) = build(input, factor) else { return };
    let mut model = Plateau {
        initial: input.initial.0,
        lower: input.lower,
        factor,
        patience: input.patience.0,
        threshold: input.threshold.0,
        relative: input.relative,
        cooldown: input.cooldown.0,
        min_value: input.min_value.0,
        eps: input.eps.0,
        metrics: Vec::new(),
    };
    let attach = |plateau: ReduceOnPlateau| {
        let metric = |state: &State<f32>| state.output.unwrap_or(0.0);
        plateau.attach(User(1), metric, |value: &mut f32, new| *value = new)
    };
    let mut handler = attach(configured);
    // The parameter of the model that the handler changes.
    let mut parameter = f32::NAN;
    let mut engine = Engine::<f32>::new(1);
    let mut last = handler.plateau.value();
    for operation in &input.operations {
        match operation {
            Operation::Update(Number(metric)) => {
                model.metrics.push(*metric);
                parameter = handler.plateau.update(*metric);
            }
            Operation::Repeated(Number(metric), times) => {
                for _ in 0..*times % 8 {
                    model.metrics.push(*metric);
                    engine.state_mut().output = Some(*metric);
                    let event = Event::User(UserEvent { id: 1, value: 0 });
                    handler.on_event(event, &mut parameter, engine.state_mut());
                    assert_eq!(parameter, handler.plateau.value(), "{input:?}");
                }
            }
            Operation::Reset => {
                handler.plateau.reset();
                model.metrics.clear();
                last = handler.plateau.value();
            }
            Operation::Restart => {
                let mut restored = attach(configured);
                transfer_state::<f32, _, _>(&mut handler, &mut restored);
                handler = restored;
            }
        }
        let (plateau, progress) = (&handler.plateau, model.progress());
        assert_eq!(f64::from(plateau.value()), progress.value, "{input:?}");
        assert_eq!(bits(plateau.best()), bits(progress.best.map(|best| best as f32)), "{input:?}");
        assert_eq!(u64::from(plateau.bad_count()), progress.num_bad_epochs, "{input:?}");
        assert_eq!(plateau.cooldown_left(), progress.cooldown_counter, "{input:?}");
        assert!(plateau.value() <= last, "the value has grown from {last}: {input:?}");
        let minimum = input.min_value.0.min(input.initial.0);
        assert!(plateau.value() >= minimum, "below the minimum {minimum}: {input:?}");
        last = plateau.value();
    }
}
