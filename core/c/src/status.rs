//! The result of a function, and its text.

use core::ffi::{CStr, c_char};
use training_monitor::ConfigError;
use training_monitor::checkpoint::{DecodeError, EncodeError};
use training_monitor::embedded_io::ErrorKind;
use training_monitor::run_record::{RestoreError, RunRecordFull};
use training_monitor::store::flash::RegionError;

/// The result of a function. 0 and above: success. Below 0: an error; unless the function says otherwise, nothing has
/// changed.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum tm_status {
    /// Success.
    TM_OK = 0,
    /// Success: the run is over, or should stop.
    TM_STOP = 1,
    /// Success: there is no such value, checkpoint or decision.
    TM_NONE = 2,
    /// A pointer is null.
    TM_ERROR_NULL = -1,
    /// A pointer is not aligned for its type.
    TM_ERROR_MISALIGNED = -2,
    /// The object is not initialized: its init function was not called, or has failed.
    TM_ERROR_NOT_INITIALIZED = -3,
    /// A callback called a function for an object that is in use.
    TM_ERROR_BUSY = -4,
    /// A setting or an argument is not in its range.
    TM_ERROR_SETTING = -5,
    /// A buffer is too small.
    TM_ERROR_BUFFER = -6,
    /// The engine has TM_MAX_HANDLERS handlers already, or this handler is attached already.
    TM_ERROR_HANDLERS = -7,
    /// The events of the run have begun, so no handler can be attached any more.
    TM_ERROR_STARTED = -8,
    /// tm_engine_begin_iteration was called twice without tm_engine_end_iteration.
    TM_ERROR_NOT_ENDED = -9,
    /// A callback of the flash or the memory, or of a writer or reader, has returned an error.
    TM_ERROR_DEVICE = -10,
    /// The flash or the memory does not contain what was written to it.
    TM_ERROR_VERIFY = -11,
    /// No slot is free, or the flash has too few slots: it needs one more than the number of kept checkpoints.
    TM_ERROR_SLOTS = -12,
    /// The checkpoint is longer than a slot.
    TM_ERROR_TOO_LONG = -13,
    /// The sizes of the flash are not supported, or its region cannot be divided into slots.
    TM_ERROR_GEOMETRY = -14,
    /// The region contains checkpoints of another division into slots. tm_checkpoint_erase_flash or
    /// tm_checkpoint_erase_memory erases them.
    TM_ERROR_OTHER_LAYOUT = -15,
    /// The model is not valid: a name is not valid UTF-8, too long or used twice, a shape does not give the number of
    /// elements, a type is unknown, or there is no object or too many tensors.
    TM_ERROR_MODEL = -16,
    /// A tensor contains a NaN or an infinity.
    TM_ERROR_NON_FINITE = -17,
    /// The states of the handlers do not fit into TM_RECORD_CAPACITY bytes.
    TM_ERROR_RECORD = -18,
    /// A better checkpoint with the same step is stored.
    TM_ERROR_BETTER_EXISTS = -19,
    /// The checkpoint is damaged, truncated, or is no checkpoint.
    TM_ERROR_DAMAGED = -20,
    /// The checkpoint has another format version than this library.
    TM_ERROR_VERSION = -21,
    /// The checkpoint has other tensors than the model.
    TM_ERROR_OTHER_MODEL = -22,
    /// The checkpoint was saved with other handlers. tm_checkpoint_load_best keeps its weights.
    TM_ERROR_OTHER_HANDLERS = -23,
    /// There are checkpoints, but none can be loaded. To start over, begin the run.
    TM_ERROR_NONE_LOADABLE = -24,
    /// The checkpoint became unreadable while it was loaded. Some tensors may have new values.
    TM_ERROR_UNREADABLE = -25,
    /// The bytes are not the state of this kind of object.
    TM_ERROR_STATE = -26,
    /// Any other failure.
    TM_ERROR_OTHER = -27,
}

use tm_status::*;

/// Returns a text for a status, in English. The text is a constant. An unknown number also has a text.
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub extern "C" fn tm_strerror(status: i32) -> *const c_char {
    text(status).as_ptr()
}

const fn text(status: i32) -> &'static CStr {
    match status {
        0 => c"success",
        1 => c"the run is over or should stop",
        2 => c"there is no such value or checkpoint",
        -1 => c"a pointer is null",
        -2 => c"a pointer is not aligned for its type",
        -3 => c"the object is not initialized; call its init function first",
        -4 => c"the object is in use; a callback cannot use it",
        -5 => c"a setting or an argument is not in its range",
        -6 => c"a buffer is too small",
        -7 => c"the engine has no room for the handler, or the handler is attached already",
        -8 => c"the run has begun; attach handlers before",
        -9 => c"tm_engine_end_iteration was not called for the last iteration",
        -10 => c"a callback of the flash, memory, writer or reader has failed",
        -11 => c"the flash or memory does not contain the bytes that were written",
        -12 => c"no free slot; the flash needs one slot more than the number of kept checkpoints",
        -13 => c"the checkpoint is longer than a slot",
        -14 => c"the sizes of the flash are not supported, or do not fit its region",
        -15 => {
            c"the flash contains checkpoints of another division into slots; erase it with tm_checkpoint_erase_flash"
        }
        -16 => c"the model has an invalid name, shape or type, or too many tensors",
        -17 => c"a tensor contains a NaN or an infinity",
        -18 => c"the states of the handlers do not fit into TM_RECORD_CAPACITY bytes",
        -19 => c"a better checkpoint with the same step is stored",
        -20 => c"the checkpoint is damaged",
        -21 => c"the checkpoint has another format version",
        -22 => c"the checkpoint has other tensors than the model",
        -23 => c"the checkpoint was saved with other handlers; tm_checkpoint_load_best keeps its weights",
        -24 => c"none of the stored checkpoints can be loaded; to start over, begin the run",
        -25 => c"the checkpoint became unreadable while it was loaded; some tensors may have new values",
        -26 => c"the bytes are not the state of this kind of object",
        -27 => c"another failure",
        _ => c"unknown status",
    }
}

