//! Compares `RunningAverage` and `WeightAverage` with models that remember every value.

use super::decode;
use super::state::{check_average, transfer_state};
use crate::models::averages::{Rule, RunningAverage as RunningModel, WeightAverage as WeightModel};
use crate::models::number::{Counter, Number};
use arbitrary::Arbitrary;
use training_monitor::event::User;
use training_monitor::handlers::weight_average::AverageRule;
use training_monitor::{ConfigError, Engine, Event, Handler, RunningAverage, State, UserEvent, WeightAverage};

#[derive(Arbitrary, Debug)]
enum Input {
    Running { alpha: Fraction, per_epoch: bool, operations: Vec<RunningOperation> },
    Weights { rule: RuleInput, operations: Vec<WeightOperation> },
}

/// A fraction from 1/256 to 1, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fraction {
    Share(u8),
    Any(Number),
}

impl Fraction {
    fn value(self) -> f32 {
        match self {
            Fraction::Share(share) => (f32::from(share) + 1.0) / 256.0,
            Fraction::Any(Number(value)) => value,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum RunningOperation {
    Update(Number),
    /// The handler receives the value from a run, several times.
    Repeated(Number, u8),
    EpochStarted,
    Started,
    Reset,
    Restart,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum RuleInput {
    Exponential(Fraction),
    Warmup(Fraction, Fraction, Counter),
    Equal,
}

#[derive(Arbitrary, Debug)]
enum WeightOperation {
    Set(u8, Number),
    SetAll([Number; COUNT]),
    Start,
    Update,
    /// Updates through the handler, several times with a change of a weight.
    Repeated(u8, Number),
    /// The event `Started`.
    Started,
    Swap,
    /// Operations on pairs of different lengths, which change nothing.
    DifferentLengths,
    Restart,
}

/// The event at which the handlers update their averages.
const UPDATE: Event = Event::User(UserEvent { id: 1, value: 0 });

/// The number of weights, in two slices.
const COUNT: usize = 5;

/// The fuzz target for the averages.
pub fn averages(data: &[u8]) {
    match decode::<Input>(data) {
        Some(Input::Running { alpha, per_epoch, operations }) => running(alpha.value(), per_epoch, &operations),
        Some(Input::Weights { rule, operations }) => weights(rule, &operations),
        None => (),
    }
}

fn running(alpha: f32, per_epoch: bool, operations: &[RunningOperation]) {
    let case = (alpha, per_epoch, operations);
    let built = RunningAverage::new(alpha);
    let is_valid = alpha > 0.0 && alpha <= 1.0;
    assert_eq!(built.as_ref().err(), Some(&ConfigError::Alpha).filter(|_| !is_valid), "{case:?}");
    let Ok(built) = built else { return };
    let configured = if per_epoch { built.per_epoch() } else { built };
    let attach = |average: RunningAverage| {
        let value = |state: &State<f32>| state.output.unwrap_or(f32::NAN);
        // The output stands for the metrics of the run.
        average.attach(User(1), value, |state: &mut State<f32>, average| state.output = Some(average))
    };
    let mut handler = attach(configured);
    let mut model = RunningModel { alpha, values: Vec::new() };
    let mut engine = Engine::<f32>::new(1);
    for operation in operations {
        match operation {
            RunningOperation::Update(Number(value)) => {
                model.update(*value);
                handler.running_average.update(*value);
            }
            RunningOperation::Repeated(Number(value), times) => {
                for _ in 0..*times % 8 {
                    model.update(*value);
                    engine.state_mut().output = Some(*value);
                    handler.on_event(UPDATE, &mut (), engine.state_mut());
                    let stored = engine.state().output.filter(|stored| !stored.is_nan());
                    assert_eq!(stored, handler.running_average.value(), "{case:?}");
                }
            }
            RunningOperation::EpochStarted => {
                handler.on_event(Event::EpochStarted, &mut (), engine.state_mut());
                if per_epoch {
                    model.values.clear();
                }
            }
            RunningOperation::Started => {
                handler.on_event(Event::Started, &mut (), engine.state_mut());
                model.values.clear();
            }
            RunningOperation::Reset => {
                handler.running_average.reset();
                model.values.clear();
            }
            RunningOperation::Restart => {
                let mut restored = attach(configured);
                transfer_state::<(), _, _>(&mut handler, &mut restored);
                assert_eq!(restored.running_average, handler.running_average, "{case:?}");
                handler = restored;
            }
        }
        let average = handler.running_average.value();
        assert_eq!(average.is_some(), model.value().is_some(), "{case:?}");
        if let (Some(average), Some(expected)) = (average, model.value()) {
            let values: Vec<f64> = model.values.iter().map(|value| f64::from(*value)).collect();
            check_average(average, expected, &values, &case);
        }
    }
}

/// The weights and their averages, in two pairs of slices.
#[derive(Clone, Debug)]
struct Model {
    averages: ([f32; 2], [f32; 3]),
    weights: ([f32; 2], [f32; 3]),
}

impl Model {
    fn pairs(&mut self, pair: &mut dyn FnMut(&mut [f32], &mut [f32])) {
        pair(&mut self.averages.0, &mut self.weights.0);
        pair(&mut self.averages.1, &mut self.weights.1);
    }

    fn set(&mut self, index: usize, value: f32) {
        match self.weights.0.get_mut(index) {
            Some(weight) => *weight = value,
            None => self.weights.1[index - 2] = value,
        }
    }

    fn weights(&self) -> Vec<f32> {
        [&self.weights.0[..], &self.weights.1].concat()
    }

    fn averages(&self) -> Vec<f32> {
        [&self.averages.0[..], &self.averages.1].concat()
    }

    fn bits(&self) -> Vec<u32> {
        self.weights().into_iter().chain(self.averages()).map(f32::to_bits).collect()
    }
}

fn weights(rule: RuleInput, operations: &[WeightOperation]) {
    let is_momentum = |value: f32| value > 0.0 && value < 1.0;
    match rule {
        RuleInput::Equal => average_weights(WeightAverage::equal(), Rule::Equal, operations),
        RuleInput::Exponential(momentum) => {
            let momentum = momentum.value();
            let built = WeightAverage::exponential(momentum);
            let expected = Some(&ConfigError::Momentum).filter(|_| !is_momentum(momentum));
            assert_eq!(built.as_ref().err(), expected, "{rule:?}");
            let model = Rule::Exponential(momentum, momentum, 1);
            built.into_iter().for_each(|average| average_weights(average, model, operations));
        }
        RuleInput::Warmup(momentum, first, Counter(iterations)) => {
            let (momentum, first) = (momentum.value(), first.value());
            let built = WeightAverage::exponential(momentum).and_then(|rule| rule.with_warmup(first, iterations));
            let expected = if !is_momentum(momentum) || !is_momentum(first) {
                Some(&ConfigError::Momentum)
            } else {
                Some(&ConfigError::WarmupIterations).filter(|_| iterations == 0)
            };
            assert_eq!(built.as_ref().err(), expected, "{rule:?}");
            let model = Rule::Exponential(momentum, first, iterations);
            built.into_iter().for_each(|average| average_weights(average, model, operations));
        }
    }
}

fn average_weights<R: AverageRule>(configured: WeightAverage<R>, rule: Rule, operations: &[WeightOperation])
where
    WeightAverage<R>: PartialEq + std::fmt::Debug,
{
    let case = (rule, operations);
    let attach = |average: WeightAverage<R>| average.attach(User(1), Model::pairs);
    let mut handler = attach(configured);
    let mut expected = WeightModel { rule, start: None, updates: Vec::new() };
    let mut model = Model { averages: ([f32::NAN; 2], [f32::INFINITY; 3]), weights: ([0.0; 2], [1.0; 3]) };
    let mut engine = Engine::<f32>::new(1);
    let mut skipped = 0;
    for operation in operations {
        let before = model.clone();
        // Whether an operation was done that a weight which is not finite prevents.
        let mut is_refused = false;
        match operation {
            WeightOperation::Set(index, Number(weight)) => model.set(usize::from(*index) % COUNT, *weight),
            WeightOperation::SetAll(weights) => {
                weights.iter().enumerate().for_each(|(index, Number(weight))| model.set(index, *weight));
            }
            WeightOperation::Start => {
                let is_started = handler.weight_average.start(|pair| model.pairs(pair));
                assert_eq!(is_started, expected.start(&before.weights()), "{case:?}");
                is_refused = !is_started;
            }
            WeightOperation::Update => {
                let is_updated = handler.weight_average.update(|pair| model.pairs(pair));
                assert_eq!(is_updated, expected.update(&before.weights()), "{case:?}");
                is_refused = !is_updated;
            }
            WeightOperation::Repeated(index, Number(weight)) => {
                for times in 0..*index % 8 {
                    model.set(usize::from(*index) % COUNT, if times % 2 == 0 { *weight } else { 0.5 });
                    handler.on_event(UPDATE, &mut model, engine.state_mut());
                    skipped += u32::from(!expected.update(&model.weights()));
                }
            }
            WeightOperation::Started => {
                handler.on_event(Event::Started, &mut model, engine.state_mut());
                expected = WeightModel { rule, start: None, updates: Vec::new() };
                is_refused = !expected.start(&before.weights());
                skipped += u32::from(is_refused);
            }
            WeightOperation::Swap => {
                assert!(WeightAverage::swap(|pair| model.pairs(pair)), "{case:?}");
                let swapped = [before.averages(), before.weights()].concat();
                let swapped: Vec<u32> = swapped.into_iter().map(f32::to_bits).collect();
                assert_eq!(model.bits(), swapped, "{case:?}");
                assert!(WeightAverage::swap(|pair| model.pairs(pair)), "{case:?}");
                assert_eq!(model.bits(), before.bits(), "{case:?}");
            }
            WeightOperation::DifferentLengths => {
                let average = &mut handler.weight_average;
                let mut pairs = |pair: &mut dyn FnMut(&mut [f32], &mut [f32])| {
                    pair(&mut model.averages.0, &mut model.weights.0);
                    pair(&mut model.averages.1[1..], &mut model.weights.1);
                };
                assert!(!average.start(&mut pairs) && !average.update(&mut pairs), "{case:?}");
                assert!(!WeightAverage::swap(&mut pairs) && !WeightAverage::is_valid(&mut pairs), "{case:?}");
                is_refused = true;
            }
            WeightOperation::Restart => {
                // The averages are tensors of the model, so the state contains only the number of updates.
                let mut restored = attach(configured);
                transfer_state::<Model, _, _>(&mut handler, &mut restored);
                assert_eq!(restored.weight_average, handler.weight_average, "{case:?}");
                (handler, skipped) = (restored, 0);
            }
        }
        if is_refused {
            assert_eq!(model.bits(), before.bits(), "{case:?}");
        }
        assert_eq!(handler.skipped(), skipped, "{case:?}");
        assert_eq!(handler.weight_average.updates() as usize, expected.updates.len(), "{case:?}");
        let momentum = expected.momentum(expected.updates.len() as u32);
        let difference = f64::from(handler.weight_average.momentum()) - momentum;
        assert!(difference.abs() <= 1e-6, "{difference}: {case:?}");
        for (index, average) in model.averages().into_iter().enumerate() {
            if let Some(value) = expected.average(index) {
                check_average(average, value, &expected.history(index), &case);
            }
        }
    }
}
