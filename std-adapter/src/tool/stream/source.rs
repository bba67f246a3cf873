//! The bytes that a command reads: a file, a spool file with the bytes of a pipe, or bytes in memory.
//!
//! No command reads a whole file into memory. A [`Source`] reads any part of a file, and a [`Payload`] is the part that
//! contains the elements of one tensor.

use crate::tool::error::{CliError, Result};
use crate::tool::files::describe_content;
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use training_monitor::store::flash::layout::RECORD_MAGIC;

/// The size of the chunks in which payloads are read, a multiple of the size of every element. A chunk stays in the cache
/// of the processor while it is processed.
pub const CHUNK: usize = 128 * 1024;

/// The number of bytes at the start of a pipe in which a flash dump must contain a commit record. A pipe can be endless,
/// and its end is not known in advance.
const MAX_START_WITHOUT_RECORD: u64 = 64 << 20;

/// Bytes that can be read at any position.
#[derive(Debug)]
pub struct Source {
    /// The file in error messages.
    path: PathBuf,
    data: Data,
    len: u64,
}

#[derive(Debug)]
enum Data {
    File(Mutex<Handle>),
    Memory(Vec<u8>),
    Elsewhere(Box<dyn ReadAt>),
}

/// Bytes that another program keeps, for example an array of Python.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// Reads bytes at `offset`. Returns their number, which is 0 at the end.
    ///
    /// # Errors
    /// Returns an error if the bytes cannot be read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

thread_local! {
    /// Set by another thread to stop the reads of this thread.
    static CANCELLATION: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `work`. As soon as another thread sets `cancellation`, all reads of sources fail, so that `work` ends with an
/// error. Every command reads its inputs as sources, also while it writes its output.
pub fn with_cancellation<T>(cancellation: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    CANCELLATION.set(Some(Arc::clone(cancellation)));
    let result = work();
    CANCELLATION.set(None);
    result
}

fn check_cancellation() -> io::Result<()> {
    let is_cancelled = CANCELLATION.with_borrow(|flag| flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)));
    // The kind `Interrupted` would repeat the read.
    if is_cancelled { Err(io::Error::other("the operation was cancelled")) } else { Ok(()) }
}

/// A file. It can be closed until its elements are needed, because a process can open only a limited number of files.
#[derive(Debug)]
enum Handle {
    Open(Arc<File>),
    /// The time of the last change before the file was closed.
    Closed(Option<SystemTime>),
}

impl Source {
    /// Opens a file or a device, or standard input if `path` is `-`. Input that cannot seek is copied to a temporary file.
    pub fn open(path: &Path) -> Result<Arc<Source>> {
        let error = |cause| CliError::io("read", path)(cause);
        if path == Path::new("-") {
            return spool_input(path, io::stdin().lock(), false);
        }
        let mut file = File::open(path).map_err(error)?;
        let kind = file.metadata().map_err(error)?.file_type();
        if kind.is_dir() {
            return Err(error(io::ErrorKind::IsADirectory.into()));
        }
        // A block device has a length, but its metadata do not contain it.
        match file.seek(SeekFrom::End(0)) {
            Ok(len) if kind.is_file() || len > 0 => Ok(Arc::new(Source::from_file(path, file, len))),
            _ => spool_input(path, file, is_character_device(kind)),
        }
    }

    /// Returns bytes in memory as a source.
    pub fn from_bytes(bytes: Vec<u8>) -> Source {
        let len = bytes.len() as u64;
        Source { path: PathBuf::new(), data: Data::Memory(bytes), len }
    }

    /// Returns `len` bytes that another program keeps as a source. `path` names them in error messages.
    pub fn from_elsewhere(path: &Path, bytes: Box<dyn ReadAt>, len: u64) -> Source {
        Source { path: path.to_owned(), data: Data::Elsewhere(bytes), len }
    }

    /// Returns an open file of `len` bytes as a source.
    pub fn from_file(path: &Path, file: File, len: u64) -> Source {
        Source { path: path.to_owned(), data: Data::File(Mutex::new(Handle::Open(Arc::new(file)))), len }
    }

