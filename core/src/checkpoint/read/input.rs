//! The input of the decoder. It reads numbers, names and elements from a source, which computes the checksum of all
//! bytes.
//!
//! After the first error, all reads return zero, so most callers check for an error only at the end. A loop whose
//! length comes from the stream must check [`Input::has_failed`] in each iteration. Otherwise, a damaged length could
//! make the loop run for a long time.

use super::source::{ChecksummedSource, ReadFailure};
use crate::checkpoint::element::SWAP_BYTES;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::names::{FORMAT_MAX_NAME, MAX_NAME, is_utf8, is_valid_name};
use crate::varint;

/// The size of the checksum at the end of the stream, in bytes.
const CHECKSUM: u32 = 4;

/// A name that was read from a stream.
pub(in crate::checkpoint) struct Name {
    bytes: [u8; MAX_NAME],
    pub len: usize,
}

impl Default for Name {
    fn default() -> Self {
        Name { bytes: [0; MAX_NAME], len: 0 }
    }
}

impl Name {
    /// Returns the bytes of the name. They are valid UTF-8, because the decoder rejects every other name.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

/// The input of the decoder.
pub(in crate::checkpoint) struct Input<'a> {
    source: &'a mut dyn ChecksummedSource,
    /// The number of bytes that have been read.
    pub position: u32,
    /// The position where all reads must end: the position of the checksum, or the end of an extension field.
    end: u32,
    /// The position of the checksum. It is not known before the length of the stream has been read.
    checksum_position: u32,
    /// Whether each byte must be 0 or 1.
    pub only_bools: bool,
    /// The first error; `None` if there was no error. After an error, all reads return zero.
    pub failure: Option<DecodeError<()>>,
}

impl<'a> Input<'a> {
    pub fn new(source: &'a mut dyn ChecksummedSource) -> Self {
        Input { source, position: 0, end: u32::MAX, checksum_position: u32::MAX, only_bools: false, failure: None }
    }

    /// Stores `error` in `failure`. If `failure` already contains an earlier error, keeps the earlier one.
    pub fn fail(&mut self, error: DecodeError<()>) {
        self.failure.get_or_insert(error);
    }

    #[inline(never)] // Called at many places.
    pub fn fail_malformed(&mut self) {
        self.fail(DecodeError::Malformed);
    }

    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Returns the number of bytes before the position where all reads must end.
    pub const fn remaining(&self) -> u32 {
        self.end.saturating_sub(self.position)
    }

    /// Returns the checksum of all bytes that were read.
    pub fn checksum(&self) -> u32 {
        self.source.value()
    }

    /// Fills `into` with the next bytes, but does not add them to the checksum.
    pub fn read_unsummed(&mut self, into: &mut [u8]) {
        if self.has_failed() {
            return;
        }
        match u32::try_from(into.len()).ok().and_then(|len| self.position.checked_add(len)) {
            Some(position) if position <= self.end => self.position = position,
            _ => return self.fail_malformed(),
        }
        match self.source.read(into) {
            Ok(()) => (),
            Err(ReadFailure::EndOfStream) => self.fail(DecodeError::Truncated),
            Err(ReadFailure::Error) => self.fail(DecodeError::Io(())),
        }
    }

    /// Reads the length of the stream. All later reads must end before the checksum.
    pub fn read_length(&mut self) {
        let mut len = [0; 4];
        self.read_exact(&mut len);
        match u32::from_le_bytes(len).checked_sub(CHECKSUM) {
            Some(position) => (self.end, self.checksum_position) = (position, position),
            None => self.fail_malformed(),
        }
    }

    /// Reads the checksum, which must be at the end of the stream, and returns it.
    pub fn read_checksum(&mut self) -> u32 {
        if self.position != self.end {
            self.fail_malformed();
        }
        self.end = self.end.saturating_add(CHECKSUM);
        let mut crc = [0; CHECKSUM as usize];
        self.read_unsummed(&mut crc);
        u32::from_le_bytes(crc)
    }

    /// Starts a field of `len` bytes. Until [`end_field`](Self::end_field), no read goes beyond its end.
    pub fn start_field(&mut self, len: u32) {
        match self.position.checked_add(len) {
            Some(end) if end <= self.checksum_position => self.end = end,
            _ => self.fail_malformed(),
        }
    }

    /// Ends a field, of which all bytes must have been read.
    pub fn end_field(&mut self) {
        if self.position != self.end {
            self.fail_malformed();
        }
        self.end = self.checksum_position;
    }

