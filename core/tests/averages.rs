//! Tests of `RunningAverage` and `WeightAverage`: invalid settings, values that are not finite, numbers close to the
//! largest one, pairs of different lengths, and saved states.

use training_monitor::event::{IterationCompleted, Never};
use training_monitor::handler::RunTypes;
use training_monitor::run_record::{HandlerKind, RestoreError, RunRecord};
use training_monitor::{ConfigError, Engine, Event, Handler, RunningAverage, State, WeightAverage, on};

/// Pseudo-random bits.
struct Random(u32);

impl Random {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 ^ self.0 >> 15
    }

    /// A finite number of any magnitude.
    fn finite(&mut self) -> f32 {
        loop {
            let value = f32::from_bits(self.bits());
            if value.is_finite() {
                return value;
            }
        }
    }
}

// ---------------------------------------------------------------- RunningAverage

#[test]
fn alpha_is_above_0_and_at_most_1() {
    for alpha in [0.0, -0.5, 1.0001, f32::NAN, f32::INFINITY, -0.0] {
        assert_eq!(RunningAverage::new(alpha), Err(ConfigError::Alpha), "{alpha}");
    }
    let mut constant = RunningAverage::new(1.0).unwrap();
    assert_eq!((constant.update(3.0), constant.update(9.0)), (3.0, 3.0));
    assert!(RunningAverage::new(f32::MIN_POSITIVE).is_ok());
}

#[test]
fn a_value_that_is_not_finite_is_skipped() {
    let mut average = RunningAverage::new(0.5).unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(average.update(value).is_nan());
        assert_eq!(average.value(), None);
    }
    assert_eq!(average.update(2.0), 2.0);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(average.update(value), 2.0);
    }
    assert_eq!(average.update(4.0), 3.0);
    average.reset();
    assert_eq!((average.value(), average.update(-1.0)), (None, -1.0));
}

#[test]
fn the_average_of_finite_values_is_finite() {
    let mut random = Random(7);
    let just_below = f32::from_bits(f32::MAX.to_bits() - 1);
    for alpha in [1e-6, 0.02, 0.3, 0.5, 0.500_000_1, 0.9, 0.98, 0.999_999_9] {
        let mut average = RunningAverage::new(alpha).unwrap();
        for value in [f32::MAX, f32::MIN, f32::MIN, f32::MAX, just_below, f32::MAX, -just_below, f32::MIN] {
            assert!(average.update(value).is_finite(), "{alpha} {value}");
        }
        for _ in 0..2000 {
            assert!(average.update(random.finite()).is_finite(), "{alpha}");
        }
    }
}

/// With the weights `alpha` and 1 − `alpha`, the sum of the rounded weights is not 1, and the average would change.
#[test]
fn the_average_of_equal_values_is_that_value() {
    for alpha in [0.1, 0.3, 0.7, 0.9, 0.98, 0.9998] {
        for value in [0.1, 3.0e-45, 1.0e-40, -7.3, f32::MAX] {
            let mut average = RunningAverage::new(alpha).unwrap();
            assert!((0..1000).all(|_| average.update(value).to_bits() == value.to_bits()), "{alpha} {value}");
        }
    }
}

/// The smoothed output of a run with two epochs of three iterations, with a NaN in the second epoch.
fn smoothed_outputs(average: RunningAverage) -> Vec<f32> {
    let types = RunTypes::<Vec<f32>, f32, f32>::new();
    let mut handlers = (
        average.attach(
            IterationCompleted,
            types.score(|state| state.output.unwrap_or(f32::NAN)),
            types.store(|state, average| state.metrics = average),
        ),
        on(IterationCompleted, types.function(|log, state| log.push(state.metrics))),
    );
    let outputs = [4.0, 8.0, 2.0, f32::NAN, 6.0, f32::INFINITY];
    let mut log = Vec::new();
    let mut engine = Engine::with_metrics(2, 0.0).with_epoch_length(3);
    engine.run(&mut log, &outputs[..], &mut handlers, |_, output, _| *output).unwrap();
    // A second run with the same handlers begins anew.
    engine.restart();
    engine.run(&mut log, &outputs[1..], &mut handlers, |_, output, _| *output).unwrap();
    log
}

