//! The medium directory: the store `Directory` on a simulated disk. The power can fail during each operation of the
//! disk, and then the disk has one of the contents that POSIX allows.

use super::medium::{Inspect, Medium, MediumCheckpoint, content, is_intact};
use super::program::Program;
use super::watch::{Power, Watch};
use crate::random::Random;
use std::ffi::OsString;
use std::io::{self, Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use training_monitor::store::Store;
use training_monitor_std::Directory;
use training_monitor_std::directory::{Builder, FileSystem, LockError};
use training_monitor_std::test_support::disk::{Disk, DiskFault, DiskLock, DiskReader, DiskWriter, Image};

/// A file of another program that has the name of a checkpoint file. No start may change it.
const FOREIGN: (&str, &[u8]) = ("run_model_2.ckpt", b"a note");

/// A directory on a disk.
#[derive(Debug)]
pub struct DirectoryMedium {
    disk: Disk,
    has_foreign_file: bool,
}

impl Clone for DirectoryMedium {
    fn clone(&self) -> Self {
        DirectoryMedium { disk: self.disk.duplicate(), has_foreign_file: self.has_foreign_file }
    }
}

/// Returns the settings of the directory: those of a program that resumes.
fn builder() -> Builder {
    Directory::builder("checkpoints", "run").require_empty(false)
}

/// Returns the paths of the files of the checkpoint with this sequence number. The path of an interrupted commit can be
/// temporary.
fn files_of(disk: &Disk, sequence: u32) -> Vec<PathBuf> {
    let directory = builder().open_read_only_on(disk.clone());
    directory.map_or(Vec::new(), |directory| directory.files(sequence).collect())
}

/// Returns the name of a file in the disk.
fn name_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

impl DirectoryMedium {
    /// Opens the directory. If `durable` is false, the store synchronizes nothing, which is a mistake.
    pub(super) fn open_with<'a>(
        &'a mut self,
        durable: bool,
        watch: &'a Watch,
    ) -> Result<Directory<WatchedDisk<'a>>, String> {
        // Before some starts only the program has ended, before the others the power was off.
        let operations = self.disk.operations();
        self.disk.set_fault(None);
        match operations % 2 {
            0 => self.disk.restart_program(),
            _ => self.disk.restart_device(&mut Random::new(operations as u64)),
        }
        let disk = WatchedDisk { disk: self.disk.clone(), watch };
        builder().durable(durable).open_on(disk).map_err(|error| error.to_string())
    }

    /// Changes the content of the disk by hand.
    fn edit(&mut self, change: impl FnOnce(&mut Image)) {
        let mut image = self.disk.files();
        change(&mut image);
        self.disk = Disk::new(&image);
    }
}

impl Medium for DirectoryMedium {
    type Store<'a> = Directory<WatchedDisk<'a>>;

    fn new(seed: u64) -> Self {
        let mut medium = DirectoryMedium { disk: Disk::default(), has_foreign_file: seed % 3 == 2 };
        medium.erase(&Program::default());
        medium
    }
    fn open<'a>(&'a mut self, _: &Program, watch: &'a Watch) -> Result<Self::Store<'a>, String> {
        self.open_with(true, watch)
    }
    fn damage(&mut self, _: &Program, sequence: u32, byte: u8) {
        let (files, byte) = (files_of(&self.disk, sequence), usize::from(byte));
        self.edit(|image| {
            let damaged = files.get(byte % files.len().max(1)).and_then(|path| image.get_mut(name_of(path)?));
            if let Some(bytes) = damaged {
                let len = bytes.len();
                bytes[byte % len] ^= 0x10;
            }
        });
    }
    fn remove(&mut self, _: &Program, sequence: u32) {
        let files = files_of(&self.disk, sequence);
        // One file of the checkpoint, or all.
        let count = if sequence.is_multiple_of(2) { 1 } else { files.len() };
        self.edit(|image| {
            for path in files.iter().rev().take(count) {
                image.retain(|name, _| Some(name.as_str()) != name_of(path));
            }
        });
    }
    fn erase(&mut self, _: &Program) {
        let has_foreign_file = self.has_foreign_file;
        self.edit(|image| {
            image.clear();
            if has_foreign_file {
                image.insert(FOREIGN.0.into(), FOREIGN.1.into());
            }
        });
    }
    fn violation(&self) -> Option<String> {
        let is_kept = self.disk.files().get(FOREIGN.0).is_some_and(|bytes| bytes == FOREIGN.1);
        (self.has_foreign_file && !is_kept).then(|| "the file of another program was changed".into())
    }
}

