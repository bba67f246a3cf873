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
