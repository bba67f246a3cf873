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

    pub fn update(mut crc: u32, bytes: &[u8]) -> u32 {
        for &byte in bytes {
            crc ^= u32::from(byte);
            crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
            crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
        }
        crc
    }
}

#[cfg(feature = "crc-table-4k")]
mod imp {
    /// What a byte adds when 0, 1, 2 or 3 bytes follow it in its group.
    static TABLES: [[u32; 256]; 4] = {
        let mut tables = [[0; 256]; 4];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut after = 0;
            while after < 4 {
                value = super::shifted(value, 8);
                tables[after][index] = value;
                after += 1;
            }
            index += 1;
        }
        tables
    };

    pub fn update(mut crc: u32, bytes: &[u8]) -> u32 {
        let (groups, rest) = bytes.as_chunks::<4>();
        for group in groups {
            let [a, b, c, d] = (crc ^ u32::from_le_bytes(*group)).to_le_bytes();
            let [first, second, third, fourth] = &TABLES;
            crc = fourth[a as usize] ^ third[b as usize] ^ second[c as usize] ^ first[d as usize];
        }
        for &byte in rest {
            let [index, ..] = (crc ^ u32::from(byte)).to_le_bytes();
            crc = (crc >> 8) ^ TABLES[0][index as usize];
        }
        crc
    }
}
