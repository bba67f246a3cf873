//! Tests of the schedules: end points, extreme steps and invalid settings. The package `training-monitor-tests` compares
//! the values with torch and Ignite.

use training_monitor::handlers::schedules::{
    Anneal, Concat, ConcatArray, Constant, Cosine, CosineAnnealing, CosineRestarts, Cyclic, CyclicMode, Exponential,
    Lambda, Linear, LinearCyclical, MultiStep, OneCycle, PiecewiseLinear, Polynomial, StepDecay, Warmup,
};
use training_monitor::{ConfigError, Schedule};

/// Steps at which an overflow or a rounding error is most likely.
const STEPS: [u32; 14] = [
    0,
    1,
    2,
    3,
    1000,
    (1 << 24) - 1,
    1 << 24,
    (1 << 24) + 1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    u32::MAX - 2,
    u32::MAX - 1,
    u32::MAX,
];

/// Schedules with settings at the limits of their ranges.
fn extreme_schedules() -> Vec<Box<dyn Schedule>> {
    let mut all: Vec<Box<dyn Schedule>> = Vec::new();
    let values = [0.0, -1.0, 0.1, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1)];
    let sizes = [1, 2, 3, 7, (1 << 24) + 1, (1 << 31) + 1, u32::MAX];
    let factors = [0.0, f32::from_bits(1), 0.5, 0.999_999_94, 1.0, 1.000_000_1, 2.0, f32::MAX];
    for value in values {
        for factor in factors {
            all.push(Box::new(Exponential::new(value, factor).unwrap()));
            all.push(Box::new(MultiStep::new(value, &[0, 0, 1, u32::MAX, u32::MAX], factor).unwrap()));
        }
        for size in sizes {
            for factor in factors {
                all.push(Box::new(StepDecay::new(value, size, factor).unwrap()));
                all.push(Box::new(Linear::new(value, factor, 0.5, size).unwrap()));
                all.push(Box::new(Constant::new(value, factor, size).unwrap()));
                all.push(Box::new(Polynomial::new(value, factor, size).unwrap()));
                let size = size.max(2);
                if factor > 0.0 {
                    let linear = LinearCyclical::new(value, -value, size).unwrap().with_cycle_mult(factor).unwrap();
                    all.push(Box::new(linear.with_value_mults(factor, 2.0).unwrap()));
                    all.push(Box::new(linear.with_monotonic(size)));
                    let cosine = CosineAnnealing::new(value, 1.0, size).unwrap().with_cycle_mult(factor).unwrap();
                    all.push(Box::new(cosine.with_value_mults(0.5, factor).unwrap().with_warmup_duration(3)));
                }
            }
            all.push(Box::new(Cosine::new(value, size).unwrap().with_eta_min(f32::MAX).unwrap()));
            for t_mult in [1, 2, 3, u32::MAX] {
                let cosine = CosineRestarts::new(value, size).unwrap().with_t_mult(t_mult).unwrap();
                all.push(Box::new(cosine.with_eta_min(f32::MIN).unwrap()));
            }
            for pct_start in [0.0, 0.25, 0.5, 0.75, 1.0] {
                let cycle = OneCycle::new(value, size).unwrap().with_pct_start(pct_start).unwrap();
                all.push(Box::new(cycle.with_three_phase(true).with_anneal(Anneal::Linear)));
                all.push(Box::new(cycle.with_div_factors(f32::MAX, f32::MAX).unwrap()));
            }
            for mode in [CyclicMode::Triangular, CyclicMode::Triangular2, CyclicMode::ExpRange(0.5)] {
                all.push(Box::new(Cyclic::new(value, f32::MAX, size, u32::MAX).unwrap().with_mode(mode).unwrap()));
                all.push(Box::new(Cyclic::new(value, -value, 1, size).unwrap().with_mode(mode).unwrap()));
            }
            let inner = Cosine::new(value, size).unwrap();
            all.push(Box::new(Warmup::new(inner, f32::MAX, size.max(2)).unwrap().with_end_value(f32::MIN).unwrap()));
            all.push(Box::new(Concat::new(inner, size, inner).unwrap()));
            all.push(Box::new(ConcatArray::new([(inner, size), (inner, u32::MAX)], inner).unwrap()));
        }
    }
    all.push(Box::new(PiecewiseLinear::new(&[(0, f32::MIN), (u32::MAX, f32::MAX), (u32::MAX, 0.0)]).unwrap()));
    all
}