    /// Closes the file. The next read opens it again, and fails if another program has changed it.
    pub fn close(&self) {
        let Data::File(handle) = &self.data else { return };
        let handle = &mut *lock(handle);
        if let Handle::Open(file) = handle {
            *handle = Handle::Closed(file.metadata().and_then(|metadata| metadata.modified()).ok());
        }
    }

    /// Returns another handle of the file, for example to map the file into memory. Returns `None` if the source is not
    /// a file.
    pub fn file(&self) -> Result<Option<File>> {
        let Data::File(handle) = &self.data else { return Ok(None) };
        let file = self.open_file(&mut lock(handle)).and_then(|file| file.try_clone());
        file.map(Some).map_err(CliError::io("read", &self.path))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Reads bytes at `offset`. Returns their number, which is 0 at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        check_cancellation()?;
        match &self.data {
            Data::Elsewhere(bytes) => bytes.read_at(offset, into),
            Data::File(handle) => {
                // The lock ends here, so two threads can read at the same time.
                let file = self.open_file(&mut lock(handle))?;
                read_file_at(&file, into, offset)
            }
            Data::Memory(bytes) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                let count = rest.len().min(into.len());
                into[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }

    /// Returns the file, and opens it if it is closed.
    fn open_file(&self, handle: &mut Handle) -> io::Result<Arc<File>> {
        let modified = match handle {
            Handle::Open(file) => return Ok(Arc::clone(file)),
            Handle::Closed(modified) => *modified,
        };
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if metadata.len() != self.len || metadata.modified().ok() != modified {
            return Err(io::Error::other("another program changed the file"));
        }
        let file = Arc::new(file);
        *handle = Handle::Open(Arc::clone(&file));
        Ok(file)
    }

    /// Reads at most `count` bytes at `offset`. Fewer bytes are returned at the end.
    pub fn bytes_at(&self, offset: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut len = 0;
        while len < count {
            match self.read_at(offset + len as u64, &mut bytes[len..]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => (),
                Err(cause) => return Err(CliError::io("read", &self.path)(cause)),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Returns the first bytes, which are enough to recognise the format of a file.
    pub fn start(&self) -> Result<Vec<u8>> {
        self.bytes_at(0, 4096)
    }
}

#[cfg(unix)]
fn read_file_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(windows)]
fn read_file_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, offset)
}

/// Two threads can read a file. A thread that panicked leaves the file usable.
fn lock(handle: &Mutex<Handle>) -> MutexGuard<'_, Handle> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A reader of a part of a source.
#[derive(Clone, Debug)]
pub struct SourceReader {
    source: Arc<Source>,
    start: u64,
    /// The position from the start of the source.
    position: u64,
    end: u64,
}

impl SourceReader {
    pub fn new(source: &Arc<Source>) -> SourceReader {
        Payload::new(source, 0, source.len).reader()
    }
}

impl Read for SourceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = self.end.saturating_sub(self.position).min(into.len() as u64) as usize;
        let count = self.source.read_at(self.position, &mut into[..wanted])?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for SourceReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => self.start.checked_add(offset),
            SeekFrom::End(offset) => self.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let position = position.filter(|position| *position >= self.start);
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position - self.start)
    }
}

/// A part of a source: the elements of a tensor, or a serde value.
#[derive(Clone, Debug)]
pub struct Payload {
    source: Arc<Source>,
    offset: u64,
    len: u64,
}

impl Payload {
    pub fn new(source: &Arc<Source>, offset: u64, len: u64) -> Payload {
        Payload { source: Arc::clone(source), offset, len }
    }

    /// Returns the length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns the source that contains the payload, and the position of the payload in it.
    pub const fn place(&self) -> (&Arc<Source>, u64) {
        (&self.source, self.offset)
    }

    /// Fills `into`, which has the length of the payload.
    pub fn read_into(&self, into: &mut [u8]) -> Result<()> {
        self.reader().read_exact(into).map_err(|cause| self.read_error(cause))
    }