    /// Fails because a code or a field is from a newer version. First reads the rest of the stream and verifies its
    /// checksum, because such a code can also be the result of damage.
    #[inline(never)]
    pub fn fail_newer(&mut self) {
        self.end = self.checksum_position;
        self.skip(self.end.saturating_sub(self.position));
        let crc = self.checksum();
        if self.read_checksum() != crc {
            self.fail(DecodeError::Checksum);
        }
        self.fail(DecodeError::Newer);
    }

    /// Fills `into` with the next bytes of the stream.
    pub fn read_exact(&mut self, into: &mut [u8]) {
        self.read_unsummed(into);
        self.source.sum(into);
        if self.only_bools && into.iter().any(|byte| *byte > 1) {
            self.fail_malformed();
        }
    }

    pub fn read_u8(&mut self) -> u8 {
        let mut byte = [0];
        self.read_exact(&mut byte);
        let [byte] = byte;
        byte
    }

    pub fn read_bool(&mut self) -> bool {
        let byte = self.read_u8();
        if byte > 1 {
            self.fail_malformed();
        }
        byte == 1
    }

    pub fn read_f32(&mut self) -> f32 {
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes);
        f32::from_le_bytes(bytes)
    }

    /// Reads a variable-length integer.
    pub fn read_u32(&mut self) -> u32 {
        match varint::read_u32(|| Some(self.read_u8())) {
            Some(value) => value,
            None => {
                self.fail_malformed();
                0
            }
        }
    }

    /// Reads a name into `name`.
    pub fn read_name(&mut self, name: &mut Name) {
        self.read_text(name);
        if name.len == 0 {
            self.fail_malformed();
        }
    }

    /// Reads a name or an empty text into `text`.
    pub fn read_text(&mut self, text: &mut Name) {
        text.len = self.read_u32() as usize;
        match text.bytes.get_mut(..text.len) {
            Some(bytes) => self.read_exact(bytes),
            None if text.len <= FORMAT_MAX_NAME => self.fail(DecodeError::NameTooLong),
            None => self.fail_malformed(),
        }
        if !is_utf8(text.bytes()) || (text.len > 0 && !is_valid_name(text.bytes())) {
            self.fail_malformed();
        }
    }

    /// Reads and ignores the next `len` bytes.
    pub fn skip(&mut self, len: u32) {
        self.read_chunks(len, &mut [0; 16], &mut |_| ());
    }

    /// Verifies and ignores the next `len` bytes. A source that is already verified skips them without reading, unless each
    /// byte must be 0 or 1. `scratch` is a buffer for bytes that are read.
    pub fn verify_only(&mut self, len: u32, scratch: &mut [u8]) {
        #[cfg(target_pointer_width = "64")]
        if let Some(position) = self.position.checked_add(len)
            && position <= self.end
            && !self.has_failed()
            && !self.only_bools
            && self.source.skip(len)
        {
            self.position = position;
            return;
        }
        self.read_chunks(len, scratch, &mut |_| ());
    }

    /// Reads the next `len` bytes in chunks, and passes each chunk to `show`. A chunk is at most as long as the buffer
    /// `scratch`.
    pub fn read_chunks(&mut self, mut len: u32, scratch: &mut [u8], show: &mut dyn FnMut(&[u8])) {
        while len > 0 && !self.has_failed() {
            let count = (len as usize).min(scratch.len());
            let Some(chunk) = scratch.get_mut(..count).filter(|chunk| !chunk.is_empty()) else {
                return self.fail_malformed();
            };
            self.read_exact(chunk);
            if !self.has_failed() {
                show(chunk);
            }
            len = len.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Reads the elements of a tensor directly into the memory `into` of the model, so no second copy of the tensor is
    /// needed. An element has `size` bytes.
    pub fn read_elements(&mut self, into: &mut [u8], size: u32) {
        // Reads blocks of 8 KiB. Each block is still in the cache when its checksum is computed.
        into.chunks_mut(8192).for_each(|block| self.read_exact(block));
        if SWAP_BYTES {
            into.chunks_mut(size as usize).for_each(<[u8]>::reverse);
        }
    }

    /// Reads the elements of a tensor of type `bool`.
    pub fn read_bools(&mut self, into: &mut [bool]) {
        for block in into.chunks_mut(64) {
            let mut bytes = [0; 64];
            self.read_exact(bytes.get_mut(..block.len()).unwrap_or_default());
            block.iter_mut().zip(bytes).for_each(|(element, byte)| *element = byte == 1);
        }
    }
}
