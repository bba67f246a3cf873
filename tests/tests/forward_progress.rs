//! Tests of the simulated device, of the power supplies and of the model of fixed intervals that the benchmark
//! `forward-progress` uses.

use training_monitor::embedded_storage::Storage;
use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use training_monitor_std::test_support::flash::ChipError;
use training_monitor_tests::forward_progress::cases::{Case, all, mixed_order};
use training_monitor_tests::forward_progress::device::{Device, FlashDriver, MemoryDriver};
use training_monitor_tests::forward_progress::model::{Durations, best_in_hindsight, calculated_optimum, predict};
use training_monitor_tests::forward_progress::parts::{Kind, PARTS, Part};
use training_monitor_tests::forward_progress::requirements::check;
use training_monitor_tests::forward_progress::simulation::{Measured, simulate};
use training_monitor_tests::forward_progress::stack::{Purpose, Rule, start};
use training_monitor_tests::forward_progress::supply::{OFF_TIME, Supply};
use training_monitor_tests::forward_progress::time::{
    DAY, HOUR, MICROSECOND, MILLISECOND, MINUTE, Nanos, SECOND, YEAR, format,
};
use training_monitor_tests::forward_progress::workload::{Network, Workload};

fn part(kind: Kind) -> &'static Part {
    PARTS.iter().find(|part| part.kind == kind).unwrap()
}

#[test]
fn each_operation_takes_the_time_of_the_data_sheet() {
    let device = Device::new(part(Kind::Nrf52840), None, 0);
    let mut flash = FlashDriver::<4, 4096>(&device);
    device.power_on(HOUR);
    flash.erase(0, 8192).unwrap();
    assert_eq!(device.now(), 2 * 85 * MILLISECOND);
    let before = device.now();
    flash.write(0, &[0; 64]).unwrap();
    // 16 words, and the checksum of 64 bytes.
    assert_eq!(device.now() - before, 16 * 41 * MICROSECOND + 64 * 156);
    let before = device.now();
    flash.read(0, &mut [0; 64]).unwrap();
    assert_eq!(device.now() - before, 64 * 156);
    assert_eq!(device.busy.get(), device.now());
    assert!(device.work(SECOND));
    assert_eq!(device.busy.get(), device.now() - SECOND);

    // A write that touches two pages takes two page programs.
    let timing = part(Kind::Rp2040).timing;
    assert_eq!(timing.write(192, 64), 400 * MICROSECOND + 64 * 120);
    assert_eq!(timing.write(224, 64), 800 * MICROSECOND + 64 * 120);
    // FRAM takes the time of the bus only: 5 bytes for command and address, then the data.
    assert_eq!(part(Kind::Fram).timing.write(0, 10), 5 * 500 + 10 * (500 + 156));
}

/// Power fails in the middle of each kind of operation. The clock stops at this moment, and all further calls fail.
#[test]
fn power_fails_in_the_middle_of_an_operation() {
    let device = Device::new(part(Kind::Stm32L4), None, 3);
    let mut flash = FlashDriver::<8, 2048>(&device);
    let mut expected = 0;
    device.power_on(33 * MILLISECOND);
    expected += 33 * MILLISECOND;
    assert_eq!(flash.erase(0, 4096), Err(ChipError::PowerOff)); // the second of two erases of 22 ms
    assert_eq!((device.is_on(), device.now(), device.interrupted.get()), (false, expected, [1, 0, 0]));
    assert_eq!(flash.read(0, &mut [0; 8]), Err(ChipError::PowerOff));
    assert!(!device.work(1));
    assert_eq!(device.chip().counts.erased, 2);

    device.power_off(OFF_TIME);
    device.power_on(22 * MILLISECOND + 200 * MICROSECOND);
    expected += OFF_TIME + 22 * MILLISECOND + 200 * MICROSECOND;
    flash.erase(0, 2048).unwrap();
    assert_eq!(flash.write(0, &[0; 64]), Err(ChipError::PowerOff)); // 8 programs of 82 µs, of which 2 are complete
    assert_eq!((device.is_on(), device.now(), device.interrupted.get()), (false, expected, [1, 1, 0]));
    assert_eq!(device.chip().counts.programmed, 16);

    device.power_off(OFF_TIME);
    device.power_on(MICROSECOND);
    assert_eq!(flash.read(0, &mut [0; 64]), Err(ChipError::PowerOff));
    assert_eq!(device.interrupted.get(), [1, 1, 1]);

    device.power_off(OFF_TIME);
    device.power_on(SECOND);
    let now = device.now();
    assert!(!device.work(2 * SECOND), "the power fails during the work");
    assert_eq!(device.now(), now + SECOND);
    assert_eq!(device.chip().violations(), []);

    let device = Device::new(part(Kind::Fram), None, 3);
    device.power_on(MICROSECOND);
    assert_eq!(MemoryDriver(&device).write(0, &[0; 64]), Err(ChipError::PowerOff));
    assert_eq!(device.interrupted.get(), [0, 1, 0]);
}

