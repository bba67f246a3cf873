//! Calls of a store whose results are compared with the contract.

use super::sample::Sample;
use super::violation::{StoreRule, StoreViolation};
use core::fmt::{Debug, Display};
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::embedded_io::{Error as _, ErrorKind, Read, Write};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// The result of a part of the check.
pub(super) type Check<T = ()> = Result<T, StoreViolation>;

/// How the bytes of a stream are divided among the calls of the writer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pieces {
    /// One byte per call.
    Bytes,
    /// Pieces of several odd sizes, empty pieces, and a flush between them.
    Odd,
    /// All bytes in one call.
    Whole,
}

/// Creates a violation.
pub(super) fn violation(rule: StoreRule, operation: impl Display, details: impl Display) -> StoreViolation {
    StoreViolation { rule, operation: operation.to_string(), details: details.to_string() }
}

/// Creates a violation that shows an expected and an unexpected value.
fn mismatch(rule: StoreRule, operation: impl Display, expected: impl Debug, found: impl Debug) -> StoreViolation {
    violation(rule, operation, format_args!("expected {expected:?}, found {found:?}"))
}

/// An open store, and the situation in which it is checked.
pub(super) struct Probe<'s, S> {
    pub store: &'s mut S,
    moment: String,
}

impl<'s, S: Store> Probe<'s, S> {
    pub fn new(store: &'s mut S, moment: impl Display) -> Self {
        Probe { store, moment: moment.to_string() }
    }

    /// Changes the situation that violations name.
    pub fn set_moment(&mut self, moment: impl Display) {
        self.moment = moment.to_string();
    }

    /// Adds the situation to the name of an operation.
    fn at(&self, operation: impl Display) -> String {
        format!("{operation} {}", self.moment)
    }

    fn succeeds<T, E: Display>(&self, operation: impl Display, result: Result<T, E>) -> Check<T> {
        result.map_err(|error| violation(StoreRule::Succeeds, self.at(operation), format_args!("the error: {error}")))
    }

    /// Requires that a call returned an error.
    pub fn fails<T, E>(&self, rule: StoreRule, operation: impl Display, result: Result<T, E>) -> Check {
        match result {
            Ok(_) => Err(violation(rule, self.at(operation), "expected an error, the call returned Ok")),
            Err(_) => Ok(()),
        }
    }

    pub fn check_capacity(&mut self) -> Check<u32> {
        let capacity = self.store.capacity();
        if S::PLACES < 2 || capacity < 2 || capacity > S::PLACES {
            let found = format_args!("PLACES is {}, the capacity is {capacity}", S::PLACES);
            return Err(violation(StoreRule::Capacity, self.at("`capacity()`"), found));
        }
        Ok(capacity)
    }

    /// Creates a stream and writes its first `len` bytes, or all bytes if there are fewer. Flushes the writer.
    pub fn write(&mut self, sample: &Sample, index: usize, pieces: Pieces, len: usize) -> Check {
        match self.try_write(sample, index, pieces, len)? {
            Ok(()) => Ok(()),
            Err(error) => self.succeeds("a write", Err(error)),
        }
    }

