//! The simulated disk with every operation written down, and single ones that fail on request.

use crate::model::{Disk, DiskReader, DiskWriter};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::rc::Rc;
use training_monitor_std::directory::FileSystem;

#[derive(Default)]
struct State {
    log: Vec<String>,
    fails: Option<String>,
    reads: VecDeque<ErrorKind>,
    writes: VecDeque<ErrorKind>,
}

/// A disk that is watched. Clones are of the same one.
#[derive(Clone, Default)]
pub struct Watched {
    pub disk: Disk,
    state: Rc<RefCell<State>>,
}

impl Watched {
    pub fn new(disk: Disk) -> Self {
        Watched { disk, state: Rc::default() }
    }

    /// What was done since the last call, one operation a line.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.borrow_mut().log)
    }

    /// Has an operation, as it stands in the log, fail from now on and change nothing.
    pub fn fail(&self, operation: Option<&str>) {
        self.state.borrow_mut().fails = operation.map(str::to_owned);
    }

    /// Has the next reads end with these errors.
    pub fn fail_reads(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.state.borrow_mut().reads.extend(kinds);
    }

    /// Has the next writes end with these errors.
    pub fn fail_writes(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.state.borrow_mut().writes.extend(kinds);
    }

    fn note(&self, operation: String) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let fails = state.fails.as_ref() == Some(&operation);
        state.log.push(operation);
        if fails { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// A file of a watched disk, with its name.
pub struct WatchedFile<T>(Watched, T, String);

impl Write for WatchedFile<DiskWriter> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let failure = self.0.state.borrow_mut().writes.pop_front();
        failure.map_or_else(|| self.1.write(bytes), |kind| Err(kind.into()))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

impl Read for WatchedFile<DiskReader> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let failure = self.0.state.borrow_mut().reads.pop_front();
        failure.map_or_else(|| self.1.read(into), |kind| Err(kind.into()))
    }
}

impl FileSystem for Watched {
    type Writer = WatchedFile<DiskWriter>;
    type Reader = WatchedFile<DiskReader>;

    fn create(&self, path: &Path) -> io::Result<Self::Writer> {
        self.note(format!("create {}", name(path)))?;
        Ok(WatchedFile(self.clone(), self.disk.create(path)?, name(path).to_owned()))
    }
    fn sync(&self, file: &mut Self::Writer) -> io::Result<()> {
        self.note(format!("sync {}", file.2))?;
        self.disk.sync(&mut file.1)
    }
    fn open(&self, path: &Path) -> io::Result<Self::Reader> {
        Ok(WatchedFile(self.clone(), self.disk.open(path)?, name(path).to_owned()))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(format!("rename {} {}", name(from), name(to)))?;
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(format!("remove {}", name(path)))?;
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.note("sync".to_owned())?;
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
