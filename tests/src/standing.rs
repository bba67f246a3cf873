//! Records of runs that never were.

use training_monitor::engine::After;
use training_monitor::record::Record;

/// A record of a run without handlers that stands after `after`, with `iteration` counted, `offset` of which are done in an
/// epoch of `epoch_length`, 0 for one of unknown length.
pub fn standing(after: After, offset: u32, iteration: u32, epoch_length: u32) -> Record {
    let mut record = Record::new();
    record.engine.after = after;
    record.engine.epoch = 1;
    record.engine.iteration = iteration;
    record.engine.offset = offset;
    record.engine.drawn = offset;
    record.engine.epoch_length = epoch_length;
    record
}
