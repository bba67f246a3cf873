//! Stores with a deliberate mistake, which the simulator must detect.

use super::directory::{DirectoryMedium, WatchedDisk};
use super::medium::{Inspect, Medium, MediumCheckpoint};
use super::program::Program;
use super::watch::Watch;
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
use training_monitor_std::directory::{Directory, FileSystem, Reader, Writer};

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

/// A commit returns `Ok` before the files are on the medium.
pub const NOT_DURABLE: u8 = 6;

/// A directory with a deliberate mistake.
#[derive(Clone, Debug)]
pub struct Mistaken<const MISTAKE: u8>(DirectoryMedium);

impl<const MISTAKE: u8> Medium for Mistaken<MISTAKE> {
    type Store<'a> = MistakenDirectory<'a, MISTAKE>;

    fn new(seed: u64) -> Self {
        Mistaken(DirectoryMedium::new(seed))
    }
    fn open<'a>(&'a mut self, _: &Program, watch: &'a Watch) -> Result<Self::Store<'a>, String> {
        let directory = self.0.open_with(MISTAKE != NOT_DURABLE, watch)?;
        let mut store = MistakenDirectory { directory, commits: 0 };
        if MISTAKE == DROPS_AT_OPEN {
            store.remove_oldest();
        }
        Ok(store)
    }
    fn damage(&mut self, program: &Program, sequence: u32, byte: u8) {
        self.0.damage(program, sequence, byte);
    }
    fn remove(&mut self, program: &Program, sequence: u32) {
        self.0.remove(program, sequence);
    }
    fn erase(&mut self, program: &Program) {
        self.0.erase(program);
    }
}

/// The open store of [`Mistaken`].
#[derive(Debug)]
pub struct MistakenDirectory<'d, const MISTAKE: u8> {
    directory: Directory<WatchedDisk<'d>>,
    commits: u32,
}

impl<const MISTAKE: u8> MistakenDirectory<'_, MISTAKE> {
    /// Removes the oldest checkpoint if there are several.
    fn remove_oldest(&mut self) {
        if let (Ok(Some(oldest)), Ok(Some(_))) = (self.directory.checkpoint(0), self.directory.checkpoint(1)) {
            let _ = self.directory.remove(oldest.sequence);
        }
    }

    /// Swaps the files of the oldest checkpoint with those of the checkpoint `newest`.
    fn mix(&mut self, newest: u32) {
        let Ok(Some(oldest)) = self.directory.checkpoint(0) else { return };
        let (disk, temporary) = (self.directory.file_system(), self.directory.path().join("swap"));
        for (old, new) in self.directory.files(oldest.sequence).zip(self.directory.files(newest)) {
            for (from, to) in [(&old, &temporary), (&new, &old), (&temporary, &new)] {
                let _ = disk.rename(from, to);
            }
        }
    }
}

impl<const MISTAKE: u8> Inspect for MistakenDirectory<'_, MISTAKE> {
    const SIMULATES_POWER: bool = true;
    fn inspect(&mut self) -> Vec<MediumCheckpoint> {
        self.directory.inspect()
    }
}

impl<'d, const MISTAKE: u8> Store for MistakenDirectory<'d, MISTAKE> {
    type Error = <Directory<WatchedDisk<'d>> as Store>::Error;
    type Writer<'a>
        = Writer<'a, WatchedDisk<'d>>
    where
        Self: 'a;
    type Reader<'a>
        = Reader<'a, WatchedDisk<'d>>
    where
        Self: 'a;
    type Checksum = <Directory<WatchedDisk<'d>> as Store>::Checksum;

    const SHARED: bool = true;

    fn has_stream_per_object(&self) -> bool {
        self.directory.has_stream_per_object()
    }

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        if MISTAKE == EVICTS_BEFORE_COMMIT && spec.stream_index == 0 {
            self.remove_oldest();
        }
        self.directory.create(spec)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        self.commits += 1;
        if MISTAKE == LYING_COMMIT && self.commits.is_multiple_of(3) {
            return Ok(());
        }
        self.directory.commit(header, last)?;
        if MISTAKE == MIXES_FILES {
            self.mix(header.sequence);
        }
        Ok(())
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        if MISTAKE == HIDES_NEWEST && index > 0 && self.directory.checkpoint(index + 1)?.is_none() {
            return Ok(None);
        }
        self.directory.checkpoint(index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error> {
        self.directory.stream_count(sequence)
    }
    fn damaged(&mut self) -> u32 {
        self.directory.damaged()
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error> {
        Store::open(&mut self.directory, sequence, stream_index)
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error> {
        if MISTAKE == REMOVES_ALL {
            while let Some(meta) = self.directory.checkpoint(0)? {
                self.directory.remove(meta.sequence)?;
            }
        }
        self.directory.remove(sequence)
    }
}
