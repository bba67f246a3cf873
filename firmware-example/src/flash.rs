//! A flash that is held to the rules: every granule programmed at most once between erases.
//!
//! The machines that this example runs on are kinder than flash: a file takes what it is given, and QEMU's NOR flash
//! replaces where a real one would AND. [`WriteOnce`] refuses instead, and counts what wears flash out. It guards the
//! boards' drivers as well as the host's image of a flash, so all of them show one behaviour.
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
//! // Any `NorFlash`; here 32 bytes of RAM in erase blocks of 16 and granules of 4.
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

/// What erased flash reads as, on every device here.
const ERASED: u8 = 0xFF;

/// The guard.
#[derive(Debug, Clone)]
pub struct WriteOnce<F> {
    flash: F,
    erased_blocks: u32,
    programmed_bytes: u32,
}

impl<F: NorFlash> WriteOnce<F> {
    /// Guards `flash`.
    pub const fn new(flash: F) -> Self {
        Self { flash, erased_blocks: 0, programmed_bytes: 0 }
    }

    /// Blocks erased since this was made.
    pub const fn erased_blocks(&self) -> u32 {
        self.erased_blocks
    }

    /// Bytes programmed since this was made.
    pub const fn programmed_bytes(&self) -> u32 {
        self.programmed_bytes
    }

    /// Refuses a range in which anything reads as programmed.
    fn must_be_erased(&mut self, offset: u32, len: usize) -> Result<(), Violation<F::Error>> {
        let mut piece = [0; 32];
        let mut at = offset;
        let mut left = len;
        while left > 0 {
            let Some(piece) = piece.get_mut(..left.min(32)) else { break };
            self.flash.read(at, piece).map_err(Violation::Flash)?;
            if let Some(place) = piece.iter().position(|byte| *byte != ERASED) {
                return Err(Violation::NotErased { offset: at.saturating_add(place as u32) });
            }
            at = at.saturating_add(piece.len() as u32);
            left = left.saturating_sub(piece.len());
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
        self.must_be_erased(offset, bytes.len())?;
        self.programmed_bytes = self.programmed_bytes.saturating_add(bytes.len() as u32);
        self.flash.write(offset, bytes).map_err(Violation::Flash)
    }
}

/// What the guard did not let through, or what went wrong behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation<E> {
    /// The flash's own error.
    Flash(E),
    /// Outside of the flash, or not aligned to its granules.
    Range(NorFlashErrorKind),
    /// Programmed already since the last erase.
    NotErased {
        /// The first such byte.
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
            Violation::Flash(error) => write!(f, "the flash failed: {error:?}"),
            Violation::Range(kind) => kind.fmt(f),
            Violation::NotErased { offset } => write!(f, "the byte at {offset} is programmed already"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Violation<E> {}
