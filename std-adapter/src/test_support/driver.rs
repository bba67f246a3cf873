//! A flash driver that misbehaves on request: put it around your own (or around the one of a simulator), to see what your
//! firmware does when the power goes or the chip refuses.
//!
//! [`FaultyFlash`] asks a function of yours before each read, write and erase what is to become of it. A call that is cut
//! is carried out up to a whole granule or erase block, as a driver does it that loops over them, and everything after it
//! fails until [`power_on`](FaultyFlash::power_on). What an interrupted granule may look like, bit by bit, is the business
//! of [`Flash`](super::flash::Flash), which has cells to do it to; here only whole ones are left out.
//!
//! ```
//! use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
//! use training_monitor_std::test_support::driver::{Access, Fault, FaultyFlash};
//! use training_monitor_std::test_support::flash::Flash;
//!
//! let yours = Flash::<4, 256>::new(512, 0xFF);
//! let mut writes = 0;
//! let mut flash = FaultyFlash::new(yours, |access| {
//!     writes += u32::from(matches!(access, Access::Write { .. }));
//!     if matches!(access, Access::Write { .. }) && writes == 2 { Fault::Cut { after: 1 } } else { Fault::None }
//! });
//! flash.erase(0, 256).unwrap();
//! flash.write(0, &[1; 8]).unwrap();
//! assert!(flash.write(8, &[2; 8]).is_err()); // one granule of the two
//! assert!(flash.read(0, &mut [0]).is_err()); // the power is gone
//! flash.power_on();
//! let mut bytes = [0; 16];
//! flash.read(0, &mut bytes).unwrap();
//! assert_eq!(bytes, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0xFF, 0xFF, 0xFF, 0xFF]);
//! ```

use core::fmt;
use training_monitor::embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// What a driver is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read.
    Read {
        /// From where.
        at: u32,
        /// How many bytes.
        len: usize,
    },
    /// Program.
    Write {
        /// From where.
        at: u32,
        /// How many bytes.
        len: usize,
    },
    /// Erase.
    Erase {
        /// From where.
        from: u32,
        /// Up to where.
        to: u32,
    },
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// All is well.
    None,
    /// It fails, and nothing was done. The next may go well.
    Fail,
    /// Of a write or an erase only so many granules or blocks are done, then it fails. The next may go well.
    Short {
        /// So many.
        after: usize,
    },
    /// As `Short`, and the power is gone. A read gives nothing.
    Cut {
        /// So many.
        after: usize,
    },
}

/// A flash driver around another.
#[derive(Clone, Debug)]
pub struct FaultyFlash<F, D> {
    inner: F,
    decide: D,
    off: bool,
}

impl<F, D: FnMut(Access) -> Fault> FaultyFlash<F, D> {
    /// Around `inner`; `decide` is asked before each access.
    pub const fn new(inner: F, decide: D) -> Self {
        FaultyFlash { inner, decide, off: false }
    }

    /// Whether the power is off.
    pub const fn is_off(&self) -> bool {
        self.off
    }

    /// Power comes back.
    pub const fn power_on(&mut self) {
        self.off = false;
    }

    /// The driver inside, which does not fail.
    pub const fn inner_mut(&mut self) -> &mut F {
        &mut self.inner
    }

    /// Gives it back.
    pub fn into_inner(self) -> F {
        self.inner
    }

    /// `act` is told how many bytes of `len`, in pieces of `unit`, it may do.
    fn attempt<E>(
        &mut self,
        access: Access,
        len: usize,
        unit: usize,
        act: impl FnOnce(&mut F, usize) -> Result<(), E>,
    ) -> Result<(), FlashError<E>> {
        if self.off {
            return Err(FlashError::Off);
        }
        let fault = (self.decide)(access);
        let done = match fault {
            Fault::None => return act(&mut self.inner, len).map_err(FlashError::Flash),
            Fault::Fail => 0,
            Fault::Short { after } | Fault::Cut { after } => after.saturating_mul(unit).min(len),
        };
        self.off = matches!(fault, Fault::Cut { .. });
        if done > 0 {
            act(&mut self.inner, done).map_err(FlashError::Flash)?;
        }
        Err(if self.off { FlashError::Off } else { FlashError::Injected(access) })
    }
}

impl<F: ErrorType, D> ErrorType for FaultyFlash<F, D> {
    type Error = FlashError<F::Error>;
}

impl<F: ReadNorFlash, D: FnMut(Access) -> Fault> ReadNorFlash for FaultyFlash<F, D> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        let len = into.len();
        self.attempt(Access::Read { at, len }, len, 0, |flash, _| flash.read(at, into))
    }
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
}

impl<F: NorFlash, D: FnMut(Access) -> Fault> NorFlash for FaultyFlash<F, D> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), Self::Error> {
        let access = Access::Write { at, len: data.len() };
        self.attempt(access, data.len(), F::WRITE_SIZE, |flash, len| flash.write(at, data.get(..len).unwrap_or(data)))
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        let len = to.saturating_sub(from) as usize;
        let end = move |done: usize| if done == len { to } else { from.saturating_add(done as u32) };
        self.attempt(Access::Erase { from, to }, len, F::ERASE_SIZE, |flash, done| flash.erase(from, end(done)))
    }
}

/// Why an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlashError<E> {
    /// It was to.
    Injected(Access),
    /// The power is off.
    Off,
    /// The driver inside.
    Flash(E),
}

impl<E: fmt::Debug> fmt::Display for FlashError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl<E: fmt::Debug> core::error::Error for FlashError<E> {}

impl<E: NorFlashError> NorFlashError for FlashError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FlashError::Flash(error) => error.kind(),
            _ => NorFlashErrorKind::Other,
        }
    }
}
