//! Compares the schedules with the step-by-step rules of torch and Ignite, for random settings.
//!
//! The seed is printed with each difference. `SEED` and `CASES` in the environment select another seed and number of cases.

use training_monitor::Schedule;
use training_monitor::handlers::schedules::{
    Constant, Cosine, CosineAnnealing, CosineRestarts, Cyclic, CyclicMode, Exponential, Linear, LinearCyclical,
    MultiStep, Polynomial, StepDecay, Warmup,
};
use training_monitor_std::test_support::random::Random;
use training_monitor_tests::conformance::Tolerance;
use training_monitor_tests::models::schedules::{Curve, Cyclical, Torch, cosine_restarts, cyclic};

const STEPS: u32 = 300;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Calls `check` with a generator for each case. The generator of a case depends on its seed only.
fn for_each_case(check: impl Fn(&mut Random, &str)) {
    let seed = variable("SEED", 1);
    for case in 0..variable("CASES", 2000) {
        check(&mut Random::new(seed + case), &format!("SEED={} CASES=1", seed + case));
    }
}

fn number(random: &mut Random, bound: usize) -> u32 {
    u32::try_from(random.below(bound)).expect("a small bound")
}

/// Compares the values of `schedule` with the expected ones. `inputs` are the values among the settings.
fn compare(schedule: &dyn Schedule, expected: &[f64], inputs: &[f32], case: &str) {
    let inputs = inputs.iter().map(|input| f64::from(*input));
    let tolerance = Tolerance::new(expected.iter().copied().chain(inputs));
    for (step, (index, expected)) in (0..).zip(expected.iter().enumerate()) {
        let result = tolerance.expect_near(index, "value", *expected, schedule.value(step));
        assert!(result.is_ok(), "{case}: {result:?}");
    }
}

/// The settings are f32 values that f64 represents, too.
fn wide(value: f32) -> f64 {
    f64::from(value)
}

#[test]
fn recursive_schedules_of_torch_have_the_same_values() {
    for_each_case(|random, case| {
        let base = *random.pick(&[1.0_f32, 0.5, 0.1, 3e-4, -2.0]);
        let gamma = *random.pick(&[0.5_f32, 0.9, 0.99, 0.999, 1.0, 1.01]);
        let size = 1 + number(random, 60);
        let factors = [*random.pick(&[0.25_f32, 1.0, 0.1]), *random.pick(&[0.0_f32, 0.5, 1.0])];
        let eta_min = *random.pick(&[0.0_f32, 0.001, 0.3]);
        let power = *random.pick(&[1.0_f32, 2.0, 0.5]);
        let mut milestones: Vec<u32> = (0..random.below(6)).map(|_| number(random, 90)).collect();
        milestones.sort_unstable();
        let (model, schedule): (Torch, Box<dyn Schedule + '_>) = match random.below(7) {
            0 => (
                Torch::Step { step_size: size, gamma: wide(gamma) },
                Box::new(StepDecay::new(base, size, gamma).unwrap()),
            ),
            1 => (
                Torch::MultiStep { milestones: milestones.clone(), gamma: wide(gamma) },
                Box::new(MultiStep::new(base, &milestones, gamma).unwrap()),
            ),
            2 => (Torch::Exponential { gamma: wide(gamma) }, Box::new(Exponential::new(base, gamma).unwrap())),
            3 => (
                Torch::Linear { start_factor: wide(factors[0]), end_factor: wide(factors[1]), total_iters: size },
                Box::new(Linear::new(base, factors[0], factors[1], size).unwrap()),
            ),
            4 => (
                Torch::Constant { factor: wide(factors[0]), total_iters: size - 1 },
                Box::new(Constant::new(base, factors[0], size - 1).unwrap()),
            ),
            5 => (
                Torch::Polynomial { total_iters: size, power: wide(power) },
                Box::new(Polynomial::new(base, power, size).unwrap()),
            ),
            _ => (
                Torch::Cosine { t_max: size, eta_min: wide(eta_min) },
                Box::new(Cosine::new(base, size).and_then(|cosine| cosine.with_eta_min(eta_min)).unwrap()),
            ),
        };
        let case = format!("{case} {model:?} base {base}");
        compare(&*schedule, &model.values(wide(base), STEPS), &[base, eta_min], &case);
    });
}

