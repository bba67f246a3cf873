//! Hand-built run records for tests.

use training_monitor::engine::Phase;
use training_monitor::run_record::RunRecord;

/// A record of a run without handlers, in its first epoch. `phase` is the last event that the engine fired. The run has
/// counted `iteration` iterations and completed `offset` of them in the current epoch. An `epoch_length` of 0 means that
/// the length is unknown.
pub fn record_fixture(phase: Phase, offset: u32, iteration: u32, epoch_length: u32) -> RunRecord {
    let mut record = RunRecord::new();
    record.engine.phase = phase;
    record.engine.epoch = 1;
    record.engine.iteration = iteration;
    record.engine.offset = offset;
    record.engine.data_offset = offset;
    record.engine.epoch_length = epoch_length;
    record
}
