//! The memory of an object, which the caller provides.
//!
//! A C program declares an opaque struct. Its init function writes a tag and the Rust value to the memory of the struct.
//! All other functions check the tag, so an object that is zeroed or contains other bytes is refused. An init function
//! that fails removes the tag.

use crate::status::{Result, tm_status};
use core::mem::{align_of, offset_of, size_of};
use tm_status::*;

/// The start of an opaque struct.
#[repr(C)]
pub(crate) struct Header {
    tag: u32,
    /// The events for which an engine calls the object.
    events: u32,
}

/// The content of an opaque struct.
#[repr(C)]
pub(crate) struct Tagged<T> {
    header: Header,
    value: T,
}

/// An opaque struct of the C interface.
pub(crate) trait Opaque: Sized {
    /// The value that the struct contains.
    type Value;
    /// The number at the start of an initialized struct, different for each type.
    const TAG: u32;
    /// Checks at compile time that the struct has the right size for this target, and not more than 32 bytes too many.
    const FITS: () = {
        assert!(size_of::<Tagged<Self::Value>>() <= size_of::<Self>(), "the opaque struct is too small");
        assert!(size_of::<Tagged<Self::Value>>() + 32 > size_of::<Self>(), "the opaque struct is too large");
        assert!(align_of::<Tagged<Self::Value>>() <= align_of::<Self>());
    };
}

/// Declares the content of an opaque struct. The tag is the text of four bytes.
macro_rules! opaque {
    ($name:ident, $tag:literal, $value:ty) => {
        impl $crate::object::Opaque for $name {
            type Value = $value;
            const TAG: u32 = u32::from_le_bytes(*$tag);
        }
    };
}
pub(crate) use opaque;

/// Returns an error for a pointer that cannot be used.
pub(crate) fn check<T>(pointer: *const T) -> Result {
    if pointer.is_null() {
        Err(TM_ERROR_NULL)
    } else if !pointer.is_aligned() {
        Err(TM_ERROR_MISALIGNED)
    } else {
        Ok(())
    }
}

/// Writes a value to the memory of an object. If `value` is an error, the object counts as not initialized.
///
/// # Safety
/// `object` is null, or points to writable memory of its type that no other thread uses.
pub(crate) unsafe fn init<O: Opaque>(object: *mut O, value: Result<O::Value>) -> tm_status {
    // SAFETY: the caller makes the same promise.
    unsafe { init_handler(object, value.map(|value| (value, 0))) }
}

/// Writes a value to the memory of an object, and the events for which an engine calls it.
///
/// # Safety
/// As for [`init`].
pub(crate) unsafe fn init_handler<O: Opaque>(object: *mut O, value: Result<(O::Value, u32)>) -> tm_status {
    // SAFETY: the caller makes the same promise.
    unsafe { init_with(object, || value) }
}

/// Writes the value that `create` returns to the memory of an object, and the events for which an engine calls it. A large
/// value is not copied to the arguments of another function.
///
/// # Safety
/// As for [`init`].
#[inline(always)]
pub(crate) unsafe fn init_with<O: Opaque>(
    object: *mut O,
    create: impl FnOnce() -> Result<(O::Value, u32)>,
) -> tm_status {
    const { O::FITS }
    if let Err(error) = check(object) {
        return error;
    }
    let tagged = object.cast::<Tagged<O::Value>>();
    match create() {
        Ok((value, events)) => {
            // SAFETY: the pointer is valid and aligned, and `FITS` proves that the memory is large enough.
            unsafe { tagged.write(Tagged { header: Header { tag: O::TAG, events }, value }) };
            TM_OK
        }
        Err(error) => {
            // SAFETY: as above.
            unsafe { (&raw mut (*tagged).header.tag).write(0) };
            error
        }
    }
}

/// Returns the header of an object, which can be a null pointer.
pub(crate) const fn header<O: Opaque>(object: *mut O) -> *const Header {
    object.cast_const().cast()
}

/// Returns the place of the value of an object. The object can be a null pointer or not initialized.
pub(crate) const fn value<O: Opaque>(object: *mut O) -> *mut O::Value {
    const { O::FITS }
    object.wrapping_byte_add(offset_of!(Tagged<O::Value>, value)).cast()
}

/// Returns a pointer to the value of an object.
///
/// # Safety
/// `object` is null, or points to memory of its type that was written before and that no other thread changes.
#[inline(always)] // The calls of the engine for each iteration use it.
pub(crate) unsafe fn pointer<O: Opaque>(object: *mut O) -> Result<*mut O::Value> {
    // SAFETY: the pointer is valid, and the caller promises that the memory is readable.
    if !object.is_null() && object.is_aligned() && unsafe { (*header(object)).tag } == O::TAG {
        return Ok(value(object));
    }
    // SAFETY: the caller makes the same promise.
    Err(unsafe { refusal(header(object), O::TAG) })
}

/// The reason why an object cannot be used.
///
/// # Safety
/// As for [`pointer`].
#[cold]
#[inline(never)] // One copy of the code for all objects.
unsafe fn refusal(header: *const Header, tag: u32) -> tm_status {
    if let Err(error) = check(header.cast::<u64>()) {
        return error;
    }
    // SAFETY: the pointer is aligned, and the caller promises that the memory is readable.
    if unsafe { (*header).tag } == !tag { TM_ERROR_BUSY } else { TM_ERROR_NOT_INITIALIZED }
}