#[test]
fn the_device_compares_its_erases_with_the_budget() {
    let part = part(Kind::Stm32F4);
    let budget = part.budget(YEAR).unwrap();
    assert_eq!((budget.erases, budget.burst), (40_000, DAY));
    let allowed_at_start = budget.allowed(0);
    assert_eq!(allowed_at_start, 109); // 40 000 / 365
    let device = Device::new(part, Some(budget), 0);
    device.power_on(DAY);
    let mut flash = FlashDriver::<4, 131_072>(&device);
    for _ in 0..allowed_at_start {
        flash.erase(0, 131_072).unwrap();
    }
    assert_eq!(device.largest_excess.get(), 0);
    flash.erase(0, 131_072).unwrap();
    flash.erase(131_072, 2 * 131_072).unwrap();
    assert_eq!(device.largest_excess.get(), 2);
    assert_eq!(device.slot_erases.get(), allowed_at_start + 2);
}

#[test]
fn traces_are_deterministic_and_have_their_mean() {
    for supply in Supply::ALL {
        let trace = supply.trace(MINUTE, 60 * DAY, 10, 7);
        assert_eq!(trace, supply.trace(MINUTE, 60 * DAY, 10, 7));
        assert!(supply == Supply::Fixed || trace != supply.trace(MINUTE, 60 * DAY, 10, 8));
        let mean = trace.iter().sum::<Nanos>() as f64 / trace.len() as f64 / MINUTE as f64;
        assert!((mean - 1.0).abs() < 0.02, "{}: {mean}", supply.name());
        assert!(trace.iter().sum::<Nanos>() >= 60 * DAY);
        assert!(supply.trace(DAY, 0, 10, 7).len() == 10);
    }
    let range = |supply: Supply| {
        let trace = supply.trace(MINUTE, DAY, 10, 7);
        (trace.iter().min().unwrap() / SECOND, trace.iter().max().unwrap() / SECOND)
    };
    assert_eq!(range(Supply::Fixed), (60, 60));
    assert_eq!(range(Supply::Regular), (48, 71));
    assert_eq!(range(Supply::Periodic), (30, 89));
}

/// The search for the best interval trusts the model, so the model must agree with the real stack: the useful share, the
/// time of saves, and the number of saves.
#[test]
fn the_model_agrees_with_the_real_stack() {
    for (kind, interval, mean) in [
        (Kind::Nrf52840, 30 * SECOND, 10 * MINUTE),
        (Kind::Stm32L4, 500 * MILLISECOND, MINUTE),
        (Kind::Stm32F4, 7 * MINUTE, 10 * MINUTE),
        (Kind::Rp2040, 20 * SECOND, HOUR),
        (Kind::SpiNor, 3 * SECOND, MINUTE),
        (Kind::Fram, 2 * SECOND, MINUTE),
    ] {
        let part = part(kind);
        let durations = Durations::measure(part);
        for supply in [Supply::Fixed, Supply::Exponential, Supply::Bursty] {
            let trace = supply.trace(mean, 40 * mean, 40, 5);
            let predicted = predict(durations, None, interval, &trace).costs;
            let measured = simulate(part, None, &Rule::Fixed(interval), &trace, 5).costs;
            let name = format!("{}, {}: {predicted:?} {measured:?}", part.name, supply.name());
            assert!((predicted.useful_share() - measured.useful_share()).abs() < 0.002, "{name}");
            assert!((predicted.overhead() - measured.overhead()).abs() < 0.002, "{name}");
            assert!(predicted.saves.abs_diff(measured.saves) <= 2 + predicted.saves / 100, "{name}");
            assert!(predicted.powered == measured.powered && predicted.useful > 0, "{name}");
        }
    }
}

#[test]
fn the_best_interval_holds_the_bounds_and_no_other_is_better() {
    let part = part(Kind::Nrf52840);
    let durations = Durations { save: 359 * MILLISECOND, recovery: 28 * MILLISECOND };
    let trace = Supply::Exponential.trace(HOUR, 20 * DAY, 10, 1);
    let budget = part.budget(YEAR);
    let best = best_in_hindsight(durations, budget, &trace).unwrap();
    assert!(best.prediction.is_within_budget && best.prediction.costs.overhead() <= 0.035);
    // Wear limits the interval. Without wear, a shorter interval is better; close to the calculation of √(2 · save · mean).
    let without_wear = best_in_hindsight(durations, None, &trace).unwrap();
    assert!(without_wear.prediction.costs.useful > best.prediction.costs.useful);
    let calculated = calculated_optimum(durations, None, HOUR);
    assert_eq!(calculated / SECOND, 50);
    assert!((calculated / 2..2 * calculated).contains(&without_wear.interval), "{}", format(without_wear.interval));
    assert!(!predict(durations, budget, calculated, &trace).is_within_budget);
    // The calculation with wear is near the best interval.
    let calculated = calculated_optimum(durations, budget, HOUR);
    assert!((best.interval as f64 / calculated as f64 - 1.0).abs() < 0.1, "{}", format(best.interval));
    // The overhead limits the interval if the power fails often.
    assert_eq!(calculated_optimum(durations, None, SECOND) / MILLISECOND, 10_257);
}

