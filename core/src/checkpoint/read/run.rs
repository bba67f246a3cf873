//! Reads the run record of a checkpoint: the states of the engine and of the handlers. FORMAT.md specifies its fields.

use super::input::Input;
use crate::checkpoint::format::{STOP_REASON_USER, STOP_REASONS};
use crate::run_record::{EngineState, MAX_STATES, Phase, RunRecord};
use crate::state::StopReason;

/// Reads a run record from `input`. If `record` is given, the run record is copied to it. Otherwise, it is only
/// verified.
pub(super) fn read(input: &mut Input<'_>, mut record: Option<&mut RunRecord<[u8]>>) {
    let phase = Phase::from_code(input.read_u32());
    if phase.is_none() {
        input.fail_newer();
    }
    let epoch = input.read_u32();
    let iteration = input.read_u32();
    let offset = input.read_u32();
    let data_offset = input.read_u32();
    let epoch_length = input.read_u32();
    let max_epochs = if input.read_bool() { Some(input.read_u32()) } else { None };
    let stop = if input.read_bool() {
        match input.read_u32() {
            STOP_REASON_USER => Some(StopReason::User(input.read_u8())),
            code => {
                let reason = STOP_REASONS.get(code as usize).copied();
                if reason.is_none() {
                    input.fail_newer();
                }
                reason
            }
        }
    } else {
        None
    };
    let stop_epoch = input.read_bool();
    let count = input.read_u8();
    if count > MAX_STATES {
        input.fail_malformed();
    }
    if let Some(record) = record.as_deref_mut() {
        let phase = phase.unwrap_or(Phase::NotStarted);
        record.engine = EngineState {
            run: 0,
            phase,
            epoch,
            iteration,
            offset,
            data_offset,
            epoch_length,
            max_epochs,
            stop,
            stop_epoch,
        };
        record.start(count);
    }
    let mut copy = |byte| {
        if let Some(record) = record.as_deref_mut() {
            record.append(byte);
        }
        byte
    };
    for _ in 0..count {
        // The kind of the handler and its tag.
        (0..3).for_each(|_| _ = copy(input.read_u8()));
        let len = copy(input.read_u8());
        if len > 127 {
            input.fail_malformed();
        }
        for _ in 0..len {
            copy(input.read_u8());
        }
    }
}
