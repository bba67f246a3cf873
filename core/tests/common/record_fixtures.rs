//! Run records (saved states of engine and handlers) that tests build by hand, without a run.

use training_monitor::engine::Phase;
use training_monitor::run_record::RunRecord;

/// Returns the run record (saved engine state) of a run in its first epoch, without handlers. `phase` is the last event
/// that the engine fired. `offset` is the number of completed iterations in the epoch, and `iteration` the number of
/// started iterations in the run. An `epoch_length` of 0 means that the length is unknown.
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
