//! Stores with a deliberate mistake, which the simulator must detect.

use super::files::{File, Files, NotFound};
use super::medium::{Inspect, Medium, MediumCheckpoint, Sum};
use super::program::Program;
use super::watch::Watch;
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// Opening removes the oldest checkpoint if there are several.
pub const DROPS_AT_OPEN: u8 = 0;
/// Each third commit returns `Ok` but stores nothing.
pub const LYING_COMMIT: u8 = 1;
/// The oldest checkpoint is removed before the new one is committed.
pub const EVICTS_BEFORE_COMMIT: u8 = 2;
/// The newest checkpoint is not listed.
pub const HIDES_NEWEST: u8 = 3;
/// A commit swaps the files of the new checkpoint with those of the oldest one.
pub const MIXES_FILES: u8 = 4;
/// A removal removes all checkpoints.
pub const REMOVES_ALL: u8 = 5;

/// Files with a deliberate mistake.
#[derive(Clone, Debug)]
pub struct Mistaken<const MISTAKE: u8> {
    files: Files,
    commits: u32,
}

impl<const MISTAKE: u8> Medium for Mistaken<MISTAKE> {
    type Store<'a> = &'a mut Self;

    fn new(seed: u64) -> Self {
        Mistaken { files: Files::new(seed), commits: 0 }
    }
    fn open<'a>(&'a mut self, program: &Program, watch: &'a Watch) -> Result<&'a mut Self, String> {
        Medium::open(&mut self.files, program, watch)?;
        if MISTAKE == DROPS_AT_OPEN {
            self.remove_oldest();
        }
        Ok(self)
    }
    fn damage(&mut self, program: &Program, sequence: u32, byte: u8) {
        Medium::damage(&mut self.files, program, sequence, byte);
    }
    fn remove(&mut self, program: &Program, sequence: u32) {
        Medium::remove(&mut self.files, program, sequence);
    }
    fn erase(&mut self, program: &Program) {
        Medium::erase(&mut self.files, program);
    }
}

impl<const MISTAKE: u8> Mistaken<MISTAKE> {
    /// Removes the oldest checkpoint if there are several.
    fn remove_oldest(&mut self) {
        if let (Ok(Some(oldest)), Ok(Some(_))) = (self.files.checkpoint(0), self.files.checkpoint(1)) {
            let _ = Store::remove(&mut self.files, oldest.sequence);
        }
    }
}

impl<const MISTAKE: u8> Inspect for &mut Mistaken<MISTAKE> {
    fn inspect(&mut self) -> Vec<MediumCheckpoint> {
        (&mut self.files).inspect()
    }
}

impl<const MISTAKE: u8> Store for Mistaken<MISTAKE> {
    type Error = NotFound;
    type Writer<'a> = File<&'a mut Vec<u8>>;
    type Reader<'a> = File<&'a [u8]>;
    type Checksum = Sum;

    const STREAM_PER_OBJECT: bool = true;
    const SHARED: bool = true;

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, NotFound> {
        if MISTAKE == EVICTS_BEFORE_COMMIT && spec.stream_index == 0 {
            self.remove_oldest();
        }
        self.files.create(spec)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), NotFound> {
        self.commits += 1;
        if MISTAKE == LYING_COMMIT && self.commits.is_multiple_of(3) {
            return Ok(());
        }
        self.files.commit(header, last)?;
        if MISTAKE == MIXES_FILES {
            self.files.mix();
        }
        Ok(())
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, NotFound> {
        if MISTAKE == HIDES_NEWEST && index > 0 && self.files.checkpoint(index + 1)?.is_none() {
            return Ok(None);
        }
        self.files.checkpoint(index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, NotFound> {
        self.files.stream_count(sequence)
    }
    fn damaged(&mut self) -> u32 {
        self.files.damaged()
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, NotFound> {
        Store::open(&mut self.files, sequence, stream_index)
    }
    fn remove(&mut self, sequence: u32) -> Result<(), NotFound> {
        if MISTAKE == REMOVES_ALL {
            Medium::erase(&mut self.files, &Program::default());
        }
        Store::remove(&mut self.files, sequence)
    }
}