    /// Does the same as `write`, but returns the error of the store in the inner result.
    fn try_write(&mut self, sample: &Sample, index: usize, pieces: Pieces, len: usize) -> Check<Result<(), String>> {
        let name = |call: &str| format!("{call} of stream {index} of the checkpoint {}", sample.sequence());
        let Some(stream) = sample.streams.get(index) else { return Ok(Ok(())) };
        let moment = self.moment.clone();
        let mut writer = match self.store.create(&sample.spec(index)) {
            Ok(writer) => writer,
            Err(error) => return Ok(Err(format!("{}: {error}", name("`create`")))),
        };
        let mut rest = stream.bytes.get(..len).unwrap_or(&stream.bytes);
        let mut sizes = [1, 0, 3, 13, 5, 64, 7].into_iter().cycle();
        while !rest.is_empty() {
            let size = match pieces {
                Pieces::Bytes => 1,
                Pieces::Odd => sizes.next().unwrap_or(1),
                Pieces::Whole => rest.len(),
            };
            let piece = rest.get(..size).unwrap_or(rest);
            let count = match writer.write(piece) {
                Ok(count) => count,
                Err(error) => return Ok(Err(format!("{}: {error}", name("`write`")))),
            };
            if count > piece.len() || (count == 0 && !piece.is_empty()) {
                let found = format_args!("of {} bytes, the writer accepted {count}", piece.len());
                return Err(violation(StoreRule::WriterCount, format_args!("{} {moment}", name("`write`")), found));
            }
            rest = rest.get(count..).unwrap_or_default();
            if size == 13
                && let Err(error) = writer.flush()
            {
                return Ok(Err(format!("{}: {error}", name("`flush`"))));
            }
        }
        match writer.flush() {
            Ok(()) => Ok(Ok(())),
            Err(error) => Ok(Err(format!("{}: {error}", name("`flush`")))),
        }
    }

    /// Writes all streams of a checkpoint. The store must list only `committed` before the commit.
    pub fn write_all(&mut self, sample: &Sample, pieces: Pieces, committed: &[&Sample]) -> Check {
        for index in 0..sample.streams.len() {
            self.write(sample, index, pieces, usize::MAX)?;
        }
        let moment = format!("after all streams of the checkpoint {} were written", sample.sequence());
        let before = core::mem::replace(&mut self.moment, moment);
        if self.listed(committed.len())?.iter().any(|meta| *meta == sample.meta()) {
            let details = format_args!("the checkpoint {} is listed", sample.sequence());
            return Err(violation(StoreRule::ListedAfterCommit, self.at("`checkpoint`"), details));
        }
        self.verify(committed, StoreRule::SaveKeepsOthers)?;
        self.moment = before;
        Ok(())
    }

    pub fn commit(&mut self, sample: &Sample) -> Check {
        let result = self.store.commit(sample.header(), &sample.last());
        self.succeeds(format_args!("`commit` of the checkpoint {}", sample.sequence()), result)?;
        if !self.store.is_durable(sample.sequence()) {
            let operation = self.at(format_args!("`is_durable({})`", sample.sequence()));
            return Err(mismatch(StoreRule::Durable, operation, true, false));
        }
        Ok(())
    }

    /// Saves a checkpoint. The store must list `before` until the commit and `after` from then on.
    pub fn save(&mut self, sample: &Sample, pieces: Pieces, before: &[&Sample], after: &[&Sample]) -> Check {
        self.write_all(sample, pieces, before)?;
        self.commit(sample)?;
        let moment = format!("after the commit of the checkpoint {}", sample.sequence());
        let old = core::mem::replace(&mut self.moment, moment);
        self.verify(after, StoreRule::SaveKeepsOthers)?;
        self.moment = old;
        Ok(())
    }

    /// Tries to save a checkpoint. Returns the error of the store in the inner result.
    pub fn try_save(&mut self, sample: &Sample) -> Check<Result<(), String>> {
        for index in 0..sample.streams.len() {
            if let Err(error) = self.try_write(sample, index, Pieces::Whole, usize::MAX)? {
                return Ok(Err(error));
            }
        }
        Ok(self.store.commit(sample.header(), &sample.last()).map_err(|error| error.to_string()))
    }

    /// Requires that a commit returns an error.
    pub fn refuses_commit(&mut self, rule: StoreRule, header: &Header<'_>, last: &Encoded, situation: &str) -> Check {
        let result = self.store.commit(header, last);
        self.fails(rule, format_args!("`commit` {situation}"), result)
    }

    /// Requires that `create` returns an error.
    pub fn refuses_create(&mut self, rule: StoreRule, spec: &StreamSpec<'_>) -> Check {
        let result = self.store.create(spec).map(|_| ());
        self.fails(rule, format_args!("`create` of a stream of {} bytes", spec.len), result)
    }

