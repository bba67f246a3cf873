//! The possible effects of a power failure during an operation of a flash or of byte-addressable memory.

use core::fmt;
use core::str::FromStr;

/// The effect of a power failure on the granule that is being programmed or on the block that is being erased. A
/// granule is the smallest unit that can be programmed. A page of byte-addressable memory is a granule.
///
/// Each effect has a text form, for example `but-one`. A test can print this text to report a failure and parse it to
/// repeat the failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interruption {
    /// The power failure occurs before the first change, so the granule or the block is unchanged.
    Nothing,
    /// The operation is complete. The call nevertheless returns an error, because the power is off.
    Whole,
    /// Only the first byte of the granule is programmed.
    First,
    /// Only the first half of the granule is programmed.
    Half,
    /// All bytes of the granule but the last are programmed.
    ButOne,
    /// Each bit that the operation should change is changed or unchanged, at random.
    Bits,
    /// The granule or the block contains random data.
    Garbage,
    /// The granule contains random data. Each later granule of the same call is completely programmed, unchanged or
    /// random.
    Scatter,
    /// The operation is complete, but many of the changed bits are unstable: they have a random value in each read.
    Unstable,
    /// One bit is unstable: it has a random value in each read. During programming, all other bits are programmed.
    /// During an erase, all other bits are unchanged. In byte-addressable memory, all other bits are either written or
    /// unchanged.
    OneUnstable,
    /// Reading the granule (the smallest unit that the flash can write) or the block fails.
    Unreadable,
    /// The block has the same content as before the erase, but one granule (write unit) of the block can no longer be
    /// read.
    OneUnreadable,
    /// All bits of the block or the page are 0.
    Zero,
    /// All bits of the block or the page are 1.
    One,
    /// The first half of the block is unchanged. All bytes of the second half are 0.
    TailZero,
    /// The block is unchanged before a random position. All bytes after this position are 0.
    TailZeroAnywhere,
    /// The block is erased before a random position, and unchanged after this position.
    HeadErased,
    /// The block is unchanged before a random position, and erased after this position.
    TailErased,
    /// At most four random bits of the block are erased. All other bits are unchanged.
    AlmostErased,
}

impl Interruption {
    /// All possible effects of a power failure on the programming of a granule. The last three effects require a
    /// granule of at least two bytes.
    pub const PROGRAM: [Interruption; 11] = [
        Interruption::Nothing,
        Interruption::Whole,
        Interruption::Bits,
        Interruption::Garbage,
        Interruption::Scatter,
        Interruption::Unstable,
        Interruption::OneUnstable,
        Interruption::Unreadable,
        Interruption::First,
        Interruption::Half,
        Interruption::ButOne,
    ];

    /// All possible effects of a power failure on the erase of a block.
    pub const ERASE: [Interruption; 15] = [
        Interruption::Nothing,
        Interruption::Whole,
        Interruption::Bits,
        Interruption::Garbage,
        Interruption::Unstable,
        Interruption::OneUnstable,
        Interruption::Unreadable,
        Interruption::OneUnreadable,
        Interruption::Zero,
        Interruption::One,
        Interruption::TailZero,
        Interruption::TailZeroAnywhere,
        Interruption::HeadErased,
        Interruption::TailErased,
        Interruption::AlmostErased,
    ];

    /// All possible effects of a power failure on the write of a page of byte-addressable memory, or of a byte if a page
    /// is one byte. The last three effects require a page of at least two bytes.
    pub const OVERWRITE: [Interruption; 13] = [
        Interruption::Nothing,
        Interruption::Whole,
        Interruption::Bits,
        Interruption::Garbage,
        Interruption::Scatter,
        Interruption::Unstable,
        Interruption::OneUnstable,
        Interruption::Unreadable,
        Interruption::Zero,
        Interruption::One,
        Interruption::First,
        Interruption::Half,
        Interruption::ButOne,
    ];

    /// Returns all possible effects of a power failure on the write of a page of `page` bytes in byte-addressable memory.
    pub fn all_of_overwrite(page: usize) -> &'static [Interruption] {
        if page == 1 { &Self::OVERWRITE[..10] } else { &Self::OVERWRITE }
    }

    /// Returns all possible effects of a power failure on an operation of a flash. The operation is the erase of a block if
    /// `erase` is `true`, and otherwise the programming of a granule of `write_size` bytes.
    pub fn all(erase: bool, write_size: usize) -> &'static [Interruption] {
        match (erase, write_size) {
            (true, _) => &Self::ERASE,
            (false, 1) => &Self::PROGRAM[..8],
            (false, _) => &Self::PROGRAM,
        }
    }
}

const NAMES: [(&str, Interruption); 19] = [
    ("nothing", Interruption::Nothing),
    ("whole", Interruption::Whole),
    ("first", Interruption::First),
    ("half", Interruption::Half),
    ("but-one", Interruption::ButOne),
    ("bits", Interruption::Bits),
    ("garbage", Interruption::Garbage),
    ("scatter", Interruption::Scatter),
    ("unstable", Interruption::Unstable),
    ("one-unstable", Interruption::OneUnstable),
    ("unreadable", Interruption::Unreadable),
    ("one-unreadable", Interruption::OneUnreadable),
    ("zero", Interruption::Zero),
    ("one", Interruption::One),
    ("tail-zero", Interruption::TailZero),
    ("tail-zero-anywhere", Interruption::TailZeroAnywhere),
    ("head-erased", Interruption::HeadErased),
    ("tail-erased", Interruption::TailErased),
    ("almost-erased", Interruption::AlmostErased),
];

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, interruption)| interruption == self).map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Interruption {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(known, _)| *known == name);
        named.map(|(_, interruption)| *interruption).ok_or_else(|| {
            format!("unknown interruption {name:?}: expected a name such as \"nothing\" or \"one-unstable\"")
        })
    }
}
