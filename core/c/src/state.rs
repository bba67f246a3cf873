//! Saves and restores the state of a single object, for a program that has no engine.

use crate::object::{check, slice, slice_mut};
use crate::status::{Result, give, status, tm_status};
use training_monitor::run_record::{Persist, encode_handler_state, restore_handler_state};

/// The maximum length of a saved state, in bytes.
pub const TM_MAX_STATE: usize = 32;

/// Writes the state of an object to a buffer of the caller.
///
/// # Safety
/// `bytes` points to `capacity` bytes, and `len` to a number.
pub(crate) unsafe fn save<P: Persist>(
    object: Result<&mut P>,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    let saved = object.and_then(|object| {
        check(len)?;
        // SAFETY: the caller promises that the buffer is valid.
        let bytes = unsafe { slice_mut(bytes, capacity) }?;
        encode_handler_state(object, bytes).map(Some).map_err(|_| tm_status::TM_ERROR_BUFFER)
    });
    // SAFETY: the caller promises that the pointer is valid.
    unsafe { give(saved, len) }
}

/// Restores the state of an object.
///
/// # Safety
/// `bytes` points to `len` bytes.
pub(crate) unsafe fn load<P: Persist>(object: Result<&mut P>, bytes: *const u8, len: usize) -> tm_status {
    status(object.and_then(|object| {
        // SAFETY: the caller promises that the buffer is valid.
        let bytes = unsafe { slice(bytes, len) }?;
        restore_handler_state(object, bytes).map_err(|_| tm_status::TM_ERROR_STATE)
    }))
}