/// A run whose power fails during saves, iterations and starts ends with the bits of an undisturbed run, with each rule.
#[test]
fn a_run_with_failures_has_the_bits_of_an_undisturbed_run() {
    for kind in [Kind::Stm32L4, Kind::Stm32F4, Kind::SpiNor, Kind::Fram] {
        let part = part(kind);
        let trace = Supply::Exponential.trace(5 * SECOND, HOUR, 200, 2);
        for rule in [Rule::Fixed(2 * SECOND), Rule::Adaptive(part.budget(YEAR))] {
            let measured = simulate(part, part.budget(YEAR), &rule, &trace, 2);
            let Measured { costs, interrupted, .. } = measured;
            assert!(measured.has_equal_bits && !measured.has_violations, "{} {rule:?}", part.name);
            assert!(costs.useful > 0 && costs.useful <= costs.executed && costs.executed < costs.powered);
            assert!(costs.useful + costs.saving + costs.recovery <= costs.powered + Network::ITERATION);
            assert!(interrupted.iter().sum::<u32>() > 0, "{} {rule:?}: {interrupted:?}", part.name);
            assert!(measured.most_lost_blocks <= part.blocks_per_slot() as u64);
        }
    }
}

/// The requirements of the benchmark hold in some cases of each kind: wear limits the interval, the duration of a save
/// does, and the memory does not wear out. The benchmark itself simulates all cases.
#[test]
fn the_policy_holds_the_requirements() {
    let case = |kind, supply, mean| Case { part: part(kind), lifetime: YEAR, supply, mean, seed: 3 };
    let cases = [
        case(Kind::Nrf52840, Supply::Exponential, HOUR),
        case(Kind::Stm32F4, Supply::Bursty, HOUR),
        case(Kind::SpiNor, Supply::Weibull, DAY),
        case(Kind::Fram, Supply::Exponential, MINUTE),
        case(Kind::Fram, Supply::Bursty, 10 * MINUTE),
    ];
    let results = cases.map(|case| case.run(Durations::measure(case.part)));
    let requirements = check(&results, &[]);
    let applied: Vec<_> = requirements.iter().filter(|requirement| requirement.cases > 0).collect();
    assert_eq!(applied.len(), 7, "{applied:?}");
    applied.iter().for_each(|requirement| assert!(requirement.holds(), "{requirement}"));
}

/// The check of the bits detects an iteration that is missing, repeated or executed in another order.
#[test]
fn the_bits_depend_on_every_iteration() {
    let expected = Network::after(1, 10);
    let bits = |iterations: &[u32]| {
        let mut network = Network::initial(1);
        iterations.iter().for_each(|iteration| network.iterate(*iteration));
        network
    };
    assert_eq!(bits(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), expected);
    assert_ne!(bits(&[1, 2, 3, 4, 5, 6, 7, 8, 10]), expected);
    assert_ne!(bits(&[1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10]), expected);
    assert_ne!(bits(&[1, 2, 4, 3, 5, 6, 7, 8, 9, 10]), expected);
}

#[test]
fn a_start_resumes_from_the_last_save() {
    let part = part(Kind::Nrf52840);
    let device = Device::new(part, None, 0);
    let run = |on_time: Nanos, purpose: Purpose| {
        device.power_on(on_time);
        let result = start(part, &device, &Rule::Fixed(SECOND), &mut Network::initial(0), purpose);
        device.power_off(OFF_TIME);
        result
    };
    let first = run(2 * SECOND, Purpose::Train);
    assert_eq!((first.resumed_at, first.saves, first.outcome), (Some(0), 1, None));
    assert!((13..=17).contains(&first.iterations), "{first:?}"); // 2 s without a save of 0.36 s
    assert!((350 * MILLISECOND..370 * MILLISECOND).contains(&first.longest_pause), "{first:?}");
    let second = run(MINUTE, Purpose::Inspect);
    assert_eq!((second.resumed_at, second.iterations), (Some(10), 0));
    assert_eq!(run(MILLISECOND, Purpose::Train).resumed_at, None);
}

#[test]
fn the_order_of_the_cases_contains_each_once() {
    let cases = all(0);
    let mut order = mixed_order(cases.len());
    // The first cases are of many kinds, because a short run simulates only these.
    let first: std::collections::HashSet<_> =
        order.iter().take(20).map(|index| (cases[*index].part.name, cases[*index].supply.name())).collect();
    assert!(first.len() > 10, "{first:?}");
    order.sort_unstable();
    assert_eq!(order, (0..cases.len()).collect::<Vec<_>>());
}
