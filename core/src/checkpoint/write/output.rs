//! The output of the encoder: a buffer, a checksum and a writer.
//!
//! Small fields are collected in a buffer of [`BUFFER`] bytes. Longer payloads are passed directly from the user's slice
//! to the writer. No write except the last one is smaller than the buffer. Errors are sticky: after the first error, all
//! calls are no-ops, and the error is checked once at the end.

use crate::checkpoint::Checksum;
use crate::checkpoint::error::EncodeError;
use crate::varint;
use embedded_io::Write;

/// The size of the encoder's buffer, in bytes.
pub const BUFFER: usize = 64;

/// The size of the checksum at the end of the stream. The last write can be longer than [`BUFFER`] by this number.
const CHECKSUM: usize = 4;

/// The bytes that pass through the checksum and the writer at a time. A block stays in the first-level cache between the
/// two, and its size is a multiple of every write granule.
const BLOCK: usize = 8192;

/// A checksum and a writer. A trait object of it makes the encoder one piece of code for all types of both.
pub(super) trait ChecksummedSink {
    /// Adds bytes to the checksum.
    fn sum(&mut self, bytes: &[u8]);
    /// The checksum so far.
    fn value(&self) -> u32;
    /// Writes all bytes. Returns false on failure.
    fn write(&mut self, bytes: &[u8]) -> bool;
    /// Flushes the writer. Returns false on failure.
    fn flush(&mut self) -> bool;
}

/// The only implementation of [`ChecksummedSink`].
pub(super) struct ChecksummedWriter<'a, C, W: Write> {
    pub writer: &'a mut W,
    pub crc: C,
    /// The error of the writer. `None` after a failure if the writer accepted no bytes.
    pub error: Option<W::Error>,
}

impl<C: Checksum, W: Write> ChecksummedSink for ChecksummedWriter<'_, C, W> {
    fn sum(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
    }
    fn value(&self) -> u32 {
        self.crc.value()
    }
    fn write(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.writer.write(bytes) {
                Err(error) => {
                    self.error = Some(error);
                    return false;
                }
                // `Ok(0)` for a non-empty buffer violates the contract of `Write`; `write_all` of `embedded_io` panics.
                Ok(written) => match bytes.get(written..) {
                    Some(rest) if written > 0 => bytes = rest,
                    _ => return false,
                },
            }
        }
        true
    }
    fn flush(&mut self) -> bool {
        match self.writer.flush() {
            Ok(()) => true,
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }
}

/// Adds bytes to the checksum and writes them. Returns false on failure.
fn write_summed(sink: &mut Option<&mut dyn ChecksummedSink>, bytes: &[u8]) -> bool {
    sink.as_deref_mut().is_none_or(|sink| {
        sink.sum(bytes);
        sink.write(bytes)
    })
}

/// The output of the encoder.
pub(super) struct Output<'a> {
    /// `None` only measures the stream.
    sink: Option<&'a mut dyn ChecksummedSink>,
    buffer: [u8; BUFFER + CHECKSUM],
    /// The bytes in the buffer; less than [`BUFFER`] between two calls.
    used: usize,
    /// The bytes of the stream so far.
    pub len: u32,
    /// The first error.
    pub failure: Option<EncodeError<()>>,
}

impl<'a> Output<'a> {
    pub fn new(sink: Option<&'a mut dyn ChecksummedSink>) -> Self {
        Output { sink, buffer: [0; BUFFER + CHECKSUM], used: 0, len: 0, failure: None }
    }

    /// Whether the output only measures the stream.
    pub fn is_measuring(&self) -> bool {
        self.sink.is_none()
    }

    /// Records an error, unless an earlier one is recorded.
    pub fn fail(&mut self, error: EncodeError<()>) {
        self.failure.get_or_insert(error);
    }

    fn check_written(&mut self, written: bool) {
        if !written {
            self.fail(EncodeError::Io(()));
        }
    }

    /// Appends bytes to the stream.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).ok().and_then(|len| self.len.checked_add(len));
        match len {
            Some(len) => self.len = len,
            None => self.fail(EncodeError::TooLong),
        }
        if self.sink.is_none() {
            return;
        }
        let mut rest = bytes;
        while self.failure.is_none() && !rest.is_empty() {
            let whole = rest.len() - rest.len() % BUFFER;
            if self.used == 0 && whole > 0 {
                let (direct, tail) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
                let written = direct.chunks(BLOCK).all(|block| write_summed(&mut self.sink, block));
                self.check_written(written);
                rest = tail;
            } else {
                rest = self.buffer_bytes(rest);
            }
        }
    }

    /// Copies as many bytes as fit into the buffer, writes the buffer if it is full, and returns the remaining bytes.
    fn buffer_bytes<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let free = self.buffer.get_mut(self.used..BUFFER).unwrap_or_default();
        let count = free.len().min(bytes.len());
        for (place, byte) in free.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.used += count;
        if self.used == BUFFER {
            self.used = 0;
            let written = write_summed(&mut self.sink, self.buffer.get(..BUFFER).unwrap_or_default());
            self.check_written(written);
        }
        bytes.get(count..).unwrap_or_default()
    }

    pub fn write_u8(&mut self, byte: u8) {
        self.write_bytes(&[byte]);
    }

    #[inline(always)]
    pub fn write_bool(&mut self, value: bool) {
        self.write_u8(u8::from(value));
    }

    /// Appends a varint.
    pub fn write_u32(&mut self, value: u32) {
        varint::write_u32(value, |byte| self.write_u8(byte));
    }

    /// Appends a length and the bytes of `text`.
    pub fn write_text(&mut self, text: &str) {
        self.write_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.write_bytes(text.as_bytes());
    }

    /// Calls `write` without writing, and returns the number of bytes that it appends.
    pub fn measure(&mut self, write: impl FnOnce(&mut Self)) -> u32 {
        let (sink, before) = (self.sink.take(), self.len);
        write(self);
        let len = self.len.wrapping_sub(before);
        self.sink = sink;
        self.len = before;
        len
    }

    /// Appends the checksum, writes the buffer and flushes the writer. Returns the checksum; 0 without a writer.
    pub fn finish(&mut self) -> u32 {
        let Some(len) = self.len.checked_add(CHECKSUM as u32).filter(|_| self.failure.is_none()) else {
            self.fail(EncodeError::TooLong);
            return 0;
        };
        self.len = len;
        let Some(sink) = self.sink.as_deref_mut() else { return 0 };
        sink.sum(self.buffer.get(..self.used).unwrap_or_default());
        let crc = sink.value();
        let end = self.used.saturating_add(CHECKSUM);
        if let Some(place) = self.buffer.get_mut(self.used..).and_then(|rest| rest.first_chunk_mut()) {
            *place = crc.to_le_bytes();
        }
        let written = sink.write(self.buffer.get(..end).unwrap_or_default()) && sink.flush();
        self.check_written(written);
        crc
    }
}
