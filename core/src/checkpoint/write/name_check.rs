//! Searches the names of a checkpoint for duplicates, with bounded memory and few passes over the names.
//!
//! Each name sets one bit of a table. If the bit is already set, either two names are equal, or two different names
//! have the same bit. The next pass compares the later name with all earlier ones. The search then continues after this
//! name. A model with 16 tensors on a microcontroller usually needs one pass.

use crate::checkpoint::names::NameBuffer;
use crate::hash::Hash;
use crate::target::HOST;

/// The number of bits in the table. A larger table needs fewer passes.
const BITS: u32 = if HOST { 32768 } else { 256 };

/// The search for duplicate names. Each pass calls [`is_duplicate`](Self::is_duplicate) for every name, and
/// then [`next`](Self::next).
pub(super) struct NameCheck {
    bits: [u32; BITS as usize / 32],
    /// The number of names before the current one.
    index: u32,
    /// The index of the object of the current name.
    object: u32,
    /// The number of names whose bits are only set in this pass, because earlier passes have already compared them.
    compared: u32,
    /// The name that the pass compares with earlier names, or the first name whose bit was already set.
    candidate: Option<Candidate>,
    /// Whether the pass compares the candidate with earlier names. Otherwise, it searches for a candidate.
    is_comparing: bool,
}

/// A name that may be equal to an earlier one.
struct Candidate {
    name: NameBuffer,
    index: u32,
    /// The index of the object of a tensor; `None` for the name of an object.
    object: Option<u32>,
}

impl Default for NameCheck {
    fn default() -> Self {
        NameCheck {
            bits: [0; BITS as usize / 32],
            index: 0,
            object: 0,
            compared: 0,
            candidate: None,
            is_comparing: false,
        }
    }
}

impl NameCheck {
    /// Receives the next name: the name of an object, or of a tensor of this object. Returns true if an earlier name is
    /// equal. Names of objects are unique in the checkpoint, and names of tensors are unique in their object.
    pub fn is_duplicate(&mut self, name: &str, is_object: bool) -> bool {
        self.object = self.object.saturating_add(u32::from(is_object));
        let object = (!is_object).then_some(self.object);
        let index = self.index;
        self.index = index.saturating_add(1);
        if self.is_comparing {
            return self.candidate.as_ref().is_some_and(|candidate| {
                index < candidate.index && candidate.object == object && candidate.name.as_bytes() == name.as_bytes()
            });
        }
        let bit = Hash::NEW.number(object.unwrap_or(0)).bytes(name.as_bytes()).value() % BITS;
        if let Some(word) = self.bits.get_mut((bit / 32) as usize) {
            let is_set = *word >> (bit % 32) & 1 != 0;
            *word |= 1 << (bit % 32);
            if is_set && index >= self.compared && self.candidate.is_none() {
                self.candidate = Some(Candidate { name: NameBuffer::concat(&[name]), index, object });
            }
        }
        false
    }

    /// Ends a pass. Returns whether another pass is necessary.
    pub fn next(&mut self) -> bool {
        let Some(candidate) = &self.candidate else { return false };
        (self.index, self.object) = (0, 0);
        if self.is_comparing {
            self.compared = candidate.index.saturating_add(1);
            self.candidate = None;
            self.bits = [0; BITS as usize / 32];
        }
        self.is_comparing = !self.is_comparing;
        true
    }
}
