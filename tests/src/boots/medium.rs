//! The media on which the simulated devices keep their checkpoints. This module contains RAM. The modules
//! [`directory`](super::directory) and [`flash`](super::flash) contain the other ones.

use super::program::Program;
use super::watch::Watch;
use embedded_io::{ErrorType, Read};
use training_monitor::checkpoint::{Checksum, Encoded, Header};
use training_monitor::store::ram::{self, Ram, RamError};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// A checkpoint on a medium.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MediumCheckpoint {
    /// The metadata that the store lists.
    pub meta: CheckpointMeta,
    /// A hash of all bytes.
    pub content: u64,
    /// Whether each stream ends with its checksum.
    pub is_loadable: bool,
}

/// A store that can show what its medium contains, without any effect on the store.
pub trait Inspect: Store {
    /// Whether the medium itself simulates power failures. Otherwise [`Watched`](super::watch::Watched) does it.
    const SIMULATES_POWER: bool = false;
    /// Returns the checkpoints that are on the medium now, the oldest first.
    fn inspect(&mut self) -> Vec<MediumCheckpoint>;
}

/// A medium, which survives a restart.
pub trait Medium: Clone {
    /// The store of a start.
    type Store<'a>: Inspect
    where
        Self: 'a;
    /// Whether the layout of the program matters.
    const HAS_LAYOUT: bool = false;

    /// Creates an empty medium. `seed` selects its variant.
    fn new(seed: u64) -> Self;
    /// Opens the store as `program` does. Returns the text of the error if the store refuses to open.
    fn open<'a>(&'a mut self, program: &Program, watch: &'a Watch) -> Result<Self::Store<'a>, String>;
    /// Returns whether a checkpoint that was saved in the layout `old` is inside the region of the layout `new`.
    fn is_visible(&self, _old: u8, _new: u8, _sequence: u32) -> bool {
        true
    }
    /// Makes the blocks from which the `number`-th is part fail from now on. Only flash has such blocks.
    fn break_block(&mut self, _number: u32) {}
    /// Flips a byte of a checkpoint.
    fn damage(&mut self, program: &Program, sequence: u32, byte: u8);
    /// Removes a checkpoint by hand.
    fn remove(&mut self, program: &Program, sequence: u32);
    /// Erases everything, as a tool or the program does to start over.
    fn erase(&mut self, program: &Program);
    /// Returns true if two reads of the medium can return different bits.
    fn is_unstable(&self) -> bool {
        false
    }
    /// Returns a violation of the rules of the medium.
    fn violation(&self) -> Option<String> {
        None
    }
}

/// The checksum of the crate crc32fast.
#[derive(Default, Debug)]
pub struct Sum(crc32fast::Hasher);

impl Checksum for Sum {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// Returns a hash of the bytes of all streams.
pub fn content(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

/// Returns whether a stream ends with its checksum.
pub fn is_intact(stream: &[u8]) -> bool {
    stream.split_last_chunk::<4>().is_some_and(|(body, sum)| crc32fast::hash(body) == u32::from_le_bytes(*sum))
}

/// Lists and reads all checkpoints of a store.
pub fn read_all<S: Store>(store: &mut S) -> Vec<MediumCheckpoint> {
    let mut all = Vec::new();
    let mut index = 0;
    while let Ok(Some(meta)) = store.checkpoint(index) {
        index += 1;
        let (mut bytes, mut is_loadable) = (Vec::new(), true);
        for stream in 0..store.stream_count(meta.sequence).unwrap_or(0) {
            let start = bytes.len();
            is_loadable &= store.open(meta.sequence, stream).is_ok_and(|mut reader| {
                let mut buffer = [0; 512];
                loop {
                    match reader.read(&mut buffer) {
                        Ok(0) => break true,
                        Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                        Err(_) => break false,
                    }
                }
            });
            is_loadable &= is_intact(&bytes[start..]);
        }
        all.push(MediumCheckpoint { meta, content: content(&bytes), is_loadable });
    }
    all
}

/// RAM with four slots. A damaged checkpoint stays in the list.
#[derive(Clone, Debug)]
pub struct RamMedium {
    ram: Box<Ram<4, 512>>,
    /// The damaged checkpoints: their sequence numbers and the position of the flipped byte.
    damaged: Vec<(u32, u8)>,
}

impl Medium for RamMedium {
    type Store<'a> = &'a mut RamMedium;

    fn new(_: u64) -> Self {
        RamMedium { ram: Box::new(Ram::new()), damaged: Vec::new() }
    }
    fn open<'a>(&'a mut self, _: &Program, _: &'a Watch) -> Result<&'a mut RamMedium, String> {
        Ok(self)
    }
    fn damage(&mut self, _: &Program, sequence: u32, byte: u8) {
        self.damaged.push((sequence, byte));
    }
    fn remove(&mut self, _: &Program, sequence: u32) {
        let _ = self.ram.remove(sequence);
    }
    fn erase(&mut self, _: &Program) {
        *self = RamMedium::new(0);
    }
}

impl Inspect for &mut RamMedium {
    fn inspect(&mut self) -> Vec<MediumCheckpoint> {
        read_all(self)
    }
}

/// A reader that flips one byte.
#[derive(Debug)]
pub struct FlippingReader<'a> {
    reader: ram::Reader<'a>,
    /// The number of bytes before the flipped one.
    before: Option<usize>,
}

impl ErrorType for FlippingReader<'_> {
    type Error = RamError;
}

impl Read for FlippingReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, RamError> {
        let count = self.reader.read(into)?;
        if let Some(before) = self.before {
            if let Some(byte) = into[..count].get_mut(before) {
                *byte ^= 0x10;
            }
            self.before = before.checked_sub(count);
        }
        Ok(count)
    }
}

impl Store for RamMedium {
    type Error = RamError;
    type Writer<'a> = ram::Writer<'a, 512>;
    type Reader<'a> = FlippingReader<'a>;
    type Checksum = Sum;

    const PLACES: u32 = 4;

    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), RamError> {
        self.ram.check(spec)
    }
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, RamError> {
        self.ram.create(spec)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), RamError> {
        self.damaged.retain(|(sequence, _)| *sequence != header.sequence);
        self.ram.commit(header, last)
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, RamError> {
        self.ram.checkpoint(index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, RamError> {
        self.ram.stream_count(sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<FlippingReader<'_>, RamError> {
        let flipped = self.damaged.iter().find(|(damaged, _)| *damaged == sequence);
        let before = flipped.map(|(_, byte)| usize::from(*byte) % 64);
        Ok(FlippingReader { reader: self.ram.open(sequence, stream_index)?, before })
    }
    fn remove(&mut self, sequence: u32) -> Result<(), RamError> {
        self.ram.remove(sequence)
    }
}
