//! The run in a checkpoint, both ways: where the engine stands and the states of the handlers. Field by field, since
//! a generic (de)serializer takes several times the code for the same bytes; FORMAT.md has the table.

use super::encode::Encoder;
use super::input::Input;
use crate::engine::{After, EngineState};
use crate::record::Record;
use crate::state::StopReason;

/// The code of [`StopReason::User`], behind which its number follows.
const USER: u32 = 5;

/// The reasons whose code is their place.
const REASONS: [StopReason; USER as usize] = [
    StopReason::MaxEpochs,
    StopReason::EarlyStopping,
    StopReason::NonFinite,
    StopReason::SaveFailed,
    StopReason::StepFailed,
];

pub(super) fn write(to: &mut Encoder<'_>, record: Option<&Record>) {
    to.byte(u8::from(record.is_some()));
    let Some(record) = record else { return };
    let engine = &record.engine;
    to.byte(engine.after as u8);
    for number in [engine.epoch, engine.iteration, engine.offset, engine.drawn, engine.epoch_length] {
        to.number(number);
    }
    to.byte(u8::from(engine.max_epochs.is_some()));
    if let Some(epochs) = engine.max_epochs {
        to.number(epochs);
    }
    to.byte(u8::from(engine.stop.is_some()));
    match engine.stop {
        None => (),
        Some(StopReason::User(number)) => to.put(&[USER as u8, number]),
        Some(reason) => to.byte(REASONS.iter().position(|known| *known == reason).unwrap_or(0) as u8),
    }
    to.byte(u8::from(engine.stop_epoch));
    to.byte(record.count);
    to.put(&record.states);
}

/// Reads a run; into `record` where that is wanted, otherwise only past it.
pub(super) fn read(input: &mut Input<'_>, mut record: Option<&mut Record>) {
    let after = After::from_code(input.number());
    let epoch = input.number();
    let iteration = input.number();
    let offset = input.number();
    let drawn = input.number();
    let epoch_length = input.number();
    let max_epochs = if input.flag() { Some(input.number()) } else { None };
    let stop = if input.flag() {
        match input.number() {
            USER => Some(StopReason::User(input.byte())),
            code => {
                let reason = REASONS.get(code as usize).copied();
                if reason.is_none() {
                    input.malformed();
                }
                reason
            }
        }
    } else {
        None
    };
    let stop_epoch = input.flag();
    let count = input.byte();
    if after.is_none() || count > 127 {
        input.malformed();
    }
    if let Some(record) = record.as_deref_mut() {
        let after = after.unwrap_or(After::Nothing);
        record.engine =
            EngineState { after, epoch, iteration, offset, drawn, epoch_length, max_epochs, stop, stop_epoch };
        record.begin(count);
    }
    let mut add = |byte| {
        if let Some(record) = record.as_deref_mut() {
            record.add(byte);
        }
        byte
    };
    for _ in 0..count {
        add(input.byte());
        let len = add(input.byte());
        if len > 127 {
            input.malformed();
        }
        for _ in 0..len {
            add(input.byte());
        }
    }
}
