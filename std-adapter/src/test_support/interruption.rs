//! The states that a flash operation can leave if power fails during the operation.

use core::fmt;
use core::str::FromStr;

/// The effect of a power failure on the granule that is being programmed or on the block that is being erased. The text
/// form, for example `but-one`, can be parsed, so that a test can report and repeat a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interruption {
    /// The operation has changed nothing.
    Nothing,
    /// The operation is complete, but the call returns an error.
    Whole,
    /// Only the first byte of the granule is programmed.
    First,
    /// Only the first half of the granule is programmed.
    Half,
    /// All bytes of the granule but the last are programmed.
    ButOne,
    /// Each bit that the operation should change has changed or not, at random.
    Bits,
    /// The granule or the block contains random data.
    Garbage,
    /// The granule contains random data. Each later granule of the same call is programmed, unchanged or random.
    Scatter,
    /// The operation is complete, but many of the changed bits are unstable: each read returns a random value.
    Unstable,
    /// One bit is unstable. All other bits of the granule are programmed; all other bits of the block are unchanged.
    OneUnstable,
    /// Reading the granule or the block fails.
    Unreadable,
    /// The block is unchanged, but reading one of its granules fails.
    OneUnreadable,
    /// All bits of the block are 0.
    Zero,
    /// All bits of the block are 1.
    One,
    /// The first half of the block is unchanged, and the second half is 0.
    TailZero,
    /// The block is unchanged up to a random byte, and 0 from there.
    TailZeroAnywhere,
    /// The block is erased up to a random byte, and unchanged from there.
    HeadErased,
    /// The block is unchanged up to a random byte, and erased from there.
    TailErased,
    /// At most four random bits of the block are erased.
    AlmostErased,
}

impl Interruption {
    /// All interruptions of programming a granule. The last three apply only to granules of more than one byte.
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

    /// All interruptions of erasing a block.
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

    /// All interruptions of one kind of operation: erasing a block, or programming a granule of `write_size` bytes.
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
