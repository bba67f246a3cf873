//! What an operation may have done when the power went in it.

use core::fmt;
use core::str::FromStr;

/// The state that an interrupted operation leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing has changed.
    Nothing,
    /// All was done, and nobody was told.
    Whole,
    /// The granule has its first byte.
    First,
    /// The granule has half of its bytes.
    Half,
    /// The granule lacks its last byte.
    ButOne,
    /// Each bit that should have changed may have.
    Bits,
    /// Anything at all, in the granule or the block.
    Garbage,
    /// The granule is garbage, and those that the same call still had to program are there, not there, or garbage.
    Scatter,
    /// All was done, but many of the bits that changed read differently each time.
    Unstable,
    /// Programmed but for one bit, or not erased but for one, that reads differently each time.
    OneUnstable,
    /// Reading fails.
    Unreadable,
    /// Reading fails in one granule of a block that is as it was.
    OneUnreadable,
    /// The block is all zeros.
    Zero,
    /// The block is all ones.
    One,
    /// The first half of the block is as it was, the second zero.
    TailZero,
    /// As it was up to somewhere, zero from there.
    TailZeroAnywhere,
    /// Erased up to somewhere, as it was from there.
    HeadErased,
    /// As it was up to somewhere, erased from there.
    TailErased,
    /// Four bits of the block may be erased.
    AlmostErased,
}

impl Outcome {
    /// What can become of a granule that is being programmed. Those of granules of more than one byte last.
    pub const PROGRAM: [Outcome; 11] = [
        Outcome::Nothing,
        Outcome::Whole,
        Outcome::Bits,
        Outcome::Garbage,
        Outcome::Scatter,
        Outcome::Unstable,
        Outcome::OneUnstable,
        Outcome::Unreadable,
        Outcome::First,
        Outcome::Half,
        Outcome::ButOne,
    ];

    /// What can become of a block that is being erased.
    pub const ERASE: [Outcome; 15] = [
        Outcome::Nothing,
        Outcome::Whole,
        Outcome::Bits,
        Outcome::Garbage,
        Outcome::Unstable,
        Outcome::OneUnstable,
        Outcome::Unreadable,
        Outcome::OneUnreadable,
        Outcome::Zero,
        Outcome::One,
        Outcome::TailZero,
        Outcome::TailZeroAnywhere,
        Outcome::HeadErased,
        Outcome::TailErased,
        Outcome::AlmostErased,
    ];

    /// What can become of an operation on a flash with granules of `write` bytes.
    pub fn all(erase: bool, write: usize) -> &'static [Outcome] {
        match (erase, write) {
            (true, _) => &Self::ERASE,
            (false, 1) => &Self::PROGRAM[..8],
            (false, _) => &Self::PROGRAM,
        }
    }
}

const NAMES: [(&str, Outcome); 19] = [
    ("nothing", Outcome::Nothing),
    ("whole", Outcome::Whole),
    ("first", Outcome::First),
    ("half", Outcome::Half),
    ("but-one", Outcome::ButOne),
    ("bits", Outcome::Bits),
    ("garbage", Outcome::Garbage),
    ("scatter", Outcome::Scatter),
    ("unstable", Outcome::Unstable),
    ("one-unstable", Outcome::OneUnstable),
    ("unreadable", Outcome::Unreadable),
    ("one-unreadable", Outcome::OneUnreadable),
    ("zero", Outcome::Zero),
    ("one", Outcome::One),
    ("tail-zero", Outcome::TailZero),
    ("tail-zero-anywhere", Outcome::TailZeroAnywhere),
    ("head-erased", Outcome::HeadErased),
    ("tail-erased", Outcome::TailErased),
    ("almost-erased", Outcome::AlmostErased),
];

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, outcome)| outcome == self).map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(known, _)| *known == name);
        named.map(|(_, outcome)| *outcome).ok_or_else(|| format!("no outcome is called {name:?}"))
    }
}