    /// Returns the metadata of the listed checkpoints. Reads at most one more than `expected`.
    pub fn listed(&mut self, expected: usize) -> Check<Vec<CheckpointMeta>> {
        let mut listed = Vec::new();
        for index in 0..=expected as u32 {
            let result = self.store.checkpoint(index);
            match self.succeeds(format_args!("`checkpoint({index})`"), result)? {
                Some(meta) => listed.push(meta),
                None => break,
            }
        }
        Ok(listed)
    }

    /// Requires that the store contains exactly the checkpoints `expected`, which are sorted by sequence number. `rule`
    /// is reported if a checkpoint is missing, or if there is another one.
    pub fn verify(&mut self, expected: &[&Sample], rule: StoreRule) -> Check {
        let metas: Vec<CheckpointMeta> = expected.iter().map(|sample| sample.meta()).collect();
        let listed = self.listed(metas.len())?;
        if listed != metas {
            let mut sorted = listed.clone();
            sorted.sort_by_key(|meta| meta.sequence);
            let sequences = |metas: &[CheckpointMeta]| metas.iter().map(|meta| meta.sequence).collect::<Vec<_>>();
            let operation = self.at("`checkpoint`");
            let is_repeated = sorted.windows(2).any(|pair| matches!(pair, [a, b] if a.sequence == b.sequence));
            return Err(if is_repeated {
                let details = format_args!("a checkpoint is listed twice: {:?}", sequences(&listed));
                violation(StoreRule::ListingEnds, operation, details)
            } else if sorted == metas {
                mismatch(StoreRule::ListsInOrder, operation, sequences(&metas), sequences(&listed))
            } else if sequences(&sorted) == sequences(&metas) {
                let differing = metas.iter().zip(&sorted).find(|(expected, found)| expected != found);
                let (expected, found) = differing.unzip();
                mismatch(StoreRule::ListsCommitted, operation, expected, found)
            } else {
                let (expected, found) = (sequences(&metas), sequences(&listed));
                let details = format_args!("expected the sequence numbers {expected:?}, found {found:?}");
                violation(rule, operation, details)
            });
        }
        for index in [metas.len() as u32, metas.len() as u32 + 1, u32::MAX] {
            let result = self.store.checkpoint(index);
            if let Some(meta) = self.succeeds(format_args!("`checkpoint({index})`"), result)? {
                let operation = self.at(format_args!("`checkpoint({index})`"));
                return Err(mismatch(StoreRule::ListingEnds, operation, None::<CheckpointMeta>, Some(meta)));
            }
        }
        for sample in expected {
            self.verify_streams(sample)?;
            // No sequence number is also a step number, so a store that confuses them is found.
            self.verify_unknown(sample.header().step)?;
        }
        match self.store.damaged() {
            0 => Ok(()),
            count => Err(mismatch(StoreRule::NoDamage, self.at("`damaged()`"), 0, count)),
        }
    }

    fn verify_streams(&mut self, sample: &Sample) -> Check {
        let sequence = sample.sequence();
        self.verify_stream_count(sequence, sample.stream_count())?;
        for index in 0..sample.streams.len() {
            for size in [64, 3, 1] {
                self.verify_stream(sample, index, size)?;
            }
        }
        Ok(())
    }

    fn verify_stream_count(&mut self, sequence: u32, expected: u32) -> Check {
        let result = self.store.stream_count(sequence);
        let operation = format!("`stream_count({sequence})`");
        match self.succeeds(&operation, result)? {
            count if count == expected => Ok(()),
            count => Err(mismatch(StoreRule::StreamCount, self.at(operation), expected, count)),
        }
    }

