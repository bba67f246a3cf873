//! Checkpoints in byte-addressable memory: two functions of the program and the size of a page.
//!
//! The store is that of a flash. Its driver is a `FlashView` of the memory, which each call of the driver creates.

use crate::checkpoint::{open, tm_checkpoint, tm_checkpoint_config};
use crate::flash::{Driver, TM_MAX_SLOTS};
use crate::object::{init, read, slice, slice_mut};
use crate::status::{Result, status, tm_status};
use core::ffi::{c_int, c_void};
use core::ops::Range;
use tm_status::{TM_ERROR_DEVICE, TM_ERROR_GEOMETRY, TM_ERROR_NULL};
use training_monitor::checkpoint::Crc32;
use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use training_monitor::embedded_storage::{ReadStorage, Storage};
use training_monitor::store::byte_addressable::{ByteSlots, EraseError, FlashView, SLOT_ALIGNMENT};
use training_monitor::store::flash::RunTimeGeometry;

/// A region of byte-addressable memory (FRAM, MRAM or EEPROM), and the functions that access it. The library divides the
/// region into slots of equal size. It must exist as long as the objects that use it.
///
/// The functions return 0 for success. They receive addresses from `start` to `start` + `size`. They must not call this
/// library. If `page_size` is too small, a power failure can destroy a stored checkpoint.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tm_memory {
    /// Is passed to the functions.
    pub context: *mut c_void,
    /// Reads `len` bytes.
    pub read: Option<unsafe extern "C" fn(context: *mut c_void, address: u32, bytes: *mut u8, len: usize) -> c_int>,
    /// Writes `len` bytes, which can begin and end inside a page and can be longer than one. It returns when the bytes are
    /// durable. A save writes each page of up to 64 bytes once, and a larger page up to four times.
    pub write: Option<unsafe extern "C" fn(context: *mut c_void, address: u32, bytes: *const u8, len: usize) -> c_int>,
    /// The address of the region, a multiple of 256.
    pub start: u32,
    /// The size of the region in bytes: `slots` × a multiple of 256. With pages of more than 32 bytes, a slot has room for a
    /// checkpoint of its size less 512, otherwise less 96.
    pub size: u32,
    /// The number of slots, 2 to TM_MAX_SLOTS: one more than the number of checkpoints that are kept.
    pub slots: u32,
    /// The number of bytes that the memory writes as one unit: 1 for an FRAM, the page of an EEPROM, the word of a memory
    /// with error correction; a power of two, 1 to 256. A power failure can destroy the whole page that is being written.
    pub page_size: u32,
}

/// The memory of a program.
struct Memory<'a>(&'a tm_memory);

/// A function of the program is missing or has returned an error.
#[derive(Debug)]
struct MemoryError;

impl ReadStorage for Memory<'_> {
    type Error = MemoryError;

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> core::result::Result<(), MemoryError> {
        let read = self.0.read.ok_or(MemoryError)?;
        // SAFETY: the program promises that the function can be called with this context, and the buffer is valid.
        if unsafe { read(self.0.context, address, bytes.as_mut_ptr(), bytes.len()) } == 0 {
            Ok(())
        } else {
            Err(MemoryError)
        }
    }

    fn capacity(&self) -> usize {
        self.0.start.saturating_add(self.0.size) as usize
    }
}

impl Storage for Memory<'_> {
    fn write(&mut self, address: u32, bytes: &[u8]) -> core::result::Result<(), MemoryError> {
        let write = self.0.write.ok_or(MemoryError)?;
        // SAFETY: as above.
        if unsafe { write(self.0.context, address, bytes.as_ptr(), bytes.len()) } == 0 {
            Ok(())
        } else {
            Err(MemoryError)
        }
    }
}

/// A page size with the layout of small pages.
const SMALL: usize = 1;
/// A page size with the layout of large pages.
const LARGE: usize = SLOT_ALIGNMENT;
/// The largest page with the layout of small pages.
const MAX_SMALL: u32 = 32;

