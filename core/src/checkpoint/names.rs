//! Functions that check the names and shapes of tensors. They are called before the first byte of a checkpoint is
//! written.

use super::element::MAX_RANK;
use crate::target::HOST;
use core::fmt;
use heapless::Vec;

/// The maximum length of the name of an object, a tensor, a score or a series in this program, in bytes: 255 on a 64-bit
/// host, which is also the limit of the format, and 32 on a microcontroller.
pub const MAX_NAME: usize = if HOST { FORMAT_MAX_NAME } else { 32 };

/// The maximum length of a name in a checkpoint, in bytes.
pub(super) const FORMAT_MAX_NAME: usize = 255;

/// The number of bytes of a name that an error keeps. A longer name would make every error large.
const SHOWN: usize = if HOST { 96 } else { 32 };

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

    pub fn as_bytes(&self) -> &[u8] {
        if self.too_long { &[] } else { &self.bytes }
    }

    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// The name of a tensor or of a value, as a part of an error. At most 96 bytes of the name are kept on a
/// 64-bit host, and 32 bytes on a microcontroller. `Display`
/// shows the name, with a question mark in place of each control character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ItemName {
    bytes: [u8; SHOWN],
    len: u8,
}

impl ItemName {
    pub(crate) fn new(name: &str) -> Self {
        Self::from_utf8(name.as_bytes())
    }

    /// Creates the name from bytes that are known to be valid UTF-8.
    #[inline(never)] // Called at many places.
    pub(super) fn from_utf8(name: &[u8]) -> Self {
        let mut item = ItemName { bytes: [0; SHOWN], len: 0 };
        // A name that is too long is truncated at the end of a character. In UTF-8, only the first byte of a character
        // does not begin with the bits 10.
        let is_boundary = |len: &usize| name.get(*len).is_none_or(|byte| byte & 0xC0 != 0x80);
        let len = (0..=SHOWN).rev().find(is_boundary).unwrap_or(0);
        let mut previous = 0;
        for (place, &byte) in item.bytes.iter_mut().zip(name).take(len) {
            // The UTF-8 encodings of the control characters U+0080 to U+009F begin with C2. They become U+00BF.
            let is_control = previous == 0xC2 && byte < 0xA0;
            *place = match byte {
                0..0x20 | 0x7F => b'?',
                _ if is_control => 0xBF,
                byte => byte,
            };
            item.len += 1;
            previous = byte;
        }
        item
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|name| core::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl From<&str> for ItemName {
    fn from(name: &str) -> Self {
        ItemName::new(name)
    }
}

impl fmt::Debug for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_str())
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ItemName {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

/// Returns whether `name` has a valid length, can be part of a file name, and contains no control character.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    // The UTF-8 encodings of the control characters U+0080 to U+009F begin with C2.
    let is_control = |pair: &[u8]| matches!(pair, [0xC2, 0x80..=0x9F]);
    let is_forbidden = |byte: &u8| matches!(byte, b'/' | b'\\' | 0..0x20 | 0x7F);
    !name.is_empty() && name.len() <= MAX_NAME && !name.iter().any(is_forbidden) && !name.windows(2).any(is_control)
}

/// Returns whether `shape` has at most [`MAX_RANK`] dimensions, and their product is `len`, the number of elements.
pub(super) fn shape_matches_len(shape: &[u32], len: usize) -> bool {
    shape.len() <= MAX_RANK && element_count(shape).is_some_and(|count| count as usize == len)
}

/// Returns the number of elements of a tensor with this shape. `None` if it does not fit into 32 bits.
pub(super) fn element_count(shape: &[u32]) -> Option<u32> {
    // Without this case, the product of the other dimensions could overflow although there are no elements.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u32, |product, side| product.checked_mul(*side))
}

/// Returns whether `bytes` are valid UTF-8. The result is the same as with `core::str::from_utf8`, but this function
/// has only a fifth of the code size. The names in a checkpoint are UTF-8.
#[must_use]
pub fn is_utf8(bytes: &[u8]) -> bool {
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
