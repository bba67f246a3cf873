//! postcard's variable-length integers: 7 bits per byte, least significant bits first. The high bit is set on every
//! byte except the last one.
//!
//! The only implementation in the crate; the checkpoint stream and the run record both use it.

/// The largest last byte of a `u32`, which is its fifth byte.
const U32_LAST_BYTE: (u32, u8) = (28, 0x0F);

/// The largest last byte of a `u64`, which is its tenth byte.
const U64_LAST_BYTE: (u32, u8) = (63, 0x01);

/// Passes the bytes of `value` to `push`.
#[inline(always)]
pub(crate) fn write(mut value: u64, mut push: impl FnMut(u8)) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    push(low);
}

/// The number of bytes that [`write`] produces for `value`.
pub(crate) const fn len(value: u32) -> u32 {
    let mut len = 1;
    let mut rest = value >> 7;
    while rest > 0 {
        len += 1;
        rest >>= 7;
    }
    len
}

/// Reads a `u32`. `None` if `next` returns `None` or if the number does not fit.
#[inline(always)]
pub(crate) fn read_u32(mut next: impl FnMut() -> Option<u8>) -> Option<u32> {
    let (last_shift, last_max) = U32_LAST_BYTE;
    let mut value = 0;
    for shift in (0..=last_shift).step_by(7) {
        let byte = next()?;
        if shift == last_shift && byte > last_max {
            return None;
        }
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads a `u64`. `None` if `next` returns `None` or if the number does not fit.
pub(crate) fn read_u64(mut next: impl FnMut() -> Option<u8>) -> Option<u64> {
    let (last_shift, last_max) = U64_LAST_BYTE;
    let mut value = 0;
    for shift in (0..=last_shift).step_by(7) {
        let byte = next()?;
        if shift == last_shift && byte > last_max {
            return None;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn numbers_at_every_length_boundary_survive_a_round_trip() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1u64 << bits) - 1, u64::MAX >> bits] {
                let mut bytes = Vec::new();
                write(value, |byte| bytes.push(byte));
                let mut rest = bytes.iter().copied();
                assert_eq!(read_u64(|| rest.next()), Some(value));
                let mut rest = bytes.iter().copied();
                assert_eq!(read_u32(|| rest.next()), u32::try_from(value).ok());
                if let Ok(value) = u32::try_from(value) {
                    assert_eq!(len(value) as usize, bytes.len());
                }
            }
        }
    }

    #[test]
    fn truncated_and_overlong_numbers_are_rejected() {
        let read = |bytes: &[u8]| {
            let mut rest = bytes.iter().copied();
            read_u32(|| rest.next())
        };
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), Some(u32::MAX));
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0x10]), None);
    }
}