/// The result of a function before it is returned to C. `Ok` contains a status of success.
pub(crate) type Result<T = ()> = core::result::Result<T, tm_status>;

/// Converts the result of a function without a value to a status.
pub(crate) fn status(result: Result) -> tm_status {
    result.map_or_else(|error| error, |()| TM_OK)
}

/// Writes a result to the memory of the caller. Returns `TM_NONE` if there is no value.
///
/// # Safety
/// `into` is null, or points to writable memory.
pub(crate) unsafe fn give<T>(result: Result<Option<T>>, into: *mut T) -> tm_status {
    match result {
        Err(error) => error,
        Ok(_) if into.is_null() => TM_ERROR_NULL,
        Ok(_) if !into.is_aligned() => TM_ERROR_MISALIGNED,
        Ok(None) => TM_NONE,
        Ok(Some(value)) => {
            // SAFETY: the pointer is not null and aligned, and the caller promises that the memory is writable.
            unsafe { into.write(value) };
            TM_OK
        }
    }
}

impl From<ConfigError> for tm_status {
    fn from(_: ConfigError) -> Self {
        TM_ERROR_SETTING
    }
}

impl From<RunRecordFull> for tm_status {
    fn from(_: RunRecordFull) -> Self {
        TM_ERROR_RECORD
    }
}

impl From<RegionError> for tm_status {
    fn from(error: RegionError) -> Self {
        match error {
            RegionError::OtherLayout { .. } => TM_ERROR_OTHER_LAYOUT,
            RegionError::TooFewSlots => TM_ERROR_SLOTS,
            _ => TM_ERROR_GEOMETRY,
        }
    }
}

impl From<RestoreError> for tm_status {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Missing { .. } | RestoreError::Unclaimed { .. } => TM_ERROR_OTHER_HANDLERS,
            RestoreError::RecordTooLong { .. } => TM_ERROR_RECORD,
            RestoreError::ListFailed => TM_ERROR_DEVICE,
            RestoreError::NoneLoadable { .. } => TM_ERROR_NONE_LOADABLE,
            RestoreError::BecameUnreadable { .. } => TM_ERROR_UNREADABLE,
            _ => TM_ERROR_STATE,
        }
    }
}

/// The status for an error of a store, a writer or a reader.
pub(crate) fn io_status(kind: ErrorKind) -> tm_status {
    match kind {
        ErrorKind::OutOfMemory => TM_ERROR_SLOTS,
        ErrorKind::NotFound => TM_NONE,
        ErrorKind::InvalidData => TM_ERROR_VERIFY,
        _ => TM_ERROR_DEVICE,
    }
}

/// The status for a failed save. `io` gives the status for an error of the store or the writer.
pub(crate) fn encode_status<E>(error: &EncodeError<E>, io: impl FnOnce(&E) -> tm_status) -> tm_status {
    match error {
        EncodeError::Io(error) => io(error),
        EncodeError::WriteZero => TM_ERROR_DEVICE,
        EncodeError::TooLong => TM_ERROR_TOO_LONG,
        EncodeError::NonFinite { .. } => TM_ERROR_NON_FINITE,
        EncodeError::RunRecordFull(_) => TM_ERROR_RECORD,
        EncodeError::TooFewPlaces { .. } => TM_ERROR_SLOTS,
        EncodeError::BetterExists => TM_ERROR_BETTER_EXISTS,
        EncodeError::NoSequenceLeft => TM_ERROR_OTHER,
        _ => TM_ERROR_MODEL,
    }
}

/// The status for a failed load. `io` gives the status for an error of the store or the reader.
pub(crate) fn decode_status<E>(error: &DecodeError<E>, io: impl FnOnce(&E) -> tm_status) -> tm_status {
    match error {
        DecodeError::Io(error) => io(error),
        DecodeError::Truncated
        | DecodeError::NotACheckpoint
        | DecodeError::Malformed
        | DecodeError::Checksum
        | DecodeError::NameTooLong => TM_ERROR_DAMAGED,
        DecodeError::Version { .. } | DecodeError::Newer => TM_ERROR_VERSION,
        DecodeError::Unavailable | DecodeError::TooManyItems => TM_ERROR_MODEL,
        _ => TM_ERROR_OTHER_MODEL,
    }
}
