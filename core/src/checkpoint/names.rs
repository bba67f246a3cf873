//! What is checked of an object or a tensor before a byte is written: a name that a file can bear, a shape that gives
//! the length. It reads no element of any tensor.

use super::objects::{MAX_NAME, MAX_RANK};

pub(super) fn name_is_good(name: &str) -> bool {
    let separators = |byte: u8| byte == b'/' || byte == b'\\' || byte < 0x20;
    !name.is_empty() && name.len() <= MAX_NAME && !name.bytes().any(separators)
}

pub(super) fn shape_fits(shape: &[u32], len: usize) -> bool {
    let product = shape.iter().try_fold(1u32, |product, side| product.checked_mul(*side));
    shape.len() <= MAX_RANK && product.is_some_and(|product| product as usize == len)
}

/// Whether `bytes` are UTF-8, as `core::str::from_utf8` has it, in a fifth of its code and without its table.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    // Of the character under way: bytes to come, bits so far, and the least that it may come to.
    let (mut left, mut code, mut least) = (0, 0u32, 0);
    for &byte in bytes {
        let ones = byte.leading_ones();
        if left == 0 {
            (left, least) = match ones {
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
        left -= 1;
        if left == 0 && (code < least || char::from_u32(code).is_none()) {
            return false;
        }
    }
    left == 0
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn text_is_what_core_takes_for_utf8() {
        // All of one and two bytes, and of three and four each class of byte that the rules tell apart.
        let classes = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC];
        let more = [0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF];
        let classes = || classes.iter().chain(&more).copied();
        let same = |bytes: &[u8]| assert_eq!(is_text(bytes), core::str::from_utf8(bytes).is_ok(), "{bytes:x?}");
        for a in 0..=255 {
            same(&[a]);
            (0..=255).for_each(|b| same(&[a, b]));
        }
        for a in classes() {
            for b in classes() {
                for c in classes() {
                    same(&[a, b, c]);
                    classes().for_each(|d| same(&[a, b, c, d]));
                }
            }
        }
    }
}
