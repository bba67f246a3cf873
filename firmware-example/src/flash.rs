//! A flash wrapper that enforces the central rule of NOR flash: a write granule is programmed at most once between two
//! erases.
//!
//! The emulated devices of this example accept more than a real flash does. A file accepts any write, and QEMU's NOR
//! flash replaces the old value where a real flash would combine old and new bits with AND. [`WriteOnce`] returns an
//! error instead. [`WriteOnce`] also counts erased blocks and programmed bytes. The flash drivers of the boards and the
//! flash image on the host use the same wrapper, so all of them behave alike.
//!
//! ```
//! use digits_workload::flash::{Violation, WriteOnce};
//! # use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
//! # struct Image([u8; 32]);
//! # impl ErrorType for Image { type Error = NorFlashErrorKind; }
//! # impl ReadNorFlash for Image {
//! #     const READ_SIZE: usize = 1;
//! #     fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), NorFlashErrorKind> {
//! #         to.copy_from_slice(&self.0[at as usize..][..to.len()]); Ok(())
//! #     }
//! #     fn capacity(&self) -> usize { 32 }
//! # }
//! # impl NorFlash for Image {
//! #     const WRITE_SIZE: usize = 4;
//! #     const ERASE_SIZE: usize = 16;
//! #     fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
//! #         self.0[from as usize..to as usize].fill(0xFF); Ok(())
//! #     }
//! #     fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
//! #         self.0[at as usize..][..bytes.len()].copy_from_slice(bytes); Ok(())
//! #     }
//! # }
//! // `WriteOnce` wraps any `NorFlash`. This one has 32 bytes, erase blocks of 16 bytes and write granules of 4 bytes.
//! let mut flash = WriteOnce::new(Image([0; 32]));
//! flash.erase(0, 16)?;
//! flash.write(4, &[1, 2, 3, 4])?;
//! assert_eq!(flash.write(4, &[1, 2, 3, 4]), Err(Violation::NotErased { offset: 4 }));
//! assert_eq!(flash.write(16, &[0; 4]), Err(Violation::NotErased { offset: 16 }));
//! assert_eq!((flash.erased_blocks(), flash.programmed_bytes()), (1, 4));
//! # Ok::<(), Violation<NorFlashErrorKind>>(())
//! ```

use core::fmt;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// The value of an erased byte on all devices of this example.
const ERASED: u8 = 0xFF;

/// A flash that returns [`Violation::NotErased`] for a write to a byte that is not erased.
#[derive(Debug, Clone)]
pub struct WriteOnce<F> {
    flash: F,
    erased_blocks: u32,
    programmed_bytes: u32,
}

impl<F: NorFlash> WriteOnce<F> {
    /// Wraps `flash`. Both counters start at 0.
    pub const fn new(flash: F) -> Self {
        Self { flash, erased_blocks: 0, programmed_bytes: 0 }
    }

    /// Number of erase blocks that were erased through this wrapper.
    pub const fn erased_blocks(&self) -> u32 {
        self.erased_blocks
    }

    /// Number of bytes that were programmed through this wrapper.
    pub const fn programmed_bytes(&self) -> u32 {
        self.programmed_bytes
    }

    /// Returns [`Violation::NotErased`] if any byte of the range differs from the erased value.
    fn check_erased(&mut self, offset: u32, len: usize) -> Result<(), Violation<F::Error>> {
        let mut buffer = [0; 32];
        let mut position = offset;
        let mut remaining = len;
        while remaining > 0 {
            let Some(chunk) = buffer.get_mut(..remaining.min(32)) else { break };
            self.flash.read(position, chunk).map_err(Violation::Flash)?;
            if let Some(index) = chunk.iter().position(|byte| *byte != ERASED) {
                return Err(Violation::NotErased { offset: position.saturating_add(index as u32) });
            }
            position = position.saturating_add(chunk.len() as u32);
            remaining = remaining.saturating_sub(chunk.len());
        }
        Ok(())
    }
}

impl<F: ErrorType> ErrorType for WriteOnce<F> {
    type Error = Violation<F::Error>;
}

impl<F: ReadNorFlash> ReadNorFlash for WriteOnce<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(&self.flash, offset, bytes.len()).map_err(Violation::Range)?;
        self.flash.read(offset, bytes).map_err(Violation::Flash)
    }
    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash> NorFlash for WriteOnce<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(&self.flash, from, to).map_err(Violation::Range)?;
        let blocks = to.saturating_sub(from).checked_div(F::ERASE_SIZE as u32);
        self.erased_blocks = self.erased_blocks.saturating_add(blocks.unwrap_or(0));
        self.flash.erase(from, to).map_err(Violation::Flash)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(&self.flash, offset, bytes.len()).map_err(Violation::Range)?;
        self.check_erased(offset, bytes.len())?;
        self.programmed_bytes = self.programmed_bytes.saturating_add(bytes.len() as u32);
        self.flash.write(offset, bytes).map_err(Violation::Flash)
    }
}

/// The reason why [`WriteOnce`] refused an operation, or the error of the wrapped flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation<E> {
    /// The wrapped flash returned this error.
    Flash(E),
    /// The range is outside the flash or is not aligned to the read, write or erase unit.
    Range(NorFlashErrorKind),
    /// A byte of the range was programmed after the last erase.
    NotErased {
        /// Offset of the first such byte from the start of the flash.
        offset: u32,
    },
}

impl<E: NorFlashError> NorFlashError for Violation<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Violation::Flash(error) => error.kind(),
            Violation::Range(kind) => *kind,
            Violation::NotErased { .. } => NorFlashErrorKind::Other,
        }
    }
}

impl<E: fmt::Debug> fmt::Display for Violation<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Flash(error) => write!(f, "the flash driver returned an error: {error:?}"),
            Violation::Range(kind) => kind.fmt(f),
            Violation::NotErased { offset } => {
                write!(f, "write to the byte at offset {offset}, which was programmed after the last erase")
            }
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Violation<E> {}
