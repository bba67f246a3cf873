//! Checks that a value can be loaded again: deserializes what the value serializes to.
//!
//! Not every `serde` type can be read back from `postcard`, because the format stores no field names and no types. The
//! check needs no buffer for the whole value: it serializes the value again for each piece of [`WINDOW`] bytes.

use crate::checkpoint::error::DecodeError;
use crate::checkpoint::read::{ChecksummedSource, Input, ReadFailure, read_value};
use crate::hash::Hash;
use crate::target::HOST;
use serde::{Serialize, de::DeserializeOwned};

/// The number of bytes of the value that are in memory at the same time. A larger window needs fewer serializations.
const WINDOW: usize = if HOST { 4096 } else { 64 };

/// The result of the check.
pub(super) enum Reload {
    /// The loaded value serializes to the same bytes.
    Equal,
    /// The strings and byte arrays of the value do not fit into the buffer.
    TooLarge,
    /// The value does not load, or the loaded value serializes to other bytes.
    Different,
}

/// Checks whether the value, which serializes to `len` bytes, can be deserialized from these bytes and then serializes
/// to the same bytes. `scratch` is the buffer for its strings and byte arrays.
pub(super) fn loads_again<S: Serialize + DeserializeOwned>(value: &S, len: u32, scratch: &mut [u8]) -> Reload {
    let mut source = Replay { value, remaining: len as usize, position: 0, window: [0; WINDOW], unread: 0..0 };
    let mut input = Input::new(&mut source);
    match read_value::<S>(&mut input, "", len, scratch) {
        Some(loaded) if hash_of(&loaded) == hash_of(value) => Reload::Equal,
        None if matches!(input.failure, Some(DecodeError::ValueTooLarge { .. })) => Reload::TooLarge,
        _ => Reload::Different,
    }
}

fn hash_of<S: Serialize>(value: &S) -> u32 {
    let mut hash = Hash::NEW;
    let mut add = |bytes: &[u8]| {
        hash = hash.bytes(bytes);
        true
    };
    // The encoder has already serialized the value, so the serializer does not fail.
    let _ = postcard::serialize_with_flavor(value, EachPiece(&mut add));
    hash.value()
}

/// Lets the `postcard` serializer pass its bytes to a closure. The closure returns false to stop the serializer.
struct EachPiece<'a>(&'a mut dyn FnMut(&[u8]) -> bool);

impl postcard::ser_flavors::Flavor for EachPiece<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if (self.0)(bytes) { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The serialized bytes of a value, as the input of the decoder.
struct Replay<'a, S> {
    value: &'a S,
    /// The number of bytes that the window does not contain yet.
    remaining: usize,
    /// The number of bytes before the end of the window.
    position: usize,
    window: [u8; WINDOW],
    /// The unread bytes of the window.
    unread: core::ops::Range<usize>,
}

impl<S: Serialize> Replay<'_, S> {
    /// Serializes the value again, and keeps the next bytes in the window.
    fn load_window(&mut self) {
        let Replay { window, position, remaining, .. } = self;
        let (mut skip, mut used) = (*position, 0);
        let mut keep = |bytes: &[u8]| {
            let kept = bytes.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(bytes.len());
            let free = window.get_mut(used..).unwrap_or_default();
            used += kept.len().min(free.len());
            let is_complete = kept.len() <= free.len();
            free.iter_mut().zip(kept).for_each(|(place, byte)| *place = *byte);
            is_complete
        };
        // The serializer fails when the window is full.
        let _ = postcard::serialize_with_flavor(self.value, EachPiece(&mut keep));
        *position = position.saturating_add(used);
        *remaining = remaining.saturating_sub(used);
        self.unread = 0..used;
    }
}

impl<S: Serialize> ChecksummedSource for Replay<'_, S> {
    fn read(&mut self, mut into: &mut [u8]) -> Result<(), ReadFailure> {
        while !into.is_empty() {
            if self.unread.is_empty() {
                if self.remaining == 0 {
                    return Err(ReadFailure::EndOfStream);
                }
                self.load_window();
            }
            let unread = self.window.get(self.unread.clone()).unwrap_or_default();
            let count = unread.len().min(into.len());
            if count == 0 {
                return Err(ReadFailure::EndOfStream);
            }
            into.iter_mut().zip(unread).for_each(|(place, byte)| *place = *byte);
            into = into.get_mut(count..).unwrap_or_default();
            self.unread.start += count;
        }
        Ok(())
    }
    fn sum(&mut self, _: &[u8]) {}
    fn value(&self) -> u32 {
        0
    }
}