/// Returns the events for which an engine calls an object.
///
/// # Safety
/// As for [`pointer`], with the header and the tag of the object.
pub(crate) unsafe fn events(header: *const Header, tag: u32) -> Result<u32> {
    // SAFETY: the pointer is valid, and the caller promises that the memory is readable.
    match check(header.cast::<u64>()).map(|()| unsafe { &*header }) {
        Ok(header) if header.tag == tag => Ok(header.events),
        // SAFETY: the caller makes the same promise.
        _ => Err(unsafe { refusal(header, tag) }),
    }
}

/// An object that is in use. Until this value is dropped, all functions refuse the object, so a callback cannot use it.
pub(crate) struct InUse<O: Opaque> {
    object: *mut O,
}

impl<O: Opaque> InUse<O> {
    /// Borrows the value of an object and marks the object.
    ///
    /// # Safety
    /// As for [`get`].
    #[inline(always)] // The calls of the engine for each iteration use it.
    pub unsafe fn new<'a>(object: *mut O) -> Result<(&'a mut O::Value, Self)> {
        // SAFETY: the caller makes the same promise, and only an init function writes the tag, after the value.
        let value = unsafe { &mut *pointer(object)? };
        // SAFETY: the object is initialized, and the tag is beside the value.
        unsafe { (&raw mut (*object.cast::<Header>()).tag).write(!O::TAG) };
        Ok((value, InUse { object }))
    }
}

impl<O: Opaque> Drop for InUse<O> {
    fn drop(&mut self) {
        // SAFETY: the object was initialized when this value was created.
        unsafe { (&raw mut (*self.object.cast::<Header>()).tag).write(O::TAG) };
    }
}

/// Borrows the value of an object.
///
/// # Safety
/// As for [`pointer`]. While the reference exists, nothing else uses the object.
pub(crate) unsafe fn get<'a, O: Opaque>(object: *mut O) -> Result<&'a mut O::Value> {
    // SAFETY: only an init function writes the tag, after the value.
    unsafe { pointer(object).map(|value| &mut *value) }
}

/// Borrows the value of an object, to read it.
///
/// # Safety
/// As for [`pointer`]. While the reference exists, nothing changes the object.
pub(crate) unsafe fn view<'a, O: Opaque>(object: *const O) -> Result<&'a O::Value> {
    // SAFETY: only an init function writes the tag, after the value.
    unsafe { pointer(object.cast_mut()).map(|value| &*value) }
}

/// Reads settings or another struct of the caller.
///
/// # Safety
/// `settings` is null, or points to a valid value.
pub(crate) unsafe fn read<'a, T>(settings: *const T) -> Result<&'a T> {
    check(settings)?;
    // SAFETY: the pointer is not null and aligned, and the caller promises that the value is valid.
    Ok(unsafe { &*settings })
}

/// Borrows an array of the caller. An empty array can have a null pointer.
///
/// # Safety
/// `elements` is null, or points to `len` valid elements.
pub(crate) unsafe fn slice<'a, T>(elements: *const T, len: usize) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check(elements)?;
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(TM_ERROR_SETTING);
    }
    // SAFETY: the pointer is not null and aligned, the length is possible, and the caller promises that the elements are
    // valid.
    Ok(unsafe { core::slice::from_raw_parts(elements, len) })
}

/// Borrows an array of the caller, to change it.
///
/// # Safety
/// As for [`slice`]. While the reference exists, nothing else uses the array.
pub(crate) unsafe fn slice_mut<'a, T>(elements: *mut T, len: usize) -> Result<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check(elements)?;
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(TM_ERROR_SETTING);
    }
    // SAFETY: as for `slice`, and the caller promises exclusive use.
    Ok(unsafe { core::slice::from_raw_parts_mut(elements, len) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::println;

    fn words<O: Opaque>(name: &str) {
        let (used, declared) = (size_of::<Tagged<O::Value>>().div_ceil(8), size_of::<O>() / 8);
        println!("{name}: {used} of {declared} words");
        assert!(used <= declared && declared < used + 4, "{name}: {used} of {declared} words");
    }

    /// Prints the numbers for the constants of a target.
    #[test]
    fn opaque_structs_have_the_right_size() {
        words::<crate::tm_callback>("tm_callback");
        words::<crate::tm_checkpoint>("tm_checkpoint");
        words::<crate::tm_early_stopping>("tm_early_stopping");
        words::<crate::tm_engine>("tm_engine");
        words::<crate::tm_nan_guard>("tm_nan_guard");
        words::<crate::tm_plateau>("tm_plateau");
        words::<crate::tm_policy>("tm_policy");
        words::<crate::tm_running_average>("tm_running_average");
        words::<crate::tm_score_limits>("tm_score_limits");
        words::<crate::tm_time_limit>("tm_time_limit");
        words::<crate::tm_timer>("tm_timer");
        words::<crate::tm_weight_average>("tm_weight_average");
        words::<crate::tm_weight_guard>("tm_weight_guard");
    }
}
