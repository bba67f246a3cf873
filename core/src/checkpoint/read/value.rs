//! Reads a value: an object that is saved as a whole, in the `postcard` format.

use super::input::Input;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::names::ItemName;
use postcard::de_flavors::Flavor;
use serde::de::DeserializeOwned;

/// Reads the value `name` of `len` bytes. Its strings and byte arrays are stored in `scratch` while it is deserialized;
/// with the feature `alloc`, a longer value is stored on the heap. Returns `None` if the value is invalid.
pub(in crate::checkpoint) fn read_value<S: DeserializeOwned>(
    input: &mut Input<'_>,
    name: &str,
    len: u32,
    scratch: &mut [u8],
) -> Option<S> {
    let start = input.position;
    if len > input.remaining() {
        input.fail_malformed();
        return None;
    }
    #[cfg(feature = "alloc")]
    if len as usize > scratch.len() {
        return read_to_heap(input, len);
    }
    let flavor = PostcardSource { input: &mut *input, arena: scratch, temporary: [0; 16], name };
    let value = S::deserialize(&mut postcard::Deserializer::from_flavor(flavor)).ok();
    if value.is_none() || input.position.wrapping_sub(start) != len {
        input.fail_malformed();
    }
    value.filter(|_| !input.has_failed())
}

/// Reads a value of `len` bytes whose bytes are collected on the heap.
#[cfg(feature = "alloc")]
fn read_to_heap<S: DeserializeOwned>(input: &mut Input<'_>, len: u32) -> Option<S> {
    // The length can be damaged, so memory is only allocated for bytes that the stream contains.
    let mut bytes = alloc::vec::Vec::new();
    input.read_chunks(len, &mut [0; 512], &mut |chunk| bytes.extend_from_slice(chunk));
    if input.has_failed() {
        return None;
    }
    match postcard::take_from_bytes(&bytes) {
        Ok((value, [])) => Some(value),
        _ => {
            input.fail_malformed();
            None
        }
    }
}

/// Lets the `postcard` deserializer read the bytes of a value from the input.
struct PostcardSource<'b, 'a> {
    input: &'b mut Input<'a>,
    /// The free part of a buffer. Strings and byte arrays of the value are copied into the buffer while they are
    /// deserialized.
    arena: &'b mut [u8],
    /// A buffer for the bytes of one number. The deserializer borrows these bytes until it has converted the number.
    temporary: [u8; 16],
    /// The name of the value.
    name: &'b str,
}

impl PostcardSource<'_, '_> {
    /// Returns an error to the `postcard` deserializer if the input has failed. The input itself stores the cause.
    fn status(&self) -> postcard::Result<()> {
        if self.input.has_failed() { Err(postcard::Error::DeserializeUnexpectedEnd) } else { Ok(()) }
    }
}

impl<'de, 'b: 'de, 'a: 'de> Flavor<'de> for PostcardSource<'b, 'a> {
    type Remainder = ();
    type Source = &'de [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let byte = self.input.read_u8();
        self.status()?;
        Ok(byte)
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        let Some((taken, rest)) = core::mem::take(&mut self.arena).split_at_mut_checked(count) else {
            self.input.fail(DecodeError::ValueTooLarge { name: ItemName::new(self.name) });
            return Err(postcard::Error::DeserializeUnexpectedEnd);
        };
        self.arena = rest;
        self.input.read_exact(taken);
        self.status()?;
        Ok(taken)
    }

    // This function is inlined, so that the compiler knows the length of the returned slice. Otherwise, the `postcard`
    // code that reads a float would contain a panic.
    #[inline(always)]
    fn try_take_n_temp<'t>(&'t mut self, count: usize) -> postcard::Result<&'t [u8]>
    where
        'de: 't,
    {
        if count > self.temporary.len() {
            return self.try_take_n(count);
        }
        self.input.read_exact(self.temporary.get_mut(..count).unwrap_or_default());
        self.status()?;
        Ok(self.temporary.get(..count).unwrap_or_default())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