const _: () = assert!(FlashView::<Memory<'_>, { MAX_SMALL as usize }>::RESERVED == 0);
const _: () = assert!(FlashView::<Memory<'_>, { 2 * MAX_SMALL as usize }>::RESERVED > 0);

type View<'a, const PAGE: usize> = FlashView<Memory<'a>, PAGE>;
type Bytes<'a> = ByteSlots<Memory<'a>, TM_MAX_SLOTS>;

impl tm_memory {
    fn region(&self) -> Range<u32> {
        self.start..self.start.saturating_add(self.size)
    }

    fn view<const PAGE: usize>(&self) -> View<'_, PAGE> {
        FlashView::new(Memory(self), &self.region(), self.slots as usize)
    }

    fn check(&self) -> Result {
        if self.read.is_none() || self.write.is_none() {
            return Err(TM_ERROR_NULL);
        }
        let is_page = self.page_size.is_power_of_two() && self.page_size as usize <= SLOT_ALIGNMENT;
        if !is_page || self.start.checked_add(self.size).is_none() {
            return Err(TM_ERROR_GEOMETRY);
        }
        Ok(())
    }

    /// Opens an object whose store uses the layout of a page size.
    ///
    /// # Safety
    /// As for [`open`]. The memory exists as long as the object.
    unsafe fn open<const PAGE: usize>(
        &self,
        checkpoint: *mut tm_checkpoint,
        config: *const tm_checkpoint_config,
    ) -> tm_status {
        let driver = Driver {
            context: core::ptr::from_ref(self).cast_mut().cast(),
            read: read_view::<PAGE>,
            program: write_view::<PAGE>,
            erase: erase_view::<PAGE>,
            end: self.region().end,
        };
        let geometry = RunTimeGeometry {
            read_size: 1,
            write_size: 1,
            erase_size: SLOT_ALIGNMENT as u32,
            slots: self.slots,
            reserved: View::<PAGE>::RESERVED,
        };
        // SAFETY: the caller makes the same promise.
        let opened = unsafe { open(checkpoint, config, Ok((driver, self.region(), geometry))) };
        if opened != tm_status::TM_OK {
            return opened;
        }
        match self.view::<PAGE>().check_page_size::<Crc32>(self.region()) {
            Ok(()) => opened,
            // SAFETY: as above.
            Err(error) => unsafe { init(checkpoint, Err(error.into())) },
        }
    }
}

/// Returns the view of a memory that was checked.
///
/// # Safety
/// `context` points to a valid memory.
unsafe fn view_of<'a, const PAGE: usize>(context: *mut c_void) -> View<'a, PAGE> {
    // SAFETY: the caller makes the same promise.
    unsafe { &*context.cast::<tm_memory>() }.view()
}

unsafe extern "C" fn read_view<const PAGE: usize>(
    context: *mut c_void,
    address: u32,
    bytes: *mut u8,
    len: usize,
) -> c_int {
    // SAFETY: only the driver of a memory calls this function, with its context and a valid buffer.
    let done = unsafe { slice_mut(bytes, len).map(|bytes| view_of::<PAGE>(context).read(address, bytes)) };
    (!matches!(done, Ok(Ok(())))).into()
}

unsafe extern "C" fn write_view<const PAGE: usize>(
    context: *mut c_void,
    address: u32,
    bytes: *const u8,
    len: usize,
) -> c_int {
    // SAFETY: as above.
    let done = unsafe { slice(bytes, len).map(|bytes| view_of::<PAGE>(context).write(address, bytes)) };
    (!matches!(done, Ok(Ok(())))).into()
}

unsafe extern "C" fn erase_view<const PAGE: usize>(context: *mut c_void, address: u32, len: u32) -> c_int {
    // SAFETY: as above.
    let done = unsafe { view_of::<PAGE>(context) }.erase(address, address.wrapping_add(len));
    done.is_err().into()
}

/// Does the same as tm_checkpoint_open_flash for byte-addressable memory, which needs no erase. The memory must exist as long
/// as the object. Errors: those of tm_checkpoint_open_flash; TM_ERROR_OTHER_LAYOUT also for a page size with another layout.
///
/// Reads the whole region. One thread at a time can use an object and its memory; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_open_memory(
    checkpoint: *mut tm_checkpoint,
    config: *const tm_checkpoint_config,
    memory: *const tm_memory,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let memory = unsafe { read(config).and_then(|_| read(memory)) };
    match memory.and_then(|memory| memory.check().map(|()| memory)) {
        // SAFETY: as above.
        Ok(memory) if memory.page_size > MAX_SMALL => unsafe { memory.open::<LARGE>(checkpoint, config) },
        // SAFETY: as above.
        Ok(memory) => unsafe { memory.open::<SMALL>(checkpoint, config) },
        // SAFETY: as above.
        Err(error) => unsafe { init(checkpoint, Err(error)) },
    }
}

/// Writes zeros to a whole region with all its checkpoints, to divide it into other slots or to start over. Errors:
/// TM_ERROR_GEOMETRY, TM_ERROR_DEVICE.
///
/// Blocks for the time of the writes. One thread at a time can use a memory; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_erase_memory(memory: *const tm_memory) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { read(memory) }.and_then(|memory| {
        memory.check()?;
        Bytes::erase_region(Memory(memory), memory.region()).map_err(|error| match error {
            EraseError::OutOfBounds { .. } => TM_ERROR_GEOMETRY,
            _ => TM_ERROR_DEVICE,
        })
    }))
}
