//! A store for another medium: two banks in non-volatile RAM, with a commit marker for each bank.
//!
//! The comments at the methods of `Store` state what each method must guarantee on any medium. The program simulates a
//! power failure at each write to the medium. After each failure, the run resumes and ends with the same weights.
//!
//! Run it with `cargo run -p training-monitor --example custom_store --features derive`.

use training_monitor::checkpoint::{Crc32, Encoded, Header, Named};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};
use training_monitor::event::IterationCompleted;
use training_monitor::store::{CheckpointMeta, SeriesId, Store, StreamSpec};
use training_monitor::{Engine, ModelCheckpoint, StateDict};

#[derive(Clone, Copy)]
struct Bank {
    meta: CheckpointMeta,
    len: usize,
    stream: [u8; 256],
}

/// The medium and the store in one struct. The store keeps one checkpoint but needs two banks, because the old
/// checkpoint must remain until the new one is committed. All its data is on the medium, so a reset loses nothing.
struct Nvram {
    banks: [Bank; 2],
    /// The commit markers, one bit per bank. A bank is valid if its bit is set. Because both bits are in one byte, a
    /// single write commits the new checkpoint and invalidates the old one.
    committed: u8,
    /// The bank to which a stream is being written.
    writing: usize,
    /// The number of writes before the simulated power failure.
    writes_left: u32,
}

impl Nvram {
    /// Performs one write to the medium, unless the power fails.
    fn write(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), ErrorKind> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(ErrorKind::Other)?;
        change(self);
        Ok(())
    }

    /// Returns the banks that contain a committed checkpoint, from the oldest checkpoint to the newest.
    fn listed(&self) -> impl Iterator<Item = usize> {
        let order = if self.banks[0].meta.sequence > self.banks[1].meta.sequence { [1, 0] } else { [0, 1] };
        order.into_iter().filter(|bank| self.committed & (1 << bank) != 0)
    }

    fn find(&self, sequence: u32) -> Option<usize> {
        self.listed().find(|bank| self.banks[*bank].meta.sequence == sequence)
    }
}

/// A writer that appends bytes to the stream (the encoded checkpoint) of a bank.
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

/// A reader of a stream (the encoded checkpoint). A read after the last byte returns 0.
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

    // The number of places. A handler that keeps one checkpoint needs two places.
    const PLACES: u32 = 2;

    // `check` returns the error that `create` would return, but changes nothing. The engine calls it before a run
    // starts.
    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), ErrorKind> {
        if spec.len as usize <= self.banks[0].stream.len() { Ok(()) } else { Err(ErrorKind::OutOfMemory) }
    }

    // `create` prepares a free place for a stream of `spec.len` bytes. It must not change any committed checkpoint. The
    // new checkpoint is not listed before its commit.
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_>, ErrorKind> {
        self.check(spec)?;
        let free = (0..2).find(|bank| !self.listed().any(|listed| listed == *bank));
        self.writing = free.ok_or(ErrorKind::OutOfMemory)?;
        self.write(|medium| medium.banks[medium.writing].len = 0)?;
        Ok(Writer(self))
    }

    // `commit` makes the new checkpoint visible with one atomic write, after all other writes. If the power fails
    // before that write, the checkpoint is not listed. If it fails after that write, the checkpoint is complete. An
    // older checkpoint of the same series with the same step number is replaced.
    fn commit(&mut self, header: &Header<'_>, _: &Encoded) -> Result<(), ErrorKind> {
        let new = CheckpointMeta::from(header);
        let replaced = self.listed().filter(|bank| self.banks[*bank].meta.is_replaced_by(&new));
        let replaced = replaced.fold(0, |bits, bank| bits | 1 << bank);
        self.write(|medium| medium.banks[medium.writing].meta = new)?;
        self.write(|medium| medium.committed = medium.committed & !replaced | 1 << medium.writing)
    }

    // `checkpoint` returns the committed checkpoint with the given index. Index 0 is the oldest checkpoint, which has
    // the lowest sequence number.
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, ErrorKind> {
        Ok(self.listed().nth(index as usize).map(|bank| self.banks[bank].meta))
    }

    // `stream_count` returns the number of streams of the checkpoint with the given sequence number. In this store, the
    // number is 1, or 0 if there is no such checkpoint.
    fn stream_count(&mut self, sequence: u32) -> Result<u32, ErrorKind> {
        Ok(u32::from(self.find(sequence).is_some()))
    }

    // `open` returns a reader of the bytes that were written. It need not verify them, because the decoder checks their
    // checksum.
    fn open(&mut self, sequence: u32, _: u32) -> Result<Reader<'_>, ErrorKind> {
        let bank = &self.banks[self.find(sequence).ok_or(ErrorKind::NotFound)?];
        Ok(Reader(&bank.stream[..bank.len]))
    }

    // `remove` removes the checkpoint with the given sequence number and nothing else. A missing checkpoint is not an
    // error.
    fn remove(&mut self, sequence: u32) -> Result<(), ErrorKind> {
        match self.find(sequence) {
            Some(bank) => self.write(|medium| medium.committed &= !(1 << bank)),
            None => Ok(()),
        }
    }
}

#[derive(StateDict)]
struct Net {
    weight: [f32; 6],
}

/// Runs the training as a device does from a reset to the end. Returns an error if the simulated power fails.
fn run(store: &mut Nvram) -> Result<[f32; 6], Box<dyn core::error::Error>> {
    let mut checkpoint = ModelCheckpoint::<1>::every(3)?.attach(IterationCompleted, store)?;
    let mut net = Named::new("net", Net { weight: [0.0; 6] });
    let mut engine = Engine::new(2);
    engine.resume(&mut net, &mut checkpoint)?;
    engine.run(&mut net, 0..6, &mut checkpoint, |net, batch, _| net.weight[batch as usize] += 1.0 + net.weight[0])?;
    Ok(net.object.weight)
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let series = SeriesId { rule: 0, model: 0 };
    let meta = CheckpointMeta { sequence: 0, step: 0, run: 0, iteration: 0, score: None, series };
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
        // If the power failed before the last removal, the next save would remove the old checkpoint.
        let newest = store.listed().last().map(|bank| store.banks[bank].meta.step);
        assert_eq!(newest, Some(12));
    }
    Ok(())
}
