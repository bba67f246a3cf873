//! Checks of names and shapes before the first byte of a checkpoint is written.

use super::tensor::MAX_RANK;
use heapless::Vec;

/// The maximum length of the name of an object or a tensor, in bytes.
pub const MAX_NAME: usize = 32;

/// A name that is composed at run time. It becomes empty, which is not a valid name, if it is too long: it must not be
/// truncated to a valid name.
#[derive(Default)]
pub(crate) struct NameBuffer {
    bytes: Vec<u8, MAX_NAME, u8>,
    too_long: bool,
}

impl NameBuffer {
    /// Concatenates `parts`.
    pub fn concat(parts: &[&str]) -> Self {
        let mut name = NameBuffer::default();
        // `heapless` copies whole slices with code that contains a panic at opt-level "s".
        for byte in parts.iter().flat_map(|part| part.bytes()) {
            name.too_long |= name.bytes.push(byte).is_err();
        }
        name
    }

    pub fn as_str(&self) -> &str {
        if self.too_long { "" } else { core::str::from_utf8(&self.bytes).unwrap_or_default() }
    }
}

/// Whether `name` can be part of a file name.
pub(super) fn is_valid_name(name: &str) -> bool {
    let is_forbidden = |byte: u8| byte == b'/' || byte == b'\\' || byte < 0x20;
    !name.is_empty() && name.len() <= MAX_NAME && !name.bytes().any(is_forbidden)
}

/// Whether the product of the dimensions is the number of elements.
pub(super) fn shape_matches_len(shape: &[u32], len: usize) -> bool {
    let product = shape.iter().try_fold(1u32, |product, side| product.checked_mul(*side));
    shape.len() <= MAX_RANK && product.is_some_and(|product| product as usize == len)
}

/// Whether `bytes` are valid UTF-8. Same result as `core::str::from_utf8`, with a fifth of its code and no table.
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    // For the current character: the continuation bytes that are missing, the code point so far, and the smallest code
    // point that needs this many bytes.
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
        // All sequences of one and two bytes. For three and four bytes, one byte of each class that the rules distinguish.
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
