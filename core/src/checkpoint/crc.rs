//! The checksum at the end of a checkpoint: CRC-32/ISO-HDLC with the reflected polynomial 0xEDB88320. zip and Ethernet
//! use the same checksum.
//!
//! The default implementation is [`Crc32`]. It uses a table of 64 bytes. The feature `crc-table-4k` selects a faster
//! version with tables of 4 KiB.
//!
//! A program can implement the trait [`Checksum`] itself, for example with the CRC unit of a microcontroller. Every
//! implementation must return the same values, because one program may read the checkpoints of another.
//!
//! ```
//! use training_monitor::checkpoint::{Checksum, Crc32};
//!
//! let mut crc = Crc32::default();
//! crc.update(b"1234");
//! crc.update(b"56789");
//! assert_eq!(crc.value(), 0xCBF4_3926);
//! ```

/// A CRC-32/ISO-HDLC that is computed piece by piece. `default()` starts a new checksum, and [`update`](Self::update)
/// adds bytes to it.
pub trait Checksum: Default {
    /// Adds `bytes` to the checksum.
    fn update(&mut self, bytes: &[u8]);
    /// Returns the checksum of all bytes that were added.
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

/// Computes one entry of a CRC lookup table. Starts with a CRC register of the value `index`, shifts the register by
/// `bits` bits, and returns its new value.
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
    /// The lookup table of the CRC, with one entry for each possible half byte.
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
        // Reads four bytes at once, because this is faster. On a Cortex-M4, it takes 7 instructions per byte instead of
        // 10. The feature `small` avoids the code for it.
        let (words, rest) = if cfg!(feature = "small") { (&[][..], bytes) } else { bytes.as_chunks::<4>() };
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
    /// Creates the lookup table for one of the four bytes of a word. `after` is the number of bytes that follow this
    /// byte in the word.
    const fn table(after: u32) -> [u32; 256] {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            table[index] = super::shifted(index as u32, 8 * (after + 1));
            index += 1;
        }
        table
    }

    // Four separate tables, one for each byte of a 4-byte word, are faster on Arm than one array of tables. Each table
    // has its own base register, so a lookup takes one instruction instead of two.
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
