//! Encodes the state of one handler in postcard's wire format.
//!
//! States of user-defined handlers are `serde` types, which the crate postcard encodes. The handlers of this crate
//! encode their fields one by one. The bytes are the same, but the code is much smaller than a generic serializer.

use super::{MAX_STATE, MAX_STATES, RunRecord};
use crate::varint;
use serde::{Serialize, de::DeserializeOwned};

/// A handler state that can be stored in a [`RunRecord`] (the saved state of a run). All types with `Serialize` and
/// `DeserializeOwned` implement this trait. The postcard encoding of a state must have at most 127 bytes.
pub trait StateCodec: Sized {
    /// Appends the state to `encoder`.
    fn encode(&self, encoder: &mut StateEncoder<'_>);
    /// Reads a state from `decoder`. Returns `None` if the bytes do not encode such a state.
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self>;
}

impl<S: Serialize + DeserializeOwned> StateCodec for S {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        if postcard::serialize_with_flavor(self, PostcardSink(encoder)).is_err() {
            encoder.record.complete = false;
        }
    }

    fn decode(decoder: &mut StateDecoder<'_>) -> Option<S> {
        let (state, rest) = postcard::take_from_bytes(decoder.rest).ok()?;
        decoder.rest = rest;
        Some(state)
    }
}

/// Appends the fields of one handler state to a run record.
#[derive(Debug)]
pub struct StateEncoder<'a> {
    record: &'a mut RunRecord<[u8]>,
    /// The index of the state's first byte in the record.
    start: usize,
}

impl<'a> StateEncoder<'a> {
    /// Starts a handler state: appends the kind and the tag of the handler, and one byte that `finish` later replaces
    /// with the length.
    pub(super) fn start(record: &'a mut RunRecord<[u8]>, kind: u8, tag: u16) -> Self {
        let [low, high] = tag.to_le_bytes();
        [kind, low, high, 0].into_iter().for_each(|byte| record.append(byte));
        let start = record.len;
        StateEncoder { record, start }
    }

    /// Ends a handler state: writes its length to the byte that `start` reserved. If the state is too long, the record
    /// is marked as incomplete.
    #[inline(never)] // One copy of the code for all handlers.
    pub(super) fn finish(self) {
        let len = self.record.len.wrapping_sub(self.start);
        match self.record.states.get_mut(self.start.wrapping_sub(1)) {
            // The length is stored as a variable-length integer. A length below 128 takes one byte, so it fits into the
            // reserved byte.
            Some(place) if len <= MAX_STATE && self.record.count < MAX_STATES => {
                *place = len as u8;
                self.record.count += 1;
            }
            _ => self.record.complete = false,
        }
    }

    pub(crate) fn write_u8(&mut self, byte: u8) {
        self.record.append(byte);
    }

    pub(crate) fn write_bool(&mut self, value: bool) {
        self.write_u8(u8::from(value));
    }

    pub(crate) fn write_u64(&mut self, value: u64) {
        varint::write_u64(value, |byte| self.record.append(byte));
    }

    #[inline(never)] // One copy of the code for all handlers.
    pub(crate) fn write_u32(&mut self, value: u32) {
        varint::write_u32(value, |byte| self.record.append(byte));
    }

    pub(crate) fn write_f32(&mut self, value: f32) {
        value.to_le_bytes().into_iter().for_each(|byte| self.write_u8(byte));
    }

    pub(crate) fn write_opt_f32(&mut self, value: Option<f32>) {
        self.write_bool(value.is_some());
        value.iter().for_each(|value| self.write_f32(*value));
    }
}

/// Lets postcard's serializer write to a [`StateEncoder`].
struct PostcardSink<'b, 'a>(&'b mut StateEncoder<'a>);

impl postcard::ser_flavors::Flavor for PostcardSink<'_, '_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.write_u8(byte);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads the fields of one handler state from its bytes. Each method returns `None` if the bytes end too early or are
/// invalid.
#[derive(Debug)]
pub struct StateDecoder<'a> {
    pub(super) rest: &'a [u8],
}

impl StateDecoder<'_> {
    pub(crate) fn read_u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    pub(crate) fn read_bool(&mut self) -> Option<bool> {
        match self.read_u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn read_u64(&mut self) -> Option<u64> {
        varint::read_u64(|| self.read_u8())
    }

    #[inline(never)] // One copy of the code for all handlers.
    pub(crate) fn read_u32(&mut self) -> Option<u32> {
        varint::read_u32(|| self.read_u8())
    }

    pub(crate) fn read_f32(&mut self) -> Option<f32> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(f32::from_le_bytes(*bytes))
    }

    pub(crate) fn read_opt_f32(&mut self) -> Option<Option<f32>> {
        if self.read_bool()? { self.read_f32().map(Some) } else { Some(None) }
    }
}
