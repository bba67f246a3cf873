//! The statistics of durations, compared with stored durations, at their limits, and as rows of a table.

use training_monitor::Profiler;
use training_monitor::handlers::profiler::TickStatistics;

/// Compares the statistics with stored durations.
fn assert_matches(statistics: &TickStatistics, durations: &[u64]) {
    let count = durations.len() as u32;
    let total: u64 = durations.iter().sum();
    let (min, max) = (durations.iter().min().copied(), durations.iter().max().copied());
    let numbers = (statistics.count(), statistics.total(), statistics.min(), statistics.max());
    assert_eq!(numbers, (count, total, min.unwrap_or(0), max.unwrap_or(0)));
    let mean = total as f64 / f64::from(count.max(1));
    let squares: f64 = durations.iter().map(|ticks| (*ticks as f64 - mean).powi(2)).sum();
    let deviation = if count < 2 { 0.0 } else { (squares / f64::from(count - 1)).sqrt() };
    let is_close = |value: f32, expected: f64| (f64::from(value) - expected).abs() <= expected * 3e-7;
    assert!(is_close(statistics.mean(), mean), "{} {mean}", statistics.mean());
    assert!(is_close(statistics.deviation(), deviation), "{} {deviation}", statistics.deviation());
}

#[test]
fn the_statistics_are_those_of_the_stored_durations() {
    let mut seed = 1_u64;
    for bits in [1, 8, 20, 32, 44, 56] {
        let (mut statistics, mut reversed, mut durations) = (TickStatistics::new(), TickStatistics::new(), Vec::new());
        assert_matches(&statistics, &durations);
        for _ in 0..200 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            durations.push(seed >> (64 - bits));
            statistics.update(seed >> (64 - bits));
            assert_matches(&statistics, &durations);
        }
        durations.iter().rev().for_each(|ticks| reversed.update(*ticks));
        assert_eq!(reversed, statistics, "the order of the durations does not matter");
    }
}

/// A sum of squares in floats would have no correct digit here.
#[test]
fn a_small_deviation_of_long_durations_is_exact() {
    let mut statistics = TickStatistics::new();
    (0..1000).for_each(|index| statistics.update((1 << 50) + index % 2));
    let expected = (250.0_f64 / 999.0).sqrt() as f32;
    assert_eq!(statistics.deviation(), expected);
    let mut equal = TickStatistics::new();
    (0..1000).for_each(|_| equal.update(u64::MAX / 1001));
    assert_eq!((equal.deviation(), equal.mean()), (0.0, (u64::MAX / 1001) as f32));
}

#[test]
fn the_largest_durations_saturate() {
    let mut statistics = TickStatistics::new();
    statistics.update(u64::MAX);
    assert_eq!((statistics.total(), statistics.min(), statistics.max()), (u64::MAX, u64::MAX, u64::MAX));
    assert_eq!((statistics.mean(), statistics.deviation()), (u64::MAX as f32, 0.0));
    statistics.update(0);
    assert_eq!((statistics.count(), statistics.total(), statistics.min()), (2, u64::MAX, 0));
    let deviation = (0.5_f64.sqrt() * u64::MAX as f64) as f32;
    assert_eq!(statistics.deviation(), deviation);
    // The total and the squares stop.
    (0..5).for_each(|_| statistics.update(u64::MAX));
    assert_eq!((statistics.count(), statistics.total(), statistics.max()), (7, u64::MAX, u64::MAX));
    assert!(statistics.deviation().is_finite() && statistics.mean() < u64::MAX as f32);
    assert!(!statistics.to_string().is_empty());
}

#[test]
fn the_table_is_aligned() {
    let mut statistics = TickStatistics::new();
    [999_999_999_999, 0, 3].into_iter().for_each(|ticks| statistics.update(ticks));
    assert_eq!(format!("{:<16}{statistics}", "step").len(), TickStatistics::HEADER.len());
    let table = Profiler::new().to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], TickStatistics::HEADER);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{table}");
}

/// The mean is rounded to the nearest number, and half a tick is rounded up, as the deviation.
#[test]
fn a_row_contains_rounded_numbers() {
    let row = |durations: &[u64]| {
        let mut statistics = TickStatistics::new();
        durations.iter().for_each(|ticks| statistics.update(*ticks));
        statistics.to_string().split_whitespace().map(|cell| cell.parse().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(row(&[]), [0; 6]);
    assert_eq!(row(&[7, 8]), [2, 15, 7, 8, 8, 1]); // 7.5 and 0.71
    assert_eq!(row(&[10, 10, 11]), [3, 31, 10, 11, 10, 1]); // 10.33 and 0.58
    assert_eq!(row(&[10, 11, 11]), [3, 32, 10, 11, 11, 1]); // 10.67 and 0.58
    assert_eq!(row(&[100, 101, 100, 101, 100]), [5, 502, 100, 101, 100, 1]); // 100.4 and 0.55
    assert_eq!(row(&[4, 4, 4, 4, 5]), [5, 21, 4, 5, 4, 0]); // 4.2 and 0.45
}