#[test]
fn an_average_begins_anew_with_each_run_or_epoch() {
    let average = RunningAverage::new(0.5).unwrap();
    let run = smoothed_outputs(average);
    assert_eq!(run[..6], [4.0, 6.0, 4.0, 4.0, 5.0, 5.0]);
    assert_eq!(run[6..9], [8.0, 5.0, 5.0]);
    let epoch = smoothed_outputs(average.per_epoch());
    assert_eq!(epoch[..3], [4.0, 6.0, 4.0]);
    assert!(epoch[3].is_nan()); // the first value of the epoch is NaN, so there is no average yet
    assert_eq!(epoch[4..9], [6.0, 6.0, 8.0, 5.0, 5.0]);
}

// ---------------------------------------------------------------- WeightAverage

#[test]
fn invalid_momenta_and_warm_ups_are_refused() {
    for momentum in [0.0, 1.0, -0.1, 1.5, f32::NAN, f32::INFINITY] {
        assert_eq!(WeightAverage::exponential(momentum), Err(ConfigError::Momentum), "{momentum}");
        let valid = WeightAverage::exponential(0.5).unwrap();
        assert_eq!(valid.with_warmup(momentum, 3), Err(ConfigError::Momentum), "{momentum}");
    }
    let valid = WeightAverage::exponential(0.5).unwrap();
    assert_eq!(valid.with_warmup(0.9, 0), Err(ConfigError::WarmupIterations));
}

/// Returns the momentum of each of the first updates.
fn momenta(mut average: WeightAverage, count: usize) -> Vec<f32> {
    let first = average.momentum();
    let update = |_| {
        assert!(average.update(|_| ()));
        average.momentum()
    };
    let momenta: Vec<f32> = (0..count).map(update).collect();
    assert_eq!(momenta[0], first);
    momenta
}

#[test]
fn the_warm_up_changes_the_momentum_linearly() {
    let warmup = |first, iterations| WeightAverage::exponential(0.5).unwrap().with_warmup(first, iterations).unwrap();
    assert_eq!(momenta(WeightAverage::exponential(0.25).unwrap(), 3), [0.25; 3]);
    assert_eq!(momenta(warmup(0.75, 3), 5), [0.75, 0.625, 0.5, 0.5, 0.5]);
    assert_eq!(momenta(warmup(0.25, 2), 3), [0.25, 0.5, 0.5]);
    assert_eq!(momenta(warmup(0.75, 1), 3), [0.75, 0.5, 0.5]); // Ignite divides by at least 1
    assert_eq!(momenta(warmup(0.75, u32::MAX), 1), [0.75]);
}

#[test]
fn the_equal_average_is_the_mean() {
    let mut mean = WeightAverage::equal();
    let mut averages = [f32::NAN; 2];
    mean.start(|pair| pair(&mut averages, &mut [100.0, 100.0]));
    for (n, weights) in [[1.0, 4.0], [3.0, 2.0], [5.0, 0.0], [7.0, -2.0]].iter().enumerate() {
        assert!(mean.update(|pair| pair(&mut averages, &mut { *weights })));
        assert_eq!(averages, [1.0 + n as f32, 4.0 - n as f32]);
    }
    assert_eq!((mean.updates(), mean.momentum()), (4, 0.25));
}

#[test]
fn an_update_without_a_start_copies_the_weights() {
    let mut ema = WeightAverage::exponential(0.25).unwrap();
    let mut averages = [f32::NAN, f32::INFINITY];
    assert!(ema.update(|pair| pair(&mut averages, &mut [1.0, -0.0])));
    assert_eq!((averages.map(f32::to_bits), ema.updates()), ([1.0_f32, -0.0].map(f32::to_bits), 1));
    assert!(ema.update(|pair| pair(&mut averages, &mut [5.0, 8.0])));
    assert_eq!((averages, ema.updates()), ([2.0, 2.0], 2));
}

/// An update is all or nothing: a NaN in the last pair leaves the averages of the first pair unchanged.
#[test]
fn a_weight_that_is_not_finite_skips_the_whole_update() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut ema = WeightAverage::exponential(0.5).unwrap();
        let (mut first, mut second) = ([1.0; 40], [2.0; 3]);
        let mut weights = ([3.0; 40], [4.0, 4.0, bad]);
        let before = (ema, first, second);
        let mut list = |pair: &mut dyn FnMut(&mut [f32], &mut [f32])| {
            pair(&mut first, &mut weights.0);
            pair(&mut second, &mut weights.1);
        };
        assert!(!WeightAverage::is_valid(&mut list));
        assert!(!ema.start(&mut list) && !ema.update(&mut list));
        assert_eq!((ema, first, second), before);
    }
}