#[test]
fn periodic_schedules_of_torch_have_the_same_values() {
    for_each_case(|random, case| {
        let base = *random.pick(&[1.0_f32, 0.5, 0.1, 3e-4]);
        let low = *random.pick(&[0.0_f32, 0.001, 0.3]);
        let (size, down, t_mult) = (1 + number(random, 40), 1 + number(random, 40), 1 + number(random, 4));
        let expected = cosine_restarts(wide(base), wide(low), size, t_mult, STEPS);
        let cosine = CosineRestarts::new(base, size).unwrap().with_t_mult(t_mult).unwrap().with_eta_min(low).unwrap();
        compare(&cosine, &expected, &[base, low], &format!("{case} {cosine:?}"));

        let gamma = *random.pick(&[0.9_f32, 0.99]);
        let mode = *random.pick(&[CyclicMode::Triangular, CyclicMode::Triangular2, CyclicMode::ExpRange(gamma)]);
        let value = |step| {
            let (height, cycle) = cyclic(wide(low), wide(base), size, down, step);
            let scale = match mode {
                CyclicMode::Triangular => 1.0,
                CyclicMode::Triangular2 => 0.5_f64.powf(cycle - 1.0),
                CyclicMode::ExpRange(gamma) => wide(gamma).powf(f64::from(step)),
            };
            wide(low) + height * scale
        };
        let expected: Vec<f64> = (0..STEPS).map(value).collect();
        let schedule = Cyclic::new(low, base, size, down).unwrap().with_mode(mode).unwrap();
        compare(&schedule, &expected, &[base, low], &format!("{case} {schedule:?}"));
    });
}

/// Returns a random scheduler of Ignite and the same schedule of the library.
fn cyclical(random: &mut Random) -> (Cyclical, Box<dyn Schedule>) {
    let curve = *random.pick(&[Curve::Cosine, Curve::Triangle, Curve::Monotonic]);
    let (start, end) = (*random.pick(&[1.0_f32, 0.1, 0.5]), *random.pick(&[0.0_f32, 0.01, 2.0]));
    let (size, warmup) = (2 + number(random, 40), number(random, 6));
    let warmup = if curve == Curve::Triangle { 0 } else { warmup };
    // The model gets the decimal number in f64, as a Python program does.
    let (cycle_mult, mult) = *random.pick(&[
        (1.0_f64, 1.0_f32),
        (2.0, 2.0),
        (1.5, 1.5),
        (1.1, 1.1),
        (1.3, 1.3),
        (1.25, 1.25),
        (0.5, 0.5),
        (0.9, 0.9),
        (0.7, 0.7),
    ]);
    let mults = [*random.pick(&[1.0_f32, 0.5, 0.9]), *random.pick(&[1.0_f32, 0.5])];
    let model = Cyclical {
        start_value: wide(start),
        end_value: wide(end),
        cycle_size: size,
        cycle_mult,
        start_value_mult: wide(mults[0]),
        end_value_mult: wide(mults[1]),
        warmup_duration: warmup,
        curve,
        event_index: 0,
    };
    let schedule: Box<dyn Schedule> = if curve == Curve::Cosine {
        let cosine = CosineAnnealing::new(start, end, size).unwrap().with_cycle_mult(mult).unwrap();
        Box::new(cosine.with_value_mults(mults[0], mults[1]).unwrap().with_warmup_duration(warmup))
    } else {
        let linear = LinearCyclical::new(start, end, size).unwrap().with_cycle_mult(mult).unwrap();
        let linear = linear.with_value_mults(mults[0], mults[1]).unwrap();
        Box::new(if curve == Curve::Monotonic { linear.with_monotonic(warmup) } else { linear })
    };
    (model, schedule)
}

#[test]
fn cyclical_schedules_of_ignite_have_the_same_values() {
    for_each_case(|random, case| {
        let (mut model, schedule) = cyclical(random);
        let case = format!("{case} {model:?}");
        let expected: Vec<f64> = (0..STEPS).map(|_| model.call()).collect();
        compare(&*schedule, &expected, &[], &case);
    });
}

/// Ignite builds the warm-up from milestones and removes the last one if its value is the first of the schedule.
#[test]
fn a_warm_up_gives_the_common_value_once() {
    for_each_case(|random, case| {
        let (mut model, schedule) = cyclical(random);
        if model.curve == Curve::Triangle {
            // Ignite's first value of a triangle is inexact, so it can differ from the start value.
            return;
        }
        let (start, duration) = (*random.pick(&[0.0_f32, 0.05]), 2 + number(random, 8));
        let end = *random.pick(&[None, Some(1.0_f32), Some(3.0)]);
        let first = schedule.value(0);
        let last_value = wide(end.unwrap_or(first));
        let warmup = Warmup::new(&*schedule, start, duration).unwrap();
        let warmup = end.map_or(Ok(warmup), |end| warmup.with_end_value(end)).unwrap();
        let slope = (last_value - wide(start)) / f64::from(duration - 1);
        let steps = if last_value == wide(first) { duration - 1 } else { duration };
        let case = format!("{case} warm-up {start} {end:?} {duration} {model:?}");
        let rise = (0..steps).map(|step| wide(start) + slope * f64::from(step));
        let expected: Vec<f64> =
            rise.collect::<Vec<_>>().into_iter().chain((steps..STEPS).map(|_| model.call())).collect();
        compare(&warmup, &expected, &[start], &case);
    });
}
