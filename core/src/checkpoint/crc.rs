//! CRC-32/ISO-HDLC (reflected 0xEDB88320, the CRC of zip and Ethernet): the checksum of the format.
//!
//! [`Checksum`] is a trait so that a device can use its CRC unit and a host a vectorised crate; all give the same sums,
//! which is what makes a file of one readable by the other. [`Crc32`] is the one that is always here: 64 bytes of
//! table, half a byte a step; with the feature `crc-table-4k` 4 KiB, four bytes a step.
//!
//! ```
//! use training_monitor::checkpoint::{Checksum, Crc32};
//!
//! let mut crc = Crc32::default();
//! crc.update(b"1234");
//! crc.update(b"56789");
//! assert_eq!(crc.value(), 0xCBF4_3926);
//! ```

/// A running CRC-32/ISO-HDLC. `default()` is the sum of nothing.
pub trait Checksum: Default {
    /// Takes in more bytes.
    fn update(&mut self, bytes: &[u8]);
    /// The sum of all bytes so far.
    fn value(&self) -> u32;
}

/// The built-in CRC-32.
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

/// `index` shifted through `bits` steps of the register.
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
    /// What each half byte adds.
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
        // A word at a time costs a Cortex-M4 seven instructions a byte, a byte at a time ten.
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
    /// What a byte adds when `after` bytes follow it in its word.
    const fn table(after: u32) -> [u32; 256] {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            table[index] = super::shifted(index as u32, 8 * (after + 1));
            index += 1;
        }
        table
    }

    // Not an array of four: with a base register for each a look-up is one instruction on Arm, from an array it is two.
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
