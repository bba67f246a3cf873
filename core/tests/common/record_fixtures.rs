//! Run records (saved states of engine and handlers) that tests build by hand or copy, without a run.

#![allow(dead_code, reason = "each test program uses a part of this module")]

use training_monitor::checkpoint::{self, Contents, Header, Named};
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

/// Returns a copy of `record` with the default capacity. The copy is made by a checkpoint, which contains the record.
pub fn copy_record(record: &RunRecord<[u8]>) -> RunRecord {
    let header = Header { run: record.engine.run, ..Header::default() };
    let contents = Contents { header, record: Some(record), ..Contents::new(0) };
    let mut bytes = Vec::new();
    checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", [0.0_f32])).expect("a complete record");
    let mut copy = RunRecord::new();
    checkpoint::load(&bytes, &mut Named::new("m", [0.0_f32]), Some(&mut copy)).expect("a valid checkpoint");
    copy
}