#[test]
fn every_step_has_a_finite_value() {
    for (index, schedule) in extreme_schedules().iter().enumerate() {
        for step in STEPS {
            let value = schedule.value(step);
            assert!(value.is_finite(), "schedule {index}, step {step}: {value}");
        }
    }
}

/// With a `cycle_mult` of nearly 1, the sizes change by one step per cycle, which is the longest search for a cycle.
#[test]
fn the_search_for_a_cycle_is_bounded() {
    for (size, cycle_mult) in [(65_536, 1.0 + 1.0 / 65_536.0), (92_682, 0.999_99), (2, 1.5), (u32::MAX, 0.5)] {
        let schedule = CosineAnnealing::new(1.0, 0.0, size).unwrap().with_cycle_mult(cycle_mult).unwrap();
        for _ in 0..100 {
            assert!((0.0..=1.0).contains(&schedule.value(std::hint::black_box(u32::MAX))));
        }
    }
}

#[test]
fn end_points_are_exact() {
    let (high, low) = (0.1, 0.007);
    let values = |schedule: &dyn Schedule, steps: [u32; 3]| steps.map(|step| schedule.value(step));
    let cosine = Cosine::new(high, 33).unwrap().with_eta_min(low).unwrap();
    assert_eq!(values(&cosine, [0, 33, u32::MAX]), [high, low, low]);
    let linear = Linear::new(1.0, 1.0 / 3.0, 0.7, 33).unwrap();
    assert_eq!(values(&linear, [0, 33, u32::MAX]), [1.0 / 3.0, 0.7, 0.7]);
    assert_eq!(values(&Polynomial::new(high, 0.5, 33).unwrap(), [0, 33, u32::MAX]), [high, 0.0, 0.0]);
    let milestones = [(3, high), (9, low)];
    let piecewise = PiecewiseLinear::new(&milestones).unwrap();
    assert_eq!(values(&piecewise, [0, 3, 9]), [high, high, low]);
    let cycle = OneCycle::new(high, 33).unwrap().with_pct_start(0.5).unwrap();
    assert_eq!(values(&cycle, [0, 32, 33]), [high / 25.0, high / 25.0 / 1e4, high / 25.0 / 1e4]);
    assert_eq!(OneCycle::new(high, 20).unwrap().with_pct_start(0.5).unwrap().value(9), high); // 0.5 · 20 − 1
    let cyclic = Cyclic::new(low, high, 3, 5).unwrap();
    assert_eq!(values(&cyclic, [0, 3, 8]), [low, high, low]);
    let triangle = LinearCyclical::new(high, low, 8).unwrap();
    assert_eq!(values(&triangle, [0, 4, 8]), [high, low, high]);
    let restarts = CosineRestarts::new(high, 3).unwrap().with_t_mult(2).unwrap();
    assert_eq!(values(&restarts, [0, 3, 9]), [high; 3]);
    let warmup = Warmup::new(cosine, low, 5).unwrap();
    assert_eq!(values(&warmup, [0, 4, 37]), [low, high, low]);
}

/// The cycles of an annealing with warm-up between them, compared with Ignite 0.5.5 for the same settings.
#[test]
fn a_warm_up_between_cycles_leads_to_the_next_start_value() {
    let annealing = CosineAnnealing::new(1.0, 0.0, 4).unwrap().with_value_mults(0.5, 1.0).unwrap();
    let values: Vec<f32> = (0..7).map(|step| annealing.with_warmup_duration(2).value(step)).collect();
    assert!((values[1] - 0.853_553_4).abs() < 1e-6 && (values[3] - 0.146_446_6).abs() < 1e-6, "{values:?}");
    assert_eq!([values[0], values[2], values[4], values[5], values[6]], [1.0, 0.5, 0.0, 0.25, 0.5]);
    let linear = LinearCyclical::new(1.0, 0.0, 4).unwrap().with_cycle_mult(2.0).unwrap();
    let linear = linear.with_monotonic(1);
    let values: Vec<f32> = (0..16).map(|step| linear.value(step)).collect();
    assert_eq!(values[..6], [1.0, 0.75, 0.5, 0.25, 0.0, 1.0]);
    assert_eq!(values[6..16], [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0, 0.5, 1.0]);
}

