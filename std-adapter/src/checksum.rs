//! The CRC-32 of the checkpoint format, computed with the CRC instructions of the host CPU.

use training_monitor::checkpoint::Checksum;

/// The CRC-32 of the checkpoint format (CRC-32/ISO-HDLC), computed by the crate [`crc32fast`] with the CRC instructions
/// of the host CPU.
///
/// `Crc32Fast` computes the same sums as [`Crc32`](training_monitor::checkpoint::Crc32), many times faster.
///
/// ```
/// use training_monitor::checkpoint::Checksum;
/// use training_monitor_std::Crc32Fast;
///
/// let mut crc = Crc32Fast::default();
/// crc.update(b"1234");
/// crc.update(b"56789");
/// assert_eq!(crc.value(), 0xCBF4_3926);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Crc32Fast(crc32fast::Hasher);

impl Checksum for Crc32Fast {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}
