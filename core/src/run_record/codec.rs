//! The encoding of one handler's state: postcard's wire format.
//!
//! Every `serde` type is encoded with postcard. The handlers of this crate encode their states field by field, which
//! takes a fraction of the code of a generic serializer and produces the same bytes.

use super::{MAX_STATE, RunRecord};
use crate::varint;
use serde::{Serialize, de::DeserializeOwned};

/// A handler state that can be stored in a [`RunRecord`]. Implemented for every `Serialize + DeserializeOwned` type
/// whose postcard encoding has at most 127 bytes.
pub trait StateCodec: Sized {
    /// Appends the state to `encoder`.
    fn encode(&self, encoder: &mut StateEncoder<'_>);
    /// Reads a state from `decoder`. `None` if the bytes are not such a state.
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
    record: &'a mut RunRecord,
    /// Where the state starts in the record's bytes.
    start: usize,
}

impl<'a> StateEncoder<'a> {
    /// Starts a state: appends its kind and a placeholder for its length.
    #[inline(never)] // One copy of the code for all handlers.
    pub(super) fn start(record: &'a mut RunRecord, kind: u8) -> Self {
        record.append(kind);
        record.append(0);
        let start = record.states.len();
        StateEncoder { record, start }
    }

    /// Ends a state: fills in its length. The record becomes incomplete if the state is too long.
    #[inline(never)] // As for `start`.
    pub(super) fn finish(self) {
        let len = self.record.states.len().wrapping_sub(self.start);
        match self.record.states.get_mut(self.start.wrapping_sub(1)) {
            // A length below 128 is a varint of one byte.
            Some(place) if len <= MAX_STATE && self.record.count < super::MAX_STATES => {
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

    #[inline(never)] // As for `start`.
    pub(crate) fn write_u32(&mut self, value: u32) {
        varint::write_u32(value, |byte| self.record.append(byte));
    }

    pub(crate) fn write_opt_f32(&mut self, value: Option<f32>) {
        self.write_bool(value.is_some());
        value.iter().flat_map(|value| value.to_le_bytes()).for_each(|byte| self.write_u8(byte));
    }
}

/// Connects postcard's serializer to a [`StateEncoder`].
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

/// Reads the fields of one handler state. Every method returns `None` if the bytes end or are malformed.
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

    pub(crate) fn read_opt_f32(&mut self) -> Option<Option<f32>> {
        if !self.read_bool()? {
            return Some(None);
        }
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(Some(f32::from_le_bytes(*bytes)))
    }
}