/// The sizes of cycles are truncated products with the decimal number that the program wrote, as in Ignite.
#[test]
fn cycle_sizes_are_truncated_products() {
    // The steps at which cycles start, computed by Ignite with 64-bit floats.
    for (size, cycle_mult, starts) in [
        (10, 1.3, [0, 10, 23, 39, 59]),
        (10, 1.1, [0, 10, 21, 33, 46]),
        (5, 1.4, [0, 5, 12, 21, 33]),
        (100, 0.7, [0, 100, 170, 219, 253]),
        (2, 1.4, [0, 2, 4, 6, 8]),
        (4, 0.5, [0, 4, 6, 7, 8]),
    ] {
        let schedule = LinearCyclical::new(1.0, 0.0, size).unwrap().with_cycle_mult(cycle_mult).unwrap();
        let schedule = schedule.with_value_mults(0.5, 1.0).unwrap();
        for (cycle, start) in (0..).zip(starts) {
            assert_eq!(schedule.value(start), 0.5_f32.powi(cycle), "{size} {cycle_mult} {start}");
        }
    }
}

#[test]
fn invalid_settings_are_rejected() {
    use ConfigError::{
        CycleMult, CycleSize, DivFactor, Milestones, PctStart, ScheduleFactor, ScheduleSteps, ScheduleValue,
        WarmupDuration,
    };
    let valid = Cosine::new(1.0, 1).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let errors = [
            StepDecay::new(bad, 1, 0.5).err(),
            MultiStep::new(bad, &[], 0.5).err(),
            Exponential::new(bad, 0.5).err(),
            Linear::new(bad, 0.5, 0.5, 1).err(),
            Constant::new(bad, 0.5, 1).err(),
            Polynomial::new(bad, 1.0, 1).err(),
            Cosine::new(bad, 1).err(),
            valid.with_eta_min(bad).err(),
            CosineRestarts::new(bad, 1).err(),
            CosineRestarts::new(1.0, 1).unwrap().with_eta_min(bad).err(),
            OneCycle::new(bad, 1).err(),
            Cyclic::new(bad, 1.0, 1, 1).err(),
            Cyclic::new(1.0, bad, 1, 1).err(),
            LinearCyclical::new(bad, 1.0, 2).err(),
            CosineAnnealing::new(1.0, bad, 2).err(),
            PiecewiseLinear::new(&[(0, 1.0), (1, bad)]).err(),
            Warmup::new(valid, bad, 2).err(),
            Warmup::new(valid, 0.0, 2).unwrap().with_end_value(bad).err(),
        ];
        assert_eq!(errors, [Some(ScheduleValue); 18]);
        let cyclical = LinearCyclical::new(1.0, 0.0, 2).unwrap();
        assert_eq!(cyclical.with_cycle_mult(bad), Err(CycleMult));
        assert_eq!(cyclical.with_value_mults(bad, 1.0), Err(ScheduleFactor));
        assert_eq!(cyclical.with_value_mults(1.0, bad), Err(ScheduleFactor));
        let cycle = OneCycle::new(1.0, 10).unwrap();
        assert_eq!(cycle.with_pct_start(bad), Err(PctStart));
        assert_eq!(
            (cycle.with_div_factors(bad, 1.0), cycle.with_div_factors(1.0, bad)),
            (Err(DivFactor), Err(DivFactor))
        );
    }
    for bad in [-0.5, f32::NAN, f32::INFINITY] {
        let errors = [
            StepDecay::new(1.0, 1, bad).err(),
            MultiStep::new(1.0, &[], bad).err(),
            Exponential::new(1.0, bad).err(),
            Linear::new(1.0, bad, 0.5, 1).err(),
            Linear::new(1.0, 0.5, bad, 1).err(),
            Constant::new(1.0, bad, 1).err(),
            Polynomial::new(1.0, bad, 1).err(),
            Cyclic::new(0.0, 1.0, 1, 1).unwrap().with_mode(CyclicMode::ExpRange(bad)).err(),
            Cyclic::new(0.0, 1.0, 1, 1).unwrap().with_mode(CyclicMode::ExpRange(1.5)).err(),
        ];
        assert_eq!(errors, [Some(ScheduleFactor); 9]);
    }
    let zero_steps = [
        StepDecay::new(1.0, 0, 0.5).err(),
        Linear::new(1.0, 0.5, 0.5, 0).err(),
        Polynomial::new(1.0, 1.0, 0).err(),
        Cosine::new(1.0, 0).err(),
        CosineRestarts::new(1.0, 0).err(),
        CosineRestarts::new(1.0, 1).unwrap().with_t_mult(0).err(),
        OneCycle::new(1.0, 0).err(),
        Cyclic::new(0.0, 1.0, 0, 1).err(),
        Cyclic::new(0.0, 1.0, 1, 0).err(),
        Concat::new(valid, 0, valid).err(),
        ConcatArray::new([(valid, 1), (valid, 0)], valid).err(),
    ];
    assert_eq!(zero_steps, [Some(ScheduleSteps); 11]);
    assert_eq!(MultiStep::new(1.0, &[3, 5, 4], 0.5), Err(Milestones));
    assert_eq!(PiecewiseLinear::new(&[(3, 1.0), (2, 1.0)]), Err(Milestones));
    assert_eq!(PiecewiseLinear::new(&[]), Err(Milestones));
    assert_eq!(LinearCyclical::new(1.0, 0.0, 1), Err(CycleSize));
    assert_eq!(CosineAnnealing::new(1.0, 0.0, 0), Err(CycleSize));
    assert_eq!(CosineAnnealing::new(1.0, 0.0, 2).unwrap().with_cycle_mult(0.0), Err(CycleMult));
    assert_eq!(Warmup::new(valid, 0.0, 1), Err(WarmupDuration));
    assert_eq!(OneCycle::new(1.0, 1).unwrap().with_pct_start(1.5), Err(PctStart));
    assert_eq!(OneCycle::new(1.0, 1).unwrap().with_div_factors(0.5, 1.0), Err(DivFactor));
}

