//! A store for another medium: two banks in non-volatile RAM, with an explicit commit marker.
//!
//! The comments at the methods of `Store` state what each method must guarantee on any medium. The program simulates a
//! power failure at every write to the medium. After each of them, the run resumes and ends with the same weights.
//!
//! Run it with `cargo run -p training-monitor --example custom_store --features derive`.

use training_monitor::checkpoint::{Crc32, Encoded, Header, Named};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};
use training_monitor::event::IterationCompleted;
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
use training_monitor::{Engine, ModelCheckpoint, StateDict};

#[derive(Clone, Copy)]
struct Bank {
    meta: CheckpointMeta,
    len: usize,
    stream: [u8; 256],
}

/// The medium and the store. A store that keeps one checkpoint needs two banks, because the old checkpoint is removed only
/// after the commit of the new one. The store reads its state from the medium alone, so a reset changes nothing.
struct Nvram {
    banks: [Bank; 2],
    /// The commit markers: a bank is valid only if its bit is set. Both bits are in one byte, so one atomic write can
    /// commit a checkpoint and invalidate the checkpoint that it replaces.
    committed: u8,
    /// The bank of the stream that is being written.
    writing: usize,
    /// The number of writes until the power fails.
    writes_left: u32,
}

impl Nvram {
    /// Performs one write to the medium, unless the power fails.
    fn write(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), ErrorKind> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(ErrorKind::Other)?;
        change(self);
        Ok(())
    }

    /// The banks with a committed checkpoint, from the oldest to the newest.
    fn listed(&self) -> impl Iterator<Item = usize> {
        let order = if self.banks[0].meta.sequence > self.banks[1].meta.sequence { [1, 0] } else { [0, 1] };
        order.into_iter().filter(|bank| self.committed & (1 << bank) != 0)
    }

    fn find(&self, step: u32) -> Option<usize> {
        self.listed().find(|bank| self.banks[*bank].meta.step == step)
    }
}

/// Appends to the stream of a bank.
struct Writer<'a>(&'a mut Nvram);

impl ErrorType for Writer<'_> {
    type Error = ErrorKind; // `ErrorKind` is an error type, too. A driver with more causes has its own type.
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(|medium| {
            let bank = &mut medium.banks[medium.writing];
            bank.stream[bank.len..][..bytes.len()].copy_from_slice(bytes);
            bank.len += bytes.len();
        })?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(()) // A medium with a write cache empties the cache here.
    }
}

/// Reads a stream. A read after the last byte returns 0.
struct Reader<'a>(&'a [u8]);

impl ErrorType for Reader<'_> {
    type Error = ErrorKind;
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        let Ok(count) = self.0.read(into);
        Ok(count)
    }
}

impl Store for Nvram {
    type Error = ErrorKind;
    type Writer<'a> = Writer<'a>;
    type Reader<'a> = Reader<'a>;
    type Checksum = Crc32;

    // `create` opens a place for a stream of `spec.len` bytes. It changes no listed checkpoint and lists no new one.
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_>, ErrorKind> {
        let fits = spec.len as usize <= self.banks[0].stream.len();
        let free = (0..2).find(|bank| fits && !self.listed().any(|listed| listed == *bank));
        self.writing = free.ok_or(ErrorKind::OutOfMemory)?;
        self.write(|medium| medium.banks[medium.writing].len = 0)?;
        Ok(Writer(self))
    }

    // `commit` makes the checkpoint visible with one atomic operation, after everything else is on the medium. If power
    // fails before that operation, the checkpoint is not listed. If power fails after it, the checkpoint is complete. A
    // listed checkpoint with the same step is replaced.
    fn commit(&mut self, header: &Header<'_>, _: &Encoded) -> Result<(), ErrorKind> {
        let replaced = self.find(header.step).map_or(0, |bank| 1 << bank);
        self.write(|medium| medium.banks[medium.writing].meta = CheckpointMeta::from(header))?;
        self.write(|medium| medium.committed = medium.committed & !replaced | 1 << medium.writing)
    }

    // `checkpoint` lists the committed checkpoints from the oldest to the newest, in the order of their sequence numbers.
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, ErrorKind> {
        Ok(self.listed().nth(index as usize).map(|bank| self.banks[bank].meta))
    }

    // `stream_count` returns 0 for a checkpoint that is not committed. This store has one stream per checkpoint.
    fn stream_count(&mut self, step: u32) -> Result<u32, ErrorKind> {
        Ok(u32::from(self.find(step).is_some()))
    }

    // `open` returns the bytes that were written. The decoder verifies their checksum, so the store does not.
    fn open(&mut self, step: u32, _: u32) -> Result<Reader<'_>, ErrorKind> {
        let bank = &self.banks[self.find(step).ok_or(ErrorKind::NotFound)?];
        Ok(Reader(&bank.stream[..bank.len]))
    }

    // `remove` removes the checkpoint of one step and nothing else. A missing checkpoint is not an error.
    fn remove(&mut self, step: u32) -> Result<(), ErrorKind> {
        match self.find(step) {
            Some(bank) => self.write(|medium| medium.committed &= !(1 << bank)),
            None => Ok(()),
        }
    }
}

#[derive(StateDict)]
struct Net {
    weight: [f32; 6],
}

/// What a device executes from its reset to the end of the run. Returns an error if the power fails.
fn run(store: &mut Nvram) -> Result<[f32; 6], Box<dyn core::error::Error>> {
    let mut checkpoint = ModelCheckpoint::<1>::every(3)?.attach(IterationCompleted, store)?;
    let mut net = Named::new("net", Net { weight: [0.0; 6] });
    let mut engine = Engine::new(2);
    engine.resume(&mut net, &mut checkpoint)?;
    engine.run(&mut net, 0..6, &mut checkpoint, |net, batch, _| net.weight[batch as usize] += 1.0 + net.weight[0])?;
    Ok(net.object.weight)
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let meta = CheckpointMeta { step: 0, sequence: 0, iteration: 0, score: None };
    for writes_left in 0.. {
        let bank = Bank { meta, len: 0, stream: [0; 256] };
        let mut store = Nvram { banks: [bank; 2], committed: 0, writing: 0, writes_left };
        let weight = run(&mut store);
        if store.writes_left > 0 {
            println!("{:?} after a power failure at each of {writes_left} writes", weight?);
            break;
        }
        store.writes_left = u32::MAX;
        assert_eq!(run(&mut store)?, [3.0, 6.0, 6.0, 6.0, 6.0, 6.0]);
        assert_eq!(store.committed.count_ones(), 1);
    }
    Ok(())
}
