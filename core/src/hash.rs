//! The hash of names and settings: FNV-1a with 32 bits. FORMAT.md specifies the hashed bytes, because the hashes are
//! stored in checkpoints.

/// A hash that is computed piece by piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(u32);

impl Hash {
    pub const NEW: Self = Hash(0x811C_9DC5);

    /// Adds `bytes` to the hash.
    #[inline(never)] // One copy of the code for all callers.
    #[must_use]
    pub const fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut rest = bytes;
        while let [byte, tail @ ..] = rest {
            self.0 = (self.0 ^ *byte as u32).wrapping_mul(0x0100_0193);
            rest = tail;
        }
        self
    }

    /// Adds the four bytes of `number` to the hash, the lowest first.
    #[must_use]
    pub const fn number(self, number: u32) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Returns the hash of all bytes that were added.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// Combines the halves of a hash to 16 bits.
pub(crate) const fn fold(hash: u32) -> u16 {
    (hash ^ hash >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::Hash;

    #[test]
    fn hash_is_fnv_1a() {
        assert_eq!(Hash::NEW.value(), 0x811C_9DC5);
        assert_eq!(Hash::NEW.bytes(b"a").value(), 0xE40C_292C);
        assert_eq!(Hash::NEW.bytes(b"foo").bytes(b"bar").value(), 0xBF9C_F968);
        assert_eq!(Hash::NEW.number(1).value(), Hash::NEW.bytes(&[1, 0, 0, 0]).value());
    }
}
