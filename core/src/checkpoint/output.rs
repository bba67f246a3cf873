//! A writer and a checksum behind one face, so that the encoder is one piece of code for all of them.

use super::Checksum;
use embedded_io::Write;

/// Where the stream goes: a checksum and a writer, whatever they are.
pub(super) trait Output {
    /// Adds to the checksum.
    fn sum(&mut self, bytes: &[u8]);
    /// The checksum so far.
    fn value(&self) -> u32;
    /// Writes; false when that failed.
    fn write(&mut self, bytes: &[u8]) -> bool;
    /// Flushes; false when that failed.
    fn flush(&mut self) -> bool;
}

pub(super) struct To<'a, C, W: Write> {
    pub writer: &'a mut W,
    pub crc: C,
    /// Why a call failed; none where the writer took nothing without an error.
    pub error: Option<W::Error>,
}

impl<C: Checksum, W: Write> Output for To<'_, C, W> {
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
                // Ok(0) for a buffer that is not empty breaks `Write`'s contract; `embedded_io`'s own loop panics there.
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

/// Through the checksum to the writer; false when that failed.
pub(super) fn out(output: &mut Option<&mut dyn Output>, bytes: &[u8]) -> bool {
    output.as_deref_mut().is_none_or(|output| {
        output.sum(bytes);
        output.write(bytes)
    })
}