impl Inspect for Directory<WatchedDisk<'_>> {
    const SIMULATES_POWER: bool = true;
    /// Returns the checkpoints that the store lists, with the bytes on the disk. The checker also inspects a newly
    /// opened store after each start, which finds the checkpoints in the files alone.
    fn inspect(&mut self) -> Vec<MediumCheckpoint> {
        let files = self.file_system().disk.files();
        let mut all = Vec::new();
        while let Ok(Some(meta)) = self.checkpoint(all.len() as u32) {
            let (mut bytes, mut is_loadable) = (Vec::new(), true);
            for path in self.files(meta.sequence) {
                let file = name_of(&path).and_then(|name| files.get(name)).map_or(&[][..], Vec::as_slice);
                is_loadable &= is_intact(file);
                bytes.extend_from_slice(file);
            }
            all.push(MediumCheckpoint { meta, content: content(&bytes), is_loadable });
        }
        all
    }
}

/// A disk whose operations fail as the [`Watch`] requests.
#[derive(Clone, Debug)]
pub struct WatchedDisk<'a> {
    disk: Disk,
    watch: &'a Watch,
}

impl WatchedDisk<'_> {
    /// Performs an operation that changes or synchronizes the disk. If the power fails during the operation, the disk
    /// then has one of its possible contents, or the disk is unchanged and only the program ends.
    fn operate<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let at = self.disk.operations();
        match self.watch.operate(1) {
            Power::On => {
                if let Some(times) = self.watch.failing_writes() {
                    self.disk.set_fault(Some(DiskFault { from: at, times, kind: ErrorKind::StorageFull }));
                }
                operation()
            }
            Power::Fails => {
                self.disk.cut_power_at(at);
                let result = operation();
                match self.watch.effect.get() {
                    effect if effect.is_multiple_of(4) => self.disk.restart_program(),
                    effect => self.disk.restart_device(&mut Random::new(u64::from(effect))),
                }
                result.and(Err(Error::other("the power is off")))
            }
            Power::Off => Err(Error::other("the power is off")),
        }
    }

    fn read<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.watch.check_read::<()>().map_err(|fault| Error::other(fault.to_string()))?;
        operation()
    }
}

impl<'a> FileSystem for WatchedDisk<'a> {
    type Writer = WatchedFile<'a, DiskWriter>;
    type Reader = WatchedFile<'a, DiskReader>;
    type Lock = DiskLock;

    fn create(&self, path: &Path) -> io::Result<Self::Writer> {
        self.operate(|| self.disk.create(path)).map(|file| WatchedFile { file, disk: self.clone() })
    }
    fn sync(&self, file: &mut Self::Writer) -> io::Result<()> {
        self.operate(|| self.disk.sync(&mut file.file))
    }
    fn open(&self, path: &Path) -> io::Result<Self::Reader> {
        self.read(|| self.disk.open(path)).map(|file| WatchedFile { file, disk: self.clone() })
    }
    fn lock(&self, path: &Path, owner: &str) -> Result<DiskLock, LockError> {
        self.disk.lock(path, owner)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|| self.disk.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(|| self.disk.remove(path))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate(|| self.disk.sync_dir(dir))
    }
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.watch.check_list::<()>().map_err(|fault| Error::other(fault.to_string()))?;
        self.disk.names(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn is_dir(&self, path: &Path) -> bool {
        self.disk.is_dir(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
}

/// An open file of a [`WatchedDisk`].
#[derive(Debug)]
pub struct WatchedFile<'a, T> {
    file: T,
    disk: WatchedDisk<'a>,
}

impl Write for WatchedFile<'_, DiskWriter> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.operate(|| self.file.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for WatchedFile<'_, DiskReader> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.disk.read(|| self.file.read(into))
    }
}

impl Seek for WatchedFile<'_, DiskReader> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
