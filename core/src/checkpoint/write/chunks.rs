//! Checks and writes a tensor whose elements are passed in chunks. The functions are generic, so a program that has no
//! such tensor contains no code of them.
//!
//! The functions return [`TensorUnavailable`] after an error. The error itself is in [`Output::failure`], unless the
//! elements cannot be read.

use super::encoder::{write_elements, write_tensor_start};
use super::output::Output;
use crate::checkpoint::element::scan_of;
use crate::checkpoint::error::EncodeError;
use crate::checkpoint::format::Contents;
use crate::checkpoint::names::{ItemName, element_count};
use crate::checkpoint::objects::TensorChunks;
use crate::checkpoint::{ElementType, MAX_RANK, TensorUnavailable};

/// Returns the number of bytes of a tensor. Returns `None` if a checkpoint cannot contain them.
fn bytes_of(shape: &[u32], element_type: ElementType) -> Option<u32> {
    element_count(shape)?.checked_mul(element_type.size())
}

fn status(output: &Output<'_>) -> Result<(), TensorUnavailable> {
    if output.failure.is_none() { Ok(()) } else { Err(TensorUnavailable) }
}

/// Checks the shape of a tensor. Reads its elements if they can be invalid.
pub(super) fn check<C: TensorChunks>(
    output: &mut Output<'_>,
    contents: &Contents<'_>,
    name: &str,
    element_type: ElementType,
    shape: &[u32],
    chunks: &mut C,
) -> Result<(), TensorUnavailable> {
    if shape.len() > MAX_RANK {
        output.fail_item(name, |name| EncodeError::Shape { name });
    }
    let Some(len) = bytes_of(shape, element_type) else {
        output.fail(EncodeError::TooLong);
        return Err(TensorUnavailable);
    };
    status(output)?;
    let scan = scan_of(element_type).filter(|_| !contents.allow_non_finite);
    let is_bool = element_type == ElementType::Bool;
    if scan.is_none() && !is_bool {
        return Ok(());
    }
    let mut read = 0_u32;
    chunks.chunks(&mut |bytes| {
        if let Some(index) = scan.and_then(|scan| scan(bytes)) {
            let index = index.saturating_add(read / element_type.size());
            output.fail(EncodeError::NonFinite { name: ItemName::new(name), index });
        }
        if is_bool && bytes.iter().any(|byte| *byte > 1) {
            output.fail_item(name, |name| EncodeError::Bool { name });
        }
        read = read.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        status(output)
    })?;
    if read != len {
        output.fail_item(name, |name| EncodeError::Shape { name });
    }
    status(output)
}

/// Writes a tensor. If the length of the stream is only measured, the elements are not read.
pub(super) fn write<C: TensorChunks>(
    output: &mut Output<'_>,
    name: &str,
    element_type: ElementType,
    shape: &[u32],
    chunks: &mut C,
) -> Result<(), TensorUnavailable> {
    let len = bytes_of(shape, element_type).ok_or(TensorUnavailable)?;
    write_tensor_start(output, name, element_type, shape, len);
    if output.is_measuring() {
        output.count(len);
        return status(output);
    }
    let size = element_type.size();
    let mut missing = len;
    chunks.chunks(&mut |bytes| {
        let rest = u32::try_from(bytes.len()).ok().filter(|len| len.is_multiple_of(size));
        let Some(rest) = rest.and_then(|len| missing.checked_sub(len)) else {
            output.fail_item(name, |name| EncodeError::Shape { name });
            return Err(TensorUnavailable);
        };
        missing = rest;
        write_elements(output, bytes, size);
        status(output)
    })?;
    if missing > 0 {
        output.fail_item(name, |name| EncodeError::Shape { name });
    }
    status(output)
}
