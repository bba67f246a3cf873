//! A flash driver that fails on request. Wrap your own driver, or the driver of a simulator, to test how your firmware
//! handles a power failure or a failing flash chip.
//!
//! Before each read, write and erase, a [`FaultyFlash`] calls a closure, which returns the fault to inject. If power
//! fails during a call, a whole number of granules or erase blocks is complete. All later calls fail
//! until [`power_on`](FaultyFlash::power_on). Partly programmed granules are not simulated.
//! Use [`Flash`](super::flash::Flash) for tests of those.
//!
//! ```
//! use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
//! use training_monitor_std::test_support::driver::{Access, FaultyFlash, FlashFault};
//! use training_monitor_std::test_support::flash::Flash;
//!
//! // Power fails during the second write, after one granule.
//! let driver = Flash::<4, 256>::new(512, 0xFF);
//! let mut writes = 0;
//! let mut flash = FaultyFlash::new(driver, |access| {
//!     let is_write = matches!(access, Access::Write { .. });
//!     writes += u32::from(is_write);
//!     if is_write && writes == 2 { FlashFault::PowerFailure { after: 1 } } else { FlashFault::None }
//! });
//! flash.erase(0, 256).unwrap();
//! flash.write(0, &[1; 8]).unwrap();
//! assert!(flash.write(8, &[2; 8]).is_err()); // programs one of two granules
//! assert!(flash.read(0, &mut [0]).is_err()); // the power is off
//! flash.power_on();
//! let mut bytes = [0; 16];
//! flash.read(0, &mut bytes).unwrap();
//! assert_eq!(bytes, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0xFF, 0xFF, 0xFF, 0xFF]);
//! ```

use core::fmt;
use training_monitor::embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// A call of a flash driver. All addresses and lengths are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading bytes.
    Read {
        /// The address of the first byte.
        at: u32,
        /// The number of bytes.
        len: usize,
    },
    /// Programming bytes.
    Write {
        /// The address of the first byte.
        at: u32,
        /// The number of bytes.
        len: usize,
    },
    /// Erasing blocks.
    Erase {
        /// The address of the first byte.
        from: u32,
        /// The address after the last byte.
        to: u32,
    },
}

/// The fault that a [`FaultyFlash`] injects into a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlashFault {
    /// No fault is injected: the wrapped driver performs the call normally.
    None,
    /// The call fails and has no effect. Later calls can succeed.
    Fail,
    /// The call fails after a part of its work: a write after `after` granules, and an erase after `after` blocks. A
    /// read fails without reading anything. Later calls can succeed.
    Short {
        /// The number of granules (the smallest units of a write) or erase blocks that are complete before the failure.
        after: usize,
    },
    /// Power fails during the call. The call has the same effect as with `Short`, and all later calls fail.
    PowerFailure {
        /// The number of granules (the smallest units of a write) or erase blocks that are complete before the failure.
        after: usize,
    },
}

/// A flash driver that wraps another flash driver and injects faults.
#[derive(Clone, Debug)]
pub struct FaultyFlash<F, D> {
    inner: F,
    decide: D,
    is_off: bool,
}

impl<F, D: FnMut(Access) -> FlashFault> FaultyFlash<F, D> {
    /// Wraps the driver `inner`. The closure `decide` is called before each call and returns the fault to inject.
    pub const fn new(inner: F, decide: D) -> Self {
        FaultyFlash { inner, decide, is_off: false }
    }

    /// Returns whether the power is off.
    pub const fn is_off(&self) -> bool {
        self.is_off
    }

    /// Switches the power on again.
    pub const fn power_on(&mut self) {
        self.is_off = false;
    }

    /// Returns the wrapped driver. Direct calls to the wrapped driver have no injected faults.
    pub const fn inner_mut(&mut self) -> &mut F {
        &mut self.inner
    }

    /// Returns the wrapped driver.
    pub fn into_inner(self) -> F {
        self.inner
    }

    /// Performs a call on the wrapped driver. The closure `perform` receives the number of bytes that it must process.
    /// This number is `len`, or a smaller multiple of `unit` if the injected fault interrupts the call.
    fn call<E>(
        &mut self,
        access: Access,
        len: usize,
        unit: usize,
        perform: impl FnOnce(&mut F, usize) -> Result<(), E>,
    ) -> Result<(), FaultyFlashError<E>> {
        if self.is_off {
            return Err(FaultyFlashError::PowerOff);
        }
        let fault = (self.decide)(access);
        let done = match fault {
            FlashFault::None => return perform(&mut self.inner, len).map_err(FaultyFlashError::Flash),
            FlashFault::Fail => 0,
            FlashFault::Short { after } | FlashFault::PowerFailure { after } => after.saturating_mul(unit).min(len),
        };
        self.is_off = matches!(fault, FlashFault::PowerFailure { .. });
        if done > 0 {
            perform(&mut self.inner, done).map_err(FaultyFlashError::Flash)?;
        }
        Err(if self.is_off { FaultyFlashError::PowerOff } else { FaultyFlashError::Injected(access) })
    }
}

impl<F: ErrorType, D> ErrorType for FaultyFlash<F, D> {
    type Error = FaultyFlashError<F::Error>;
}

impl<F: ReadNorFlash, D: FnMut(Access) -> FlashFault> ReadNorFlash for FaultyFlash<F, D> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        let len = into.len();
        self.call(Access::Read { at, len }, len, 0, |flash, _| flash.read(at, into))
    }
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
}

impl<F: NorFlash, D: FnMut(Access) -> FlashFault> NorFlash for FaultyFlash<F, D> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), Self::Error> {
        let access = Access::Write { at, len: data.len() };
        self.call(access, data.len(), F::WRITE_SIZE, |flash, len| flash.write(at, data.get(..len).unwrap_or(data)))
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        let len = to.saturating_sub(from) as usize;
        let end = move |done: usize| if done == len { to } else { from.saturating_add(done as u32) };
        self.call(Access::Erase { from, to }, len, F::ERASE_SIZE, |flash, done| flash.erase(from, end(done)))
    }
}

/// Why a call of a [`FaultyFlash`] failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultyFlashError<E> {
    /// The closure injected a fault into the call.
    Injected(Access),
    /// The power is off.
    PowerOff,
    /// The wrapped driver failed.
    Flash(E),
}

impl<E: fmt::Debug> fmt::Display for FaultyFlashError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl<E: fmt::Debug> core::error::Error for FaultyFlashError<E> {}

impl<E: NorFlashError> NorFlashError for FaultyFlashError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FaultyFlashError::Flash(error) => error.kind(),
            _ => NorFlashErrorKind::Other,
        }
    }
}
