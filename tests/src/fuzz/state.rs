//! What the targets of handlers share: the transfer of a saved state, and the comparison of numbers.

use training_monitor::checkpoint::{self, Contents, Named};
use training_monitor::run_record::RunRecord;
use training_monitor::{Engine, Handler};

/// Saves the state of `source` in a checkpoint, decodes the checkpoint, and restores the state into `target`.
pub(super) fn transfer_state<T, A: Handler<T, f32>, B: Handler<T, f32>>(source: &mut A, target: &mut B) {
    let mut engine = Engine::<f32>::new(1);
    let record = engine.record::<T, _>(source).expect("the record is large enough");
    let contents = Contents { record: Some(&record), ..Contents::new(0) };
    let mut bytes = Vec::new();
    checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", [0.0; 0])).expect("writing to a Vec does not fail");
    let mut decoded = RunRecord::new();
    let loaded = checkpoint::load(&bytes, &mut Named::new("m", [0.0; 0]), Some(&mut decoded));
    assert!(loaded.expect("the stream is intact").has_run);
    assert_eq!(decoded, record);
    engine.restore::<T, _>(&decoded, target).expect("the state of the same handler");
}

/// Returns the bits of a number. All NaNs have the same bits. Unlike `==`, a comparison of the bits distinguishes the
/// two zeros and treats NaNs as equal.
pub(super) fn bits(value: Option<f32>) -> Option<u32> {
    value.map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() })
}

/// Checks that `average` is the average `expected` of `values`, and not outside their range.
pub(super) fn check_average(average: f32, expected: f64, values: &[f64], case: &dyn std::fmt::Debug) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let average = f64::from(average);
    assert!((least..=greatest).contains(&average), "{average} is not from {least} to {greatest}: {case:?}");
    // Each update rounds three times. The second term is for products that are subnormal numbers.
    let count = values.len() as f64;
    let tolerance = count * (least.abs().max(greatest.abs()) * 3e-7 + 5e-45);
    assert!((average - expected).abs() <= tolerance, "{average} instead of {expected}: {case:?}");
}
