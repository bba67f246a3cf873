//! A simulated disk that records every operation and lets single operations fail on request.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::rc::Rc;
use training_monitor_std::directory::{FileSystem, LockError};
use training_monitor_std::test_support::disk::{Disk, DiskLock, DiskReader, DiskWriter};

#[derive(Default)]
struct Recording {
    /// The operations, for example `rename a b`.
    operations: Vec<String>,
    /// The operation that fails, in the form of the recording. `None` means that no operation fails.
    failing: Option<String>,
    /// The errors of the next reads, in order. If the list is empty, a read succeeds.
    read_errors: VecDeque<ErrorKind>,
    /// The numbers of bytes of the writes.
    writes: Vec<usize>,
    /// The errors of the next writes, in order. If the list is empty, a write succeeds.
    write_errors: VecDeque<ErrorKind>,
}

/// A disk that records its operations. All clones share the same disk and the same recording.
#[derive(Clone, Default)]
pub struct RecordingDisk {
    pub disk: Disk,
    recording: Rc<RefCell<Recording>>,
}

impl RecordingDisk {
    pub fn new(disk: Disk) -> Self {
        RecordingDisk { disk, recording: Rc::default() }
    }

    /// Returns the operations since the last call and clears the recording.
    pub fn take_operations(&self) -> Vec<String> {
        std::mem::take(&mut self.recording.borrow_mut().operations)
    }

    /// Returns the numbers of bytes of the writes since the last call and clears the recording.
    pub fn take_writes(&self) -> Vec<usize> {
        std::mem::take(&mut self.recording.borrow_mut().writes)
    }

    /// Lets the given operation fail without an effect until the next call. The text has the form of the recording.
    pub fn fail(&self, operation: Option<&str>) {
        self.recording.borrow_mut().failing = operation.map(str::to_owned);
    }

    /// Lets the next reads fail with these errors.
    pub fn fail_reads(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.recording.borrow_mut().read_errors.extend(kinds);
    }

    /// Lets the next writes fail with these errors.
    pub fn fail_writes(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.recording.borrow_mut().write_errors.extend(kinds);
    }

    fn record(&self, operation: String) -> io::Result<()> {
        let mut recording = self.recording.borrow_mut();
        let is_failing = recording.failing.as_ref() == Some(&operation);
        recording.operations.push(operation);
        if is_failing { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// A file of a recording disk.
pub struct RecordedFile<T> {
    fs: RecordingDisk,
    file: T,
    name: String,
}

impl Write for RecordedFile<DiskWriter> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut recording = self.fs.recording.borrow_mut();
        recording.writes.push(bytes.len());
        let failure = recording.write_errors.pop_front();
        drop(recording);
        failure.map_or_else(|| self.file.write(bytes), |kind| Err(kind.into()))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for RecordedFile<DiskReader> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let failure = self.fs.recording.borrow_mut().read_errors.pop_front();
        failure.map_or_else(|| self.file.read(into), |kind| Err(kind.into()))
    }
}

impl Seek for RecordedFile<DiskReader> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

impl FileSystem for RecordingDisk {
    type Writer = RecordedFile<DiskWriter>;
    type Reader = RecordedFile<DiskReader>;
    type Lock = DiskLock;

    fn lock(&self, path: &Path, owner: &str) -> Result<DiskLock, LockError> {
        self.disk.lock(path, owner)
    }

    fn create(&self, path: &Path) -> io::Result<Self::Writer> {
        self.record(format!("create {}", name(path)))?;
        Ok(RecordedFile { fs: self.clone(), file: self.disk.create(path)?, name: name(path).to_owned() })
    }
    fn sync(&self, file: &mut Self::Writer) -> io::Result<()> {
        self.record(format!("sync {}", file.name))?;
        self.disk.sync(&mut file.file)
    }
    fn open(&self, path: &Path) -> io::Result<Self::Reader> {
        Ok(RecordedFile { fs: self.clone(), file: self.disk.open(path)?, name: name(path).to_owned() })
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.record(format!("rename {} {}", name(from), name(to)))?;
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.record(format!("remove {}", name(path)))?;
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.record("sync directory".to_owned())?;
        self.disk.sync_dir(dir)
    }
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
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
