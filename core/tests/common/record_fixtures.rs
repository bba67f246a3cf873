//! Hand-built run records for tests.

use training_monitor::engine::After;
use training_monitor::record::Record;

/// A record of a run without handlers, in its first epoch. `after` is the last event that the engine fired. The run has
/// counted `iteration` iterations and completed `offset` of them in the current epoch. An `epoch_length` of 0 means that
/// the length is unknown.
pub fn record_fixture(after: After, offset: u32, iteration: u32, epoch_length: u32) -> Record {
    let mut record = Record::new();
    record.engine.after = after;
    record.engine.epoch = 1;
    record.engine.iteration = iteration;
    record.engine.offset = offset;
    record.engine.drawn = offset;
    record.engine.epoch_length = epoch_length;
    record
}
