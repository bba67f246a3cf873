//! Functions that check the names and shapes of tensors. They are called before the first byte of a checkpoint is
//! written.

use super::tensor::MAX_RANK;
use heapless::Vec;

/// The maximum length of the name of an object or a tensor, in bytes.
pub const MAX_NAME: usize = 32;

/// A buffer in which a name is composed of several parts. If the name is too long, [`as_str`](Self::as_str) returns an
/// empty string. An empty name is rejected later, whereas a truncated name could be accepted.
#[derive(Default)]
pub(crate) struct NameBuffer {
    bytes: Vec<u8, MAX_NAME, u8>,
    too_long: bool,
}

impl NameBuffer {
    /// Creates a name from `parts`, without separators.
    pub fn concat(parts: &[&str]) -> Self {
        let mut name = NameBuffer::default();
        // An empty part makes the whole name invalid, because an inner module passes an empty name if its own name is
        // too long.
        name.too_long |= parts.iter().any(|part| part.is_empty());
        // Pushes the bytes one by one. Copying a whole slice with `heapless` would add code that can panic at opt-level
        // "s".
        for byte in parts.iter().flat_map(|part| part.bytes()) {
            name.too_long |= name.bytes.push(byte).is_err();
        }
        name
    }

    pub fn as_str(&self) -> &str {
        if self.too_long { "" } else { core::str::from_utf8(&self.bytes).unwrap_or_default() }
    }
}

/// Returns whether `name` has a valid length and can be part of a file name.
pub(super) fn is_valid_name(name: &str) -> bool {
    let is_forbidden = |byte: u8| byte == b'/' || byte == b'\\' || byte < 0x20;
    !name.is_empty() && name.len() <= MAX_NAME && !name.bytes().any(is_forbidden)
}

/// Returns whether `shape` has at most [`MAX_RANK`] dimensions, and their product is `len`, the number of elements.
pub(super) fn shape_matches_len(shape: &[u32], len: usize) -> bool {
    let product = shape.iter().try_fold(1u32, |product, side| product.checked_mul(*side));
    shape.len() <= MAX_RANK && product.is_some_and(|product| product as usize == len)
}

/// Returns whether `bytes` are valid UTF-8. The result is the same as with `core::str::from_utf8`, but this function
/// has only a fifth of the code size.
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    // The state of the current character. `missing` is the number of bytes that must follow, and `code` is the code
    // point so far. A code point below `least` is invalid, because it must be encoded with fewer bytes.
    let (mut missing, mut code, mut least) = (0, 0u32, 0);
    for &byte in bytes {
        let ones = byte.leading_ones();
        if missing == 0 {
            (missing, least) = match ones {
                0 => continue,
                2 => (1, 0x80),
                3 => (2, 0x800),
                4 => (3, 0x1_0000),
                _ => return false,
            };
            code = u32::from(byte & (0x7F >> ones));
            continue;
        }
        if ones != 1 {
            return false;
        }
        code = code << 6 | u32::from(byte & 0x3F);
        missing -= 1;
        if missing == 0 && (code < least || char::from_u32(code).is_none()) {
            return false;
        }
    }
    missing == 0
}

#[cfg(test)]
mod tests {
    use super::is_utf8;

    #[test]
    fn utf8_validation_matches_core() {
        // Compares `is_utf8` with the standard library for all sequences of one and two bytes. Sequences of three and
        // four bytes use only the bytes below, which include one byte of each class that UTF-8 distinguishes.
        let classes = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC];
        let more = [0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF];
        let classes = || classes.iter().chain(&more).copied();
        let compare = |bytes: &[u8]| assert_eq!(is_utf8(bytes), core::str::from_utf8(bytes).is_ok(), "{bytes:x?}");
        for a in 0..=255 {
            compare(&[a]);
            (0..=255).for_each(|b| compare(&[a, b]));
        }
        for a in classes() {
            for b in classes() {
                for c in classes() {
                    compare(&[a, b, c]);
                    classes().for_each(|d| compare(&[a, b, c, d]));
                }
            }
        }
    }
}
