//! Checks that a value can be loaded again: deserializes what the value serializes to.
//!
//! Not every `serde` type can be read back from `postcard`, because the format stores no field names and no types. The
//! check needs no buffer for the whole value: it serializes the value again for each piece of [`WINDOW`] bytes.

use crate::checkpoint::read::{ChecksummedSource, Input, ReadFailure};
use crate::hash::Hash;
use serde::{Serialize, de::DeserializeOwned};

/// The number of bytes of the value that are in memory at the same time. A larger window needs fewer serializations.
const WINDOW: usize = if cfg!(target_pointer_width = "64") { 4096 } else { 64 };

/// Returns whether the value, which serializes to `len` bytes, can be deserialized from these bytes and then serializes
/// to the same bytes.
pub(super) fn loads_again<S: Serialize + DeserializeOwned>(value: &S, len: u32) -> bool {
    let mut source = Replay { value, len, position: 0, start: 0, window: [0; WINDOW], filled: 0 };
    let loaded = Input::new(&mut source).read_value::<S>("", len);
    loaded.is_some_and(|loaded| hash_of(&loaded) == hash_of(value))
}

fn hash_of<S: Serialize>(value: &S) -> u32 {
    let mut hash = Hash::NEW;
    let mut add = |byte| {
        hash = hash.bytes(&[byte]);
        true
    };
    // The encoder has already serialized the value, so the serializer does not fail.
    let _ = postcard::serialize_with_flavor(value, EachByte(&mut add));
    hash.value()
}

/// Lets the `postcard` serializer pass each byte to a closure. The closure returns false to stop the serializer.
struct EachByte<'a>(&'a mut dyn FnMut(u8) -> bool);

impl postcard::ser_flavors::Flavor for EachByte<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if (self.0)(byte) { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The serialized bytes of a value, as the input of the decoder.
struct Replay<'a, S> {
    value: &'a S,
    len: u32,
    /// The number of bytes that were read.
    position: u32,
    /// The position of the first byte in the window.
    start: u32,
    window: [u8; WINDOW],
    /// The number of bytes in the window.
    filled: usize,
}

impl<S: Serialize> Replay<'_, S> {
    /// Serializes the value again, and keeps the bytes from `position` on.
    fn fill(&mut self) {
        let Replay { window, filled, .. } = self;
        let mut skip = self.position;
        *filled = 0;
        let mut keep = |byte| {
            if skip > 0 {
                skip -= 1;
                return true;
            }
            let place = window.get_mut(*filled);
            let is_free = place.is_some();
            place.into_iter().for_each(|place| *place = byte);
            *filled += usize::from(is_free);
            is_free
        };
        // The serializer fails when the window is full.
        let _ = postcard::serialize_with_flavor(self.value, EachByte(&mut keep));
        self.start = self.position;
    }

    fn next(&mut self) -> Option<u8> {
        if self.position >= self.len {
            return None;
        }
        if self.position.wrapping_sub(self.start) as usize >= self.filled {
            self.fill();
        }
        let byte = self.window.get(..self.filled)?.get(self.position.wrapping_sub(self.start) as usize).copied();
        self.position = self.position.saturating_add(1);
        byte
    }
}

impl<S: Serialize> ChecksummedSource for Replay<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> Result<(), ReadFailure> {
        for place in into {
            *place = self.next().ok_or(ReadFailure::EndOfStream)?;
        }
        Ok(())
    }
    fn sum(&mut self, _: &[u8]) {}
    fn value(&self) -> u32 {
        0
    }
}