#[test]
fn a_constant_schedule_can_be_a_constant_item() {
    const COSINE: Result<Cosine, ConfigError> = Cosine::new(1.0, 10);
    static MILESTONES: [u32; 2] = [1, 2];
    static STEPS: Result<MultiStep<'_>, ConfigError> = MultiStep::new(1.0, &MILESTONES, 0.5);
    assert_eq!((COSINE.unwrap().value(10), STEPS.unwrap().value(2)), (0.0, 0.25));
    // A reference to a schedule is a schedule.
    let schedule: &dyn Schedule = &COSINE.unwrap();
    assert_eq!(Concat::new(schedule, 1, Lambda(|step| step as f32)).map(|concat| concat.value(3)), Ok(2.0));
}

#[test]
fn a_reference_and_an_array_have_the_values_of_their_schedules() {
    let (first, second) = (StepDecay::new(4.0, 2, 0.5).unwrap(), StepDecay::new(3.0, 1, 0.5).unwrap());
    let array = ConcatArray::new([(first, 3), (second, 2)], first).unwrap();
    let nested = Concat::new(first, 3, Concat::new(second, 2, first).unwrap()).unwrap();
    let values = |schedule: &dyn Schedule| (0..8).map(|step| schedule.value(step)).collect::<Vec<_>>();
    assert_eq!(values(&nested), [4.0, 4.0, 2.0, 3.0, 1.5, 4.0, 4.0, 2.0]);
    assert_eq!(values(&array), values(&nested));
    assert_eq!(values(&&nested), values(&nested));
}