#[test]
fn a_pair_of_different_lengths_changes_nothing() {
    let mut ema = WeightAverage::exponential(0.5).unwrap();
    let (mut first, mut short, mut long) = ([1.0], [2.0; 2], [3.0; 3]);
    let mut weights = [9.0];
    for swapped in [false, true] {
        let before = (ema, first, weights, short, long);
        let mut list = |pair: &mut dyn FnMut(&mut [f32], &mut [f32])| {
            pair(&mut first, &mut weights);
            if swapped { pair(&mut long, &mut short) } else { pair(&mut short, &mut long) }
        };
        assert!(!WeightAverage::is_valid(&mut list) && !ema.start(&mut list) && !ema.update(&mut list));
        assert!(!WeightAverage::swap(&mut list));
        assert_eq!((ema, first, weights, short, long), before);
    }
}

#[test]
fn empty_lists_and_slices_are_valid() {
    let mut mean = WeightAverage::equal();
    assert!(
        mean.start(|_| ()) && mean.update(|_| ()) && WeightAverage::is_valid(|_| ()) && WeightAverage::swap(|_| ())
    );
    assert!(mean.update(|pair| pair(&mut [], &mut [])));
    assert_eq!(mean.updates(), 2);
}

#[test]
fn two_swaps_restore_the_bits() {
    let mut random = Random(3);
    let mut averages: [f32; 37] = core::array::from_fn(|_| f32::from_bits(random.bits()));
    let mut weights = [f32::NAN, f32::from_bits(0x7FA0_0001), -0.0, 1.0e-45, f32::INFINITY];
    let mut tail: [f32; 32] = core::array::from_fn(|_| f32::from_bits(random.bits()));
    let bits = |a: &[f32], b: &[f32], c: &[f32]| [a, b, c].concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let before = bits(&averages, &weights, &tail);
    let mut swap = || {
        let (first, rest) = averages.split_at_mut(5);
        WeightAverage::swap(|pair| {
            pair(first, &mut weights);
            pair(rest, &mut tail);
        })
    };
    assert!(swap());
    assert!(swap());
    assert_eq!(bits(&averages, &weights, &tail), before);
    let (first, _) = averages.split_at_mut(5);
    WeightAverage::swap(|pair| pair(first, &mut weights));
    assert_eq!(bits(first, &weights, &[]), [&before[37..42], &before[..5]].concat());
}

#[test]
fn averages_of_finite_weights_are_finite() {
    let mut random = Random(5);
    let just_below = f32::from_bits(f32::MAX.to_bits() - 1);
    for momentum in [1e-6, 0.0002, 0.3, 0.5, 0.500_000_1, 0.9, 0.999_999_9] {
        let mut ema = WeightAverage::exponential(momentum).unwrap();
        let mut averages = [f32::MAX, f32::MIN, just_below, f32::MAX, 1.0, 1.0e-45];
        ema.start(|pair| pair(&mut averages, &mut [f32::MAX, f32::MIN, just_below, f32::MAX, 1.0, 1.0e-45]));
        for _ in 0..500 {
            let mut weights = [f32::MIN, f32::MIN, f32::MAX, just_below, random.finite(), -1.0e-45];
            assert!(ema.update(|pair| pair(&mut averages, &mut weights)));
            assert!(averages.iter().all(|average| average.is_finite()), "{momentum} {averages:?}");
        }
    }
}

/// With the weights m and 1 − m in f32, the average of constant weights would differ by 10⁻⁴ after many updates.
#[test]
fn constant_weights_have_a_constant_average() {
    for momentum in [0.0002, 0.1, 0.3, 0.7, 0.9] {
        let mut ema = WeightAverage::exponential(momentum).unwrap();
        let mut weights = [0.1, -7.3, f32::MAX, 1.0e-40];
        let mut averages = [0.0; 4];
        ema.start(|pair| pair(&mut averages, &mut weights));
        (0..5000).for_each(|_| assert!(ema.update(|pair| pair(&mut averages, &mut weights))));
        assert_eq!(averages, weights, "{momentum}");
    }
}

