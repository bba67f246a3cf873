//! Writes the run record: the states of the engine and of the handlers. FORMAT.md specifies its fields. Each field is
//! written by hand, because a generic serializer needs several times more code for the same bytes.

use super::output::Output;
use crate::checkpoint::format::{STOP_REASON_USER, STOP_REASONS};
use crate::run_record::RunRecord;
use crate::state::StopReason;

pub(super) fn write(output: &mut Output<'_>, record: Option<&RunRecord<[u8]>>) {
    output.write_bool(record.is_some());
    let Some(record) = record else { return };
    let engine = &record.engine;
    output.write_u8(engine.phase as u8);
    for number in [engine.epoch, engine.iteration, engine.offset, engine.data_offset, engine.epoch_length] {
        output.write_u32(number);
    }
    output.write_bool(engine.max_epochs.is_some());
    if let Some(epochs) = engine.max_epochs {
        output.write_u32(epochs);
    }
    output.write_bool(engine.stop.is_some());
    match engine.stop {
        None => (),
        Some(StopReason::User(number)) => output.write_bytes(&[STOP_REASON_USER as u8, number]),
        Some(reason) => {
            let code = STOP_REASONS.iter().position(|known| *known == reason).unwrap_or(0);
            output.write_u8(code as u8);
        }
    }
    output.write_bool(engine.stop_epoch);
    output.write_u8(record.count);
    output.write_bytes(record.states());
}