    /// Reads a stream with a buffer of `size` bytes, and with empty buffers in between.
    fn verify_stream(&mut self, sample: &Sample, index: usize, size: usize) -> Check {
        let sequence = sample.sequence();
        let Some(stream) = sample.streams.get(index) else { return Ok(()) };
        let operation = format!("reading `open({sequence}, {index})` with a buffer of {size} bytes {}", self.moment);
        let wrong = |details: &dyn Display| violation(StoreRule::ReadsBack, &operation, details);
        let mut reader = self.store.open(sequence, index as u32).map_err(|error| wrong(&error))?;
        let mut buffer = [0; 64];
        let mut position = 0;
        loop {
            match reader.read(&mut []) {
                Ok(0) => (),
                Ok(count) => return Err(wrong(&format_args!("a read into an empty buffer returned {count}"))),
                Err(error) => return Err(wrong(&format_args!("a read into an empty buffer failed: {error}"))),
            }
            let into = buffer.get_mut(..size).unwrap_or_default();
            let count = reader.read(into).map_err(|error| wrong(&format_args!("at byte {position}: {error}")))?;
            let expected = stream.bytes.get(position..).unwrap_or_default();
            if count == 0 && !expected.is_empty() {
                let len = stream.bytes.len();
                return Err(wrong(&format_args!("the stream ends after {position} of {len} bytes")));
            }
            if count > into.len() || count > expected.len() {
                return Err(wrong(&format_args!(
                    "at byte {position}, a read returned {count} bytes, although {} bytes of the stream are left",
                    expected.len()
                )));
            }
            if let Some(first) = expected.iter().zip(into.iter().take(count)).position(|(a, b)| a != b) {
                return Err(wrong(&format_args!("byte {} differs from the written byte", position + first)));
            }
            if count == 0 {
                break;
            }
            position += count;
        }
        // A reader stays at the end.
        match reader.read(&mut buffer) {
            Ok(0) => Ok(()),
            Ok(count) => Err(wrong(&format_args!("after the end, a read returned {count} bytes"))),
            Err(error) => Err(wrong(&format_args!("after the end: {error}"))),
        }
    }

    /// Requires that the store reports the checkpoint `sequence` as unknown.
    pub fn verify_unknown(&mut self, sequence: u32) -> Check {
        self.verify_stream_count(sequence, 0)?;
        let kind = match self.store.open(sequence, 0) {
            Ok(_) => None,
            Err(error) => Some(error.kind()),
        };
        if kind == Some(ErrorKind::NotFound) {
            return Ok(());
        }
        let operation = self.at(format_args!("`open({sequence}, 0)`"));
        Err(mismatch(StoreRule::NotFound, operation, Some(ErrorKind::NotFound), kind))
    }

    /// Removes an unknown checkpoint with both methods.
    pub fn remove_unknown(&mut self, sequence: u32, expected: &[&Sample]) -> Check {
        let rule = StoreRule::RemovesUnknown;
        if let Err(error) = self.store.remove(sequence) {
            return Err(violation(rule, self.at(format_args!("`remove({sequence})`")), error));
        }
        if let Err(error) = self.store.erase(sequence) {
            return Err(violation(rule, self.at(format_args!("`erase({sequence})`")), error));
        }
        self.verify(expected, rule)
    }

    pub fn remove(&mut self, sequence: u32) -> Check {
        let result = self.store.remove(sequence);
        self.succeeds(format_args!("`remove({sequence})`"), result)
    }

    pub fn erase(&mut self, sequence: u32) -> Check {
        let result = self.store.erase(sequence);
        self.succeeds(format_args!("`erase({sequence})`"), result)
    }

    /// Erases the listed checkpoints. Returns their sequence numbers.
    pub fn erase_listed(&mut self) -> Check<Vec<u32>> {
        let mut erased = Vec::new();
        loop {
            let result = self.store.checkpoint(0);
            let Some(meta) = self.succeeds("`checkpoint(0)`", result)? else { return Ok(erased) };
            if erased.contains(&meta.sequence) {
                let details = format_args!("the erased checkpoint {} is still listed", meta.sequence);
                return Err(violation(StoreRule::Removes, self.at("`checkpoint(0)`"), details));
            }
            self.erase(meta.sequence)?;
            erased.push(meta.sequence);
        }
    }
}
