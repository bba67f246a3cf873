//! The state of one slot, and the order in which saves use the slots.

use crate::store::{CheckpointMeta, SeriesId};

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub state: SlotState,
    /// The metadata of the checkpoint in the slot. The value is only meaningful if `state` says that the slot contains
    /// a checkpoint.
    pub meta: CheckpointMeta,
    /// The length of the checkpoint in bytes. The value is only meaningful if `state` says that the slot contains a
    /// checkpoint.
    pub len: u32,
    /// The number of erases of the slot.
    pub erases: u32,
    /// Whether an erase or a write of the slot has failed since the last commit in it.
    pub has_failed_once: bool,
    /// Whether erases or writes of the slot have failed repeatedly. The slot is used only if no other is free.
    pub failed: bool,
}

/// The state of a slot. The store lists only the checkpoints in `Committed` and `Unsealed` slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SlotState {
    /// The slot contains no valid checkpoint. It is blank, damaged, or cannot be read completely, so it is erased before
    /// it is used.
    Unknown,
    /// The slot contains data, but no valid checkpoint. An interrupted save or erase can leave unstable bits. A later
    /// opening can then read a valid checkpoint, and its sequence number can be that of a checkpoint saved since then, or
    /// higher. Therefore, the next save erases the slot.
    Remains,
    /// The flash driver returned an error for the commit record. The slot can contain a checkpoint, so the slot is used
    /// only after the others.
    Unreadable,
    /// Since the store was opened, an erase or a save of this slot was started and not completed. The next opening
    /// reads the slot again. Until then, the slot is used only if no other is free, and it is erased first.
    Unfinished,
    /// This number of bytes at the start of the slot has been erased, and nothing has been written to them since then.
    Erased(u32),
    /// The slot contains a checkpoint with a seal, so its commit is complete.
    Committed,
    /// The slot contains a complete checkpoint without a seal, because power failed at the end of the commit.
    Unsealed,
    /// The slot contains a checkpoint that was removed, or replaced by a newer one with the same step number. A removal
    /// is not stored in the flash.
    Removed,
}

impl Slot {
    pub const UNKNOWN: Self = Slot {
        state: SlotState::Unknown,
        meta: CheckpointMeta {
            sequence: 0,
            step: 0,
            run: 0,
            iteration: 0,
            score: None,
            series: SeriesId { rule: 0, model: 0 },
        },
        len: 0,
        erases: 0,
        has_failed_once: false,
        failed: false,
    };

    pub fn is_listed(&self) -> bool {
        matches!(self.state, SlotState::Committed | SlotState::Unsealed)
    }

    /// Returns the rank of a free slot, or `None` if the slot is not free. A new checkpoint uses the free slot with the
    /// lowest rank.
    pub fn allocation_order(&self) -> Option<u8> {
        match self.state {
            SlotState::Committed | SlotState::Unsealed => None,
            _ if self.failed => Some(6),
            SlotState::Erased(_) => Some(0),
            // A slot without a valid checkpoint is used before a slot with a removed checkpoint. Therefore, an
            // interrupted save is repeated in the same slot, and the remains of the interrupted save are erased.
            SlotState::Remains => Some(1),
            SlotState::Unknown => Some(2),
            SlotState::Removed => Some(3),
            SlotState::Unreadable => Some(4),
            SlotState::Unfinished => Some(5),
        }
    }
}