    pub fn reader(&self) -> SourceReader {
        let Payload { source, offset, len } = self;
        SourceReader { source: Arc::clone(source), start: *offset, position: *offset, end: offset + len }
    }

    /// Returns a part of this payload.
    pub fn part(&self, offset: u64, len: u64) -> Payload {
        Payload { source: Arc::clone(&self.source), offset: self.offset + offset, len }
    }

    /// Passes all bytes to `each`, in chunks of whole elements.
    pub fn for_each_chunk<E: From<CliError>>(
        &self,
        mut each: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let (mut reader, mut rest) = (self.reader(), self.len);
        let mut chunk = vec![0; CHUNK.min(usize::try_from(self.len).unwrap_or(CHUNK))];
        while rest > 0 {
            let count = rest.min(chunk.len() as u64) as usize;
            reader.read_exact(&mut chunk[..count]).map_err(|cause| self.read_error(cause))?;
            each(&chunk[..count])?;
            rest -= count as u64;
        }
        Ok(())
    }

    /// Passes all bytes of this payload and of another one of the same length to `each`, in chunks of whole elements.
    pub fn for_each_chunk_with(&self, other: &Payload, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let (mut reader, mut chunk) = (other.reader(), Vec::new());
        self.for_each_chunk(|bytes| {
            chunk.resize(bytes.len(), 0);
            reader.read_exact(&mut chunk).map_err(|cause| other.read_error(cause))?;
            each(bytes, &chunk);
            Ok(())
        })
    }

    /// Returns all bytes. The caller knows that they fit into memory.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        self.prefix(self.len)
    }

    /// Returns the first bytes, at most `count`.
    pub fn prefix(&self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.len.min(count) as usize];
        self.reader().read_exact(&mut bytes).map_err(|cause| self.read_error(cause))?;
        Ok(bytes)
    }

    fn read_error(&self, cause: io::Error) -> CliError {
        let cause = match cause.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("another program shortened the file"),
            _ => cause,
        };
        CliError::io("read", &self.source.path)(cause)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        let source = Arc::new(Source::from_bytes(bytes));
        Payload::new(&source, 0, source.len)
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::from(vec![])
    }
}

#[cfg(unix)]
fn is_character_device(kind: std::fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&kind)
}

#[cfg(not(unix))]
fn is_character_device(_: std::fs::FileType) -> bool {
    false
}

/// Returns whether a file begins like a checkpoint or like a file of tensors. Such a file states its length, or an
/// importer reads it line by line.
fn has_known_start(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    [&b"TMCK"[..], b"PK\x03\x04", b"tensor,type,"].iter().any(|magic| start.starts_with(magic))
        || text.first() == Some(&b'{')
        || start.get(8) == Some(&b'{')
}

/// Copies input that cannot seek to a temporary file, which has no name, so that it is removed when the tool ends.
/// Refuses input that can be endless: a character device, and a pipe whose first bytes contain no commit record of a
/// flash store, unless the input begins like a checkpoint or like a file of tensors.
fn spool_input(path: &Path, mut input: impl Read, is_device: bool) -> Result<Arc<Source>> {
    let (mut spool, mut chunk) = (super::spool::Spool::new()?, vec![0; CHUNK]);
    let mut accepted = false;
    loop {
        let count = match input.read(&mut chunk) {
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(CliError::io("read", path)(cause)),
        };
        if count == 0 {
            return spool.finish(path);
        }
        let bytes = &chunk[..count];
        accepted |= spool.len() == 0 && has_known_start(bytes);
        accepted |= !is_device && bytes.windows(2).any(|window| window == RECORD_MAGIC);
        if !accepted && (is_device || spool.len() > MAX_START_WITHOUT_RECORD) {
            let found = if is_device {
                "it is a device without an end".to_owned()
            } else {
                format!("{}; its first 64 MiB contain no commit record. Save it to a file", describe_content(bytes))
            };
            let expected = "a checkpoint, a file of tensors or a flash dump";
            return Err(CliError::WrongFile { path: path.to_owned(), expected, found });
        }
        spool.write(bytes)?;
    }
}
