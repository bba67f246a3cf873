//! The flash of a C program: three functions and the sizes of its units.

use crate::object::read;
use crate::status::{Result, tm_status};
use core::ffi::{c_int, c_void};
use core::ops::Range;
use training_monitor::checkpoint::Crc32;
use training_monitor::embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use training_monitor::store::flash::{RunTimeGeometry, Slots};

/// The largest number of slots in a flash region.
pub const TM_MAX_SLOTS: usize = 8;

/// A region of NOR flash, and the functions that access it. The library divides the region into slots of equal size, and
/// writes each granule once between two erases.
///
/// The functions return 0 for success. They receive addresses of the flash, from `start` to `start` + `size`, aligned to the
/// unit of the operation. They must not call this library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tm_flash {
    /// Is passed to the functions.
    pub context: *mut c_void,
    /// Reads `len` bytes. `bytes` is aligned to 4.
    pub read: Option<unsafe extern "C" fn(context: *mut c_void, address: u32, bytes: *mut u8, len: usize) -> c_int>,
    /// Programs `len` bytes. `bytes` is aligned to 4 if the write unit is a multiple of 4.
    pub program:
        Option<unsafe extern "C" fn(context: *mut c_void, address: u32, bytes: *const u8, len: usize) -> c_int>,
    /// Erases `len` bytes: one erase block, or the whole region for tm_checkpoint_erase_flash.
    pub erase: Option<unsafe extern "C" fn(context: *mut c_void, address: u32, len: u32) -> c_int>,
    /// The address of the region, a multiple of the erase block.
    pub start: u32,
    /// The size of the region in bytes: `slots` × a multiple of the erase block.
    pub size: u32,
    /// The number of slots, 2 to TM_MAX_SLOTS: one more than the number of checkpoints that are kept.
    pub slots: u32,
    /// The size of the erase block, in bytes.
    pub erase_size: u32,
    /// The size of the write granule: 1, 2, 4, 8, 16 or 32 bytes.
    pub write_size: u32,
    /// The size of the read unit: 1, 2, 4, 8, 16 or 32 bytes.
    pub read_size: u32,
}

/// The flash store of a C program.
pub(crate) type FlashStore = Slots<Driver, TM_MAX_SLOTS, Crc32, RunTimeGeometry>;

/// A flash driver that calls the functions of the program.
pub(crate) struct Driver {
    pub context: *mut c_void,
    pub read: unsafe extern "C" fn(*mut c_void, u32, *mut u8, usize) -> c_int,
    pub program: unsafe extern "C" fn(*mut c_void, u32, *const u8, usize) -> c_int,
    pub erase: unsafe extern "C" fn(*mut c_void, u32, u32) -> c_int,
    pub end: u32,
}

impl tm_flash {
    /// Returns the driver, the region and the geometry.
    ///
    /// # Safety
    /// `flash` is null or valid, and its functions can be called with its context.
    pub(crate) unsafe fn parts(flash: *const tm_flash) -> Result<(Driver, Range<u32>, RunTimeGeometry)> {
        // SAFETY: the caller promises that the description is valid.
        let flash = unsafe { read(flash) }?;
        let (Some(read), Some(program), Some(erase)) = (flash.read, flash.program, flash.erase) else {
            return Err(tm_status::TM_ERROR_NULL);
        };
        let end = flash.start.checked_add(flash.size).ok_or(tm_status::TM_ERROR_GEOMETRY)?;
        let driver = Driver { context: flash.context, read, program, erase, end };
        let geometry = RunTimeGeometry {
            read_size: flash.read_size,
            write_size: flash.write_size,
            erase_size: flash.erase_size,
            slots: flash.slots,
            reserved: 0,
        };
        Ok((driver, flash.start..end, geometry))
    }
}

/// A function of the program has returned an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DriverError;

impl NorFlashError for DriverError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for Driver {
    type Error = DriverError;
}

const fn checked(code: c_int) -> core::result::Result<(), DriverError> {
    if code == 0 { Ok(()) } else { Err(DriverError) }
}

impl ReadNorFlash for Driver {
    /// The sizes are those of the geometry.
    const READ_SIZE: usize = 1;

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> core::result::Result<(), DriverError> {
        // SAFETY: the program promises that the function can be called with this context, and the buffer is valid.
        checked(unsafe { (self.read)(self.context, address, bytes.as_mut_ptr(), bytes.len()) })
    }

    fn capacity(&self) -> usize {
        self.end as usize
    }
}

impl NorFlash for Driver {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = 1;

    fn erase(&mut self, from: u32, to: u32) -> core::result::Result<(), DriverError> {
        // SAFETY: the program promises that the function can be called with this context.
        checked(unsafe { (self.erase)(self.context, from, to.wrapping_sub(from)) })
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> core::result::Result<(), DriverError> {
        // SAFETY: the program promises that the function can be called with this context, and the buffer is valid.
        checked(unsafe { (self.program)(self.context, address, bytes.as_ptr(), bytes.len()) })
    }
}
