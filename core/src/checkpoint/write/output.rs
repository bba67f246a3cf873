//! The output of the encoder. It consists of a buffer, a checksum and a writer.
//!
//! Small fields are collected in a buffer of [`BUFFER`] bytes, which is written when it is full. Large slices are
//! written without a copy. After the first error, all calls do nothing, so the encoder checks for an error only at the
//! end.

use crate::checkpoint::Checksum;
use crate::checkpoint::error::EncodeError;
use crate::checkpoint::names::ItemName;
use crate::target::HOST;
use crate::varint;
use embedded_io::{Error, ErrorKind, Write};

/// The size of the encoder's buffer, in bytes.
pub const BUFFER: usize = 64;

/// The size of the checksum at the end of the stream, in bytes. The buffer has this number of extra bytes, so that the
/// last write can include the checksum.
const CHECKSUM: usize = 4;

/// The size of a block in bytes, a multiple of every write granule. Each block of a large slice is added to the
/// checksum and then written. A block is small enough to stay in the first-level cache in between.
const BLOCK: usize = 8192;

/// A writer with a checksum. The encoder uses it as a trait object, so that the encoder is compiled only once for all
/// types of writers and checksums.
pub(super) trait ChecksummedSink {
    /// Adds `bytes` to the checksum.
    fn sum(&mut self, bytes: &[u8]);
    /// Returns the checksum of all added bytes.
    fn value(&self) -> u32;
    /// Writes all `bytes`. Returns false if the writer fails.
    fn write(&mut self, bytes: &[u8]) -> bool;
    /// Flushes the writer. Returns false if the writer fails.
    fn flush(&mut self) -> bool;
}

/// A writer of type `W` and a checksum of type `C`. The blocking save uses this sink.
pub(super) struct ChecksummedWriter<'a, C, W: Write> {
    pub writer: &'a mut W,
    pub crc: C,
    /// The error that the writer returned. It is `None` if the writer accepted no bytes but returned no error.
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
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => {
                    self.error = Some(error);
                    return false;
                }
                // A writer must not return `Ok(0)` for a non-empty slice. `write_all` of `embedded_io` would panic in
                // this case, but this function returns false.
                Ok(written) => match bytes.get(written..) {
                    Some(rest) if written > 0 => bytes = rest,
                    _ => return false,
                },
            }
        }
        true
    }
    fn flush(&mut self) -> bool {
        loop {
            match self.writer.flush() {
                Ok(()) => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => {
                    self.error = Some(error);
                    return false;
                }
            }
        }
    }
}

/// Adds `bytes` to the checksum and writes them. Returns false if the writer fails.
fn write_summed(sink: &mut Option<&mut dyn ChecksummedSink>, bytes: &[u8]) -> bool {
    sink.as_deref_mut().is_none_or(|sink| {
        sink.sum(bytes);
        sink.write(bytes)
    })
}

/// The output of the encoder. It collects small fields in a buffer, and passes full buffers and large slices to the
/// writer.
pub(super) struct Output<'a> {
    /// The writer; `None` if the stream is only measured.
    sink: Option<&'a mut dyn ChecksummedSink>,
    buffer: [u8; BUFFER + CHECKSUM],
    /// The number of bytes in the buffer. It is less than [`BUFFER`], because a full buffer is written immediately.
    used: usize,
    /// The current length of the stream, in bytes.
    pub len: u32,
    /// The first error; `None` if there was no error. After an error, nothing more is written.
    pub failure: Option<EncodeError<()>>,
}

impl<'a> Output<'a> {
    pub fn new(sink: Option<&'a mut dyn ChecksummedSink>) -> Self {
        Output { sink, buffer: [0; BUFFER + CHECKSUM], used: 0, len: 0, failure: None }
    }

    /// Returns whether the output only measures the length of the stream and writes nothing.
    pub fn is_measuring(&self) -> bool {
        self.sink.is_none()
    }

    /// Stores `error` in `failure`. If `failure` already contains an earlier error, keeps the earlier one.
    pub fn fail(&mut self, error: EncodeError<()>) {
        self.failure.get_or_insert(error);
    }

    /// Stores the error of the object or tensor `name`, as [`fail`](Self::fail) does.
    #[inline(never)] // Keeps the name off the stack of the caller.
    pub fn fail_item(&mut self, name: &str, error: fn(ItemName) -> EncodeError<()>) {
        self.fail(error(ItemName::new(name)));
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
            // With the feature `small`, all bytes pass through the buffer, so that only one path of the code exists.
            if !cfg!(feature = "small") && self.used == 0 && whole > 0 {
                let (direct, tail) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
                let written = direct.chunks(BLOCK).all(|block| write_summed(&mut self.sink, block));
                self.check_written(written);
                rest = tail;
            } else {
                rest = self.buffer_bytes(rest);
            }
        }
    }

    /// Adds `len` bytes to the length of the stream. The caller has stored them, or the stream is only measured.
    pub fn count(&mut self, len: u32) {
        match self.len.checked_add(len) {
            Some(len) => self.len = len,
            None => self.fail(EncodeError::TooLong),
        }
    }

    /// Copies as many of `bytes` as possible into the buffer, and writes the buffer if it is full. Returns the bytes
    /// that did not fit.
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
        // Most fields are single bytes. On a host, the general function would take most of the time of a small checkpoint.
        let next = self.used.saturating_add(1);
        if HOST && self.failure.is_none() && next < BUFFER {
            if self.sink.is_some() {
                if let Some(place) = self.buffer.get_mut(self.used) {
                    *place = byte;
                }
                self.used = next;
            }
            self.count(1);
        } else {
            self.write_bytes(&[byte]);
        }
    }

    #[inline(always)]
    pub fn write_bool(&mut self, value: bool) {
        self.write_u8(u8::from(value));
    }

    /// Appends `value` to the stream as a variable-length integer.
    pub fn write_u32(&mut self, value: u32) {
        varint::write_u32(value, |byte| self.write_u8(byte));
    }

    /// Appends a length or a count to the stream.
    pub fn write_len(&mut self, len: usize) {
        self.write_u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Appends `text` to the stream: first its length in bytes, and then its bytes.
    pub fn write_text(&mut self, text: &str) {
        self.write_len(text.len());
        self.write_bytes(text.as_bytes());
    }

    /// Calls `write`, but discards everything that it appends. Returns the number of discarded bytes.
    pub fn measure(&mut self, write: impl FnOnce(&mut Self)) -> u32 {
        let (sink, before) = (self.sink.take(), self.len);
        write(self);
        let len = self.len.wrapping_sub(before);
        self.sink = sink;
        self.len = before;
        len
    }

    /// Completes the stream: writes the rest of the buffer and the checksum, and flushes the writer. `measured` is the
    /// length that the header contains. Returns the checksum, or 0 if the stream is only measured.
    pub fn finish(&mut self, measured: u32) -> u32 {
        let Some(len) = self.len.checked_add(CHECKSUM as u32).filter(|_| self.failure.is_none()) else {
            self.fail(EncodeError::TooLong);
            return 0;
        };
        self.len = len;
        let Some(sink) = self.sink.as_deref_mut() else { return 0 };
        if len != measured {
            self.failure = Some(EncodeError::Changed);
            return 0;
        }
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
