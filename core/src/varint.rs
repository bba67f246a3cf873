//! Variable-length integers in the format of the `postcard` crate. Each byte contains 7 bits of the number, least
//! significant bits first. The highest bit is set in every byte except the last one.
//!
//! Checkpoints and run records contain such integers.

/// Returns the number of bytes that `value` takes as a variable-length integer.
pub(crate) const fn len(value: u32) -> u32 {
    let mut len = 1;
    let mut rest = value >> 7;
    while rest > 0 {
        len += 1;
        rest >>= 7;
    }
    len
}

macro_rules! varint {
    ($number:ident, $write:ident, $read:ident) => {
        #[doc = concat!("Passes the bytes of a `", stringify!($number), "` to `push`.")]
        #[inline(always)]
        pub(crate) fn $write(mut value: $number, mut push: impl FnMut(u8)) {
            while value >= 0x80 {
                let [low, ..] = value.to_le_bytes();
                push(low | 0x80);
                value >>= 7;
            }
            let [low, ..] = value.to_le_bytes();
            push(low);
        }

        #[doc = concat!("Reads a `", stringify!($number), "`. `None` if `next` returns `None` or if the number does not fit.")]
        #[inline(always)]
        pub(crate) fn $read(mut next: impl FnMut() -> Option<u8>) -> Option<$number> {
            // The position of the lowest bit in the last possible byte. For example, the fifth and last byte of a `u32`
            // contains the bits 28 to 31, so the position is 28.
            const LAST_SHIFT: u32 = ($number::BITS - 1) / 7 * 7;
            const LAST_MAX: u8 = ((1 << ($number::BITS - LAST_SHIFT)) - 1) as u8;
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = next()?;
                if shift == LAST_SHIFT && byte > LAST_MAX {
                    return None;
                }
                value |= $number::from(byte & 0x7F) << shift;
                if byte & 0x80 == 0 {
                    return Some(value);
                }
                shift += 7;
            }
        }
    };
}

varint!(u32, write_u32, read_u32);
varint!(u64, write_u64, read_u64);

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn numbers_at_every_length_boundary_survive_a_round_trip() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1u64 << bits) - 1, u64::MAX >> bits] {
                let mut bytes = Vec::new();
                write_u64(value, |byte| bytes.push(byte));
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
