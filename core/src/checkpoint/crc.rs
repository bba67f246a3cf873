//! CRC-32/ISO-HDLC (reflected polynomial 0xEDB88320, used by zip and Ethernet): the checksum of the format.
//!
//! [`Checksum`] is a trait, so that a device can use its CRC unit and a host a vectorised crate. All implementations
//! must return the same values, because one program reads the files of another. [`Crc32`] is the default implementation.
//! It uses a table of 64 bytes and processes half a byte per step. With the feature `crc-table-4k` it uses 4 KiB and
//! processes four bytes per step.
//!
//! ```
//! use training_monitor::checkpoint::{Checksum, Crc32};
//!
//! let mut crc = Crc32::default();
//! crc.update(b"1234");
//! crc.update(b"56789");
//! assert_eq!(crc.value(), 0xCBF4_3926);
//! ```

/// An incremental CRC-32/ISO-HDLC. `default()` is the checksum of no bytes.
pub trait Checksum: Default {
    /// Adds bytes.
    fn update(&mut self, bytes: &[u8]);
    /// The checksum of all bytes so far.
    fn value(&self) -> u32;
}

/// The default CRC-32 implementation.
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Crc32(!0)
    }
}

impl Checksum for Crc32 {
    fn update(&mut self, bytes: &[u8]) {
        self.0 = imp::update(self.0, bytes);
    }
    fn value(&self) -> u32 {
        !self.0
    }
}

/// The register after `bits` steps, starting with `index`.
const fn shifted(index: u32, bits: u32) -> u32 {
    let mut value = index;
    let mut bit = 0;
    while bit < bits {
        value = (value >> 1) ^ (0xEDB8_8320 & (value & 1).wrapping_neg());
        bit += 1;
    }
    value
}

#[cfg(not(feature = "crc-table-4k"))]
mod imp {
    /// The contribution of each half byte.
    static TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            table[index] = super::shifted(index as u32, 4);
            index += 1;
        }
        table
    };

    #[inline(always)]
    const fn half_byte(crc: u32) -> u32 {
        (crc >> 4) ^ TABLE[(crc & 15) as usize]
    }

    #[inline(always)]
    const fn byte(crc: u32) -> u32 {
        half_byte(half_byte(crc))
    }

    pub fn update(mut crc: u32, bytes: &[u8]) -> u32 {
        // Reading words takes seven instructions per byte on a Cortex-M4; reading bytes takes ten.
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            crc = byte(byte(byte(byte(crc ^ u32::from_le_bytes(*word)))));
        }
        for &next in rest {
            crc = byte(crc ^ u32::from(next));
        }
        crc
    }
}

#[cfg(feature = "crc-table-4k")]
mod imp {
    /// The contribution of each byte that is followed by `after` bytes in its word.
    const fn table(after: u32) -> [u32; 256] {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            table[index] = super::shifted(index as u32, 8 * (after + 1));
            index += 1;
        }
        table
    }

    // Four tables instead of an array of four: with one base register per table, a look-up takes one instruction on Arm
    // instead of two.
    static LAST: [u32; 256] = table(0);
    static THIRD: [u32; 256] = table(1);
    static SECOND: [u32; 256] = table(2);
    static FIRST: [u32; 256] = table(3);

    pub fn update(mut crc: u32, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            let [a, b, c, d] = (crc ^ u32::from_le_bytes(*word)).to_le_bytes();
            crc = FIRST[a as usize] ^ SECOND[b as usize] ^ THIRD[c as usize] ^ LAST[d as usize];
        }
        for &byte in rest {
            let [index, ..] = (crc ^ u32::from(byte)).to_le_bytes();
            crc = (crc >> 8) ^ LAST[index as usize];
        }
        crc
    }
}
