//! A set of files in RAM, without a limit: one file per object, as in a directory. Opening verifies all files and does
//! not list a damaged checkpoint.

use super::medium::{Inspect, Medium, MediumCheckpoint, Sum, content, is_intact};
use super::program::Program;
use super::watch::Watch;
use embedded_io::{ErrorKind, ErrorType, Read, Write};
use std::rc::Rc;
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// A checkpoint and its files.
#[derive(Clone, Debug)]
struct Entry {
    meta: CheckpointMeta,
    files: Rc<[Vec<u8>]>,
}

/// The files of a device.
#[derive(Clone, Debug)]
pub struct Files {
    entries: Vec<Entry>,
    /// The entries that opening did not list.
    damaged: Vec<Entry>,
    writing: Vec<Vec<u8>>,
}

impl Files {
    /// Swaps the files of the oldest and the newest checkpoint.
    pub fn mix(&mut self) {
        if let [first, .., last] = &mut self.entries[..] {
            std::mem::swap(&mut first.files, &mut last.files);
        }
    }
}

impl Medium for Files {
    type Store<'a> = &'a mut Files;

    fn new(_: u64) -> Self {
        Files { entries: Vec::new(), damaged: Vec::new(), writing: Vec::new() }
    }
    fn open<'a>(&'a mut self, _: &Program, _: &'a Watch) -> Result<&'a mut Files, String> {
        self.writing.clear();
        let is_damaged = |entry: &Entry| !entry.files.iter().all(|file| is_intact(file));
        self.damaged.extend(self.entries.extract_if(.., |entry| is_damaged(entry)));
        Ok(self)
    }
    fn damage(&mut self, _: &Program, sequence: u32, byte: u8) {
        for entry in self.entries.iter_mut().filter(|entry| entry.meta.sequence == sequence) {
            let mut files = entry.files.to_vec();
            let index = usize::from(byte) % files.len();
            let place = usize::from(byte) % files[index].len();
            files[index][place] ^= 0x10;
            entry.files = files.into();
        }
    }
    fn remove(&mut self, _: &Program, sequence: u32) {
        self.entries.retain(|entry| entry.meta.sequence != sequence);
    }
    fn erase(&mut self, _: &Program) {
        *self = Files::new(0);
    }
}

impl Inspect for &mut Files {
    fn inspect(&mut self) -> Vec<MediumCheckpoint> {
        let listed = |entry: &Entry| MediumCheckpoint {
            meta: entry.meta,
            content: content(&entry.files.concat()),
            is_loadable: entry.files.iter().all(|file| is_intact(file)),
        };
        self.entries.iter().map(listed).collect()
    }
}

/// There is no such file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotFound;

impl core::fmt::Display for NotFound {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("there is no such file")
    }
}

impl core::error::Error for NotFound {}

impl embedded_io::Error for NotFound {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }
}

/// Reads or writes a file.
#[derive(Debug)]
pub struct File<T>(T);

impl<T> ErrorType for File<T> {
    type Error = NotFound;
}

impl Write for File<&mut Vec<u8>> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, NotFound> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), NotFound> {
        Ok(())
    }
}

impl Read for File<&[u8]> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, NotFound> {
        let count = into.len().min(self.0.len());
        let (read, rest) = self.0.split_at(count);
        into[..count].copy_from_slice(read);
        self.0 = rest;
        Ok(count)
    }
}

impl Store for Files {
    type Error = NotFound;
    type Writer<'a> = File<&'a mut Vec<u8>>;
    type Reader<'a> = File<&'a [u8]>;
    type Checksum = Sum;

    const STREAM_PER_OBJECT: bool = true;
    const SHARED: bool = true;

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, NotFound> {
        if spec.stream_index == 0 {
            self.writing.clear();
        }
        self.writing.push(Vec::new());
        self.writing.last_mut().map(File).ok_or(NotFound)
    }
    fn commit(&mut self, header: &Header<'_>, _: &Encoded) -> Result<(), NotFound> {
        let meta = CheckpointMeta::from(header);
        let is_other = |entry: &Entry| !entry.meta.is_replaced_by(&meta) && entry.meta.sequence != meta.sequence;
        self.entries.retain(is_other);
        self.damaged.retain(is_other);
        self.entries.push(Entry { meta, files: std::mem::take(&mut self.writing).into() });
        self.entries.sort_by_key(|entry| entry.meta.sequence);
        Ok(())
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, NotFound> {
        Ok(self.entries.get(index as usize).map(|entry| entry.meta))
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, NotFound> {
        let found = self.entries.iter().find(|entry| entry.meta.sequence == sequence);
        Ok(found.map_or(0, |entry| entry.files.len() as u32))
    }
    fn damaged(&mut self) -> u32 {
        self.damaged.len() as u32
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, NotFound> {
        let found = self.entries.iter().find(|entry| entry.meta.sequence == sequence);
        found.and_then(|entry| entry.files.get(stream_index as usize)).map(|file| File(&file[..])).ok_or(NotFound)
    }
    fn remove(&mut self, sequence: u32) -> Result<(), NotFound> {
        self.entries.retain(|entry| entry.meta.sequence != sequence);
        Ok(())
    }
}