/// A record with a number of updates just below the maximum, as only a very long run saves it.
fn record_with_updates(updates: u32) -> RunRecord {
    use serde::{Deserialize, Serialize};
    use training_monitor::run_record::{HandlerStates, Persist};

    #[derive(Clone, Serialize, Deserialize)]
    struct Updates(Option<u32>);
    struct Fixture(Updates);
    impl Persist for Fixture {
        const KIND: HandlerKind = HandlerKind::WEIGHT_AVERAGE;
        type State = Updates;
        fn save(&mut self) -> Updates {
            self.0.clone()
        }
        fn restore(&mut self, _: Updates) {}
    }
    impl Handler<(), ()> for Fixture {
        fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<()>) {}
        fn persist(&mut self, _: &mut State<()>, states: &mut HandlerStates<'_>) {
            states.visit(self);
        }
    }
    Engine::new(1).record(&mut Fixture(Updates(Some(updates)))).unwrap()
}

#[test]
fn the_number_of_updates_stops_at_its_maximum() {
    let record = record_with_updates(u32::MAX - 1);
    let mut handler = WeightAverage::equal().attach(Never, |(): &mut (), _: &mut dyn FnMut(&mut [f32], &mut [f32])| ());
    Engine::<()>::new(1).restore(&record, &mut handler).unwrap();
    let mut mean = handler.weight_average;
    let mut averages = [1.0];
    for _ in 0..3 {
        assert!(mean.update(|pair| pair(&mut averages, &mut [2.0])));
        assert_eq!(mean.updates(), u32::MAX);
    }
    assert!(mean.momentum() > 0.0 && averages[0] >= 1.0);
}

/// The encodings that FORMAT.md specifies.
#[test]
fn states_have_the_documented_bytes() {
    let types = RunTypes::<(), f32>::new();
    let value = types.score(|state| state.output.unwrap_or(0.0));
    let mut handlers = (
        RunningAverage::new(0.5).unwrap().attach(IterationCompleted, value, |_: &mut State<f32>, _| ()),
        WeightAverage::equal().attach(IterationCompleted, types.pairs(|(), _| ())),
    );
    let mut engine = Engine::new(1);
    let bytes = |record: &RunRecord| {
        record.handlers().map(|(kind, _, bytes)| (kind.code(), bytes.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(bytes(&engine.record::<(), _>(&mut handlers).unwrap()), [(8, vec![0]), (9, vec![0])]);
    engine.run(&mut (), 0..200, &mut handlers, |_, _, _| 1.5).unwrap();
    let record = engine.record::<(), _>(&mut handlers).unwrap();
    assert_eq!(bytes(&record), [(8, vec![1, 0, 0, 0xC0, 0x3F]), (9, vec![1, 0xC8, 1])]);
}

#[test]
fn a_saved_average_that_is_not_finite_is_malformed() {
    use training_monitor::run_record::{HandlerStates, Persist};
    struct Fixture;
    impl Persist for Fixture {
        const KIND: HandlerKind = HandlerKind::RUNNING_AVERAGE;
        type State = Option<f32>;
        fn save(&mut self) -> Option<f32> {
            Some(f32::NAN)
        }
        fn restore(&mut self, _: Option<f32>) {}
    }
    impl Handler<(), f32> for Fixture {
        fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
        fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
            states.visit(self);
        }
    }
    let record = Engine::<f32>::new(1).record(&mut Fixture).unwrap();
    let mut handler = RunningAverage::new(0.5).unwrap().attach(Never, |_: &State<f32>| 0.0, |_: &mut State<f32>, _| ());
    let error = Engine::<f32>::new(1).restore::<(), _>(&record, &mut handler).unwrap_err();
    assert_eq!(error, RestoreError::Malformed { kind: HandlerKind::RUNNING_AVERAGE });
}

#[test]
fn tags_depend_on_every_setting() {
    use training_monitor::run_record::Persist;
    let running = RunningAverage::new(0.5).unwrap();
    let other = RunningAverage::new(0.75).unwrap();
    let tags = [running.tag(), other.tag(), running.per_epoch().tag(), running.with_name("loss").tag()];
    let ema = WeightAverage::exponential(0.5).unwrap();
    let warm = |first, iterations| ema.with_warmup(first, iterations).unwrap().tag();
    let more = [ema.tag(), warm(0.75, 1), warm(0.75, 2), WeightAverage::equal().tag(), ema.with_name("a").tag()];
    for tags in [&tags[..], &more] {
        let mut unique = tags.to_vec();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), tags.len(), "{tags:?}");
    }
}
