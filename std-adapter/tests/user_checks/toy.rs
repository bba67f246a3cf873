//! A small store on a simulated medium, with deliberate mistakes that the checks must find.

use training_monitor::checkpoint::{Crc32, Encoded, Header};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
use training_monitor_std::test_support::{Medium, PowerMedium};

/// The maximum length of a stream.
const MAX_LEN: usize = 300;
const PLACES: usize = 4;

/// A mistake of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    None,
    /// Opening discards the oldest checkpoint.
    LosesOldestOnOpen,
    /// The listing is ordered by step number.
    ListsByStep,
    /// The last byte of a stream cannot be read.
    TruncatesStreams,
    /// A checkpoint is listed as soon as its streams are written.
    ListsBeforeCommit,
    /// A save does not replace the checkpoint with the same step number.
    IgnoresReplacement,
    /// A save replaces a checkpoint of another series.
    ReplacesOtherSeries,
    /// A checkpoint is identified by its step number.
    IdentifiesByStep,
    /// A commit does not compare the lengths.
    CommitsIncomplete,
    /// A commit without a stream returns Ok.
    CommitsNothing,
    /// An abandoned checkpoint is listed after the next opening.
    KeepsAbandoned,
    /// An erased checkpoint is listed after the next opening.
    ForgetsErase,
    /// The removal of an unknown checkpoint is an error.
    RefusesUnknownRemoval,
    /// An unknown checkpoint is an error of another kind.
    OtherErrorKind,
    /// A writer accepts all bytes of a long piece, but keeps only the first 16.
    DropsBytes,
    /// A writer returns more than the length of the piece.
    CountsTooMuch,
    /// A reader starts again after the last byte.
    ReadsInCircles,
    /// The method `check` accepts every length.
    ChecksNothing,
    /// The method `check` accepts one byte more than `create`.
    ChecksOneMore,
    /// A full store discards its oldest checkpoint.
    OverwritesWhenFull,
    /// The score is stored without its sign.
    LosesSign,
    /// The listing repeats the last checkpoint forever.
    ListsForever,
    /// Removed checkpoints are counted as damaged.
    CountsRemovedAsDamaged,
    /// A committed checkpoint is reported as not durable.
    NeverDurable,
    /// `create` removes the checkpoint that will be replaced.
    ReplacesInCreate,
    /// The removal of a checkpoint removes the older ones, too.
    RemovesOlder,
    /// The store reports more usable places than it has.
    ReportsManyPlaces,
    /// The commit writes its mark before the metadata, in two operations.
    CommitsInTwoOperations,
    /// The streams stay in a volatile cache until the next opening.
    NeverFlushes,
    /// Replaced checkpoints are removed by an operation before the commit.
    RemovesBeforeCommit,
    /// After an interruption, the place of the interrupted checkpoint is lost.
    LosesPlaces,
    /// Opening panics if a checkpoint is not complete.
    Panics,
}

#[derive(Clone)]
struct Place {
    meta: CheckpointMeta,
    streams: Vec<(u32, Vec<u8>)>,
    stream_count: u32,
    committed: bool,
    removed: bool,
}

/// The medium. All fields but `cache` survive a power failure.
pub struct Toy<const PER_OBJECT: bool> {
    mistake: Mistake,
    places: Vec<Place>,
    /// The places that no power failure may lose. Only used by the mistake `NeverFlushes`.
    durable: Vec<Place>,
    operations: u64,
    failure: Option<(u64, u64)>,
    is_off: bool,
    /// Whether a checkpoint is being written.
    is_writing: bool,
}

impl<const PER_OBJECT: bool> Toy<PER_OBJECT> {
    pub fn new(mistake: Mistake) -> Self {
        Toy {
            mistake,
            places: Vec::new(),
            durable: Vec::new(),
            operations: 0,
            failure: None,
            is_off: false,
            is_writing: false,
        }
    }

    /// Performs one operation on the medium. A power failure with an odd seed performs it, too.
    fn operation(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), ErrorKind> {
        if self.is_off {
            return Err(ErrorKind::Other);
        }
        let number = self.operations;
        self.operations += 1;
        let failure = self.failure.filter(|(operation, _)| *operation == number);
        if failure.is_none_or(|(_, seed)| seed % 2 == 1) {
            change(self);
        }
        self.is_off = failure.is_some();
        if self.is_off { Err(ErrorKind::Other) } else { Ok(()) }
    }
}

impl<const PER_OBJECT: bool> PowerMedium for Toy<PER_OBJECT> {
    fn operations(&self) -> u64 {
        self.operations
    }
    fn cut_power_at(&mut self, operation: u64, seed: u64) {
        self.failure = Some((operation, seed));
    }
    fn restore_power(&mut self) {
        if self.is_off && self.mistake == Mistake::NeverFlushes {
            self.places = self.durable.clone();
        }
        self.is_off = false;
        self.failure = None;
    }
}

impl<const PER_OBJECT: bool> Medium for Toy<PER_OBJECT> {
    type Store<'a> = ToyStore<'a, PER_OBJECT>;
    type OpenError = ErrorKind;

    fn open(&mut self) -> Result<ToyStore<'_, PER_OBJECT>, ErrorKind> {
        self.is_writing = false;
        match self.mistake {
            Mistake::LosesOldestOnOpen if self.places.len() > 1 => drop(self.places.remove(0)),
            Mistake::KeepsAbandoned => self.places.iter_mut().for_each(|place| place.committed = true),
            Mistake::ForgetsErase => self.places.iter_mut().for_each(|place| place.removed = false),
            Mistake::Panics => {
                let is_complete = |place: &Place| place.streams.iter().all(|(len, bytes)| *len as usize == bytes.len());
                assert!(self.places.iter().all(is_complete), "a stream is too short");
            }
            _ => (),
        }
        if self.mistake != Mistake::LosesPlaces {
            self.places.retain(|place| place.committed);
        }
        self.durable = self.places.clone();
        Ok(ToyStore(self))
    }
}

pub struct ToyStore<'a, const PER_OBJECT: bool>(&'a mut Toy<PER_OBJECT>);

impl<const PER_OBJECT: bool> ToyStore<'_, PER_OBJECT> {
    fn listed(&self) -> Vec<&Place> {
        let early = self.0.mistake == Mistake::ListsBeforeCommit;
        let is_listed = |place: &&Place| (place.committed || early) && !place.removed;
        let mut listed: Vec<&Place> = self.0.places.iter().filter(is_listed).collect();
        match self.0.mistake {
            Mistake::ListsByStep => listed.sort_by_key(|place| place.meta.step),
            _ => listed.sort_by_key(|place| place.meta.sequence),
        }
        listed
    }

    fn find(&self, sequence: u32) -> Option<&Place> {
        let by_step = self.0.mistake == Mistake::IdentifiesByStep;
        let id = |place: &Place| if by_step { place.meta.step } else { place.meta.sequence };
        self.listed().into_iter().find(|place| id(place) == sequence)
    }

    fn is_replaced(&self, old: &Place, new: &CheckpointMeta) -> bool {
        match self.0.mistake {
            Mistake::IgnoresReplacement => false,
            Mistake::ReplacesOtherSeries => old.meta.step == new.step && old.meta.sequence != new.sequence,
            _ => old.meta.is_replaced_by(new),
        }
    }

    fn replaced(&self, new: &CheckpointMeta) -> Vec<u32> {
        let places = self.0.places.iter().filter(|place| self.is_replaced(place, new));
        places.map(|place| place.meta.sequence).collect()
    }

    fn remove_all(&mut self, sequences: &[u32]) -> Result<(), ErrorKind> {
        self.0.operation(|toy| {
            let marks = [Mistake::ForgetsErase, Mistake::CountsRemovedAsDamaged].contains(&toy.mistake);
            let older = toy.mistake == Mistake::RemovesOlder;
            let is_removed = |place: &Place| {
                let id = place.meta.sequence;
                sequences.iter().any(|sequence| id == *sequence || older && id < *sequence)
            };
            if marks {
                toy.places.iter_mut().filter(|place| is_removed(place)).for_each(|place| place.removed = true);
            } else {
                toy.places.retain(|place| !is_removed(place));
            }
        })
    }
}

pub struct ToyWriter<'a, const PER_OBJECT: bool>(&'a mut Toy<PER_OBJECT>);

impl<const PER_OBJECT: bool> ErrorType for ToyWriter<'_, PER_OBJECT> {
    type Error = ErrorKind;
}

impl<const PER_OBJECT: bool> Write for ToyWriter<'_, PER_OBJECT> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let mut kept = bytes;
        if self.0.mistake == Mistake::DropsBytes {
            kept = &bytes[..bytes.len().min(16)];
        }
        self.0.operation(|toy| {
            let (_, stream) = toy.places.last_mut().unwrap().streams.last_mut().unwrap();
            stream.extend_from_slice(kept);
        })?;
        Ok(bytes.len() + usize::from(self.0.mistake == Mistake::CountsTooMuch))
    }
    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

pub struct ToyReader {
    bytes: Vec<u8>,
    position: usize,
    in_circles: bool,
}

impl ErrorType for ToyReader {
    type Error = ErrorKind;
}

impl Read for ToyReader {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        let rest = &self.bytes[self.position..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        if count == 0 && self.in_circles {
            self.position = 0;
        }
        Ok(count)
    }
}

impl<const PER_OBJECT: bool> Store for ToyStore<'_, PER_OBJECT> {
    type Error = ErrorKind;
    type Writer<'a>
        = ToyWriter<'a, PER_OBJECT>
    where
        Self: 'a;
    type Reader<'a>
        = ToyReader
    where
        Self: 'a;
    type Checksum = Crc32;
    const PLACES: u32 = PLACES as u32;

    fn has_stream_per_object(&self) -> bool {
        PER_OBJECT
    }

    fn capacity(&mut self) -> u32 {
        PLACES as u32 + u32::from(self.0.mistake == Mistake::ReportsManyPlaces)
    }

    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), ErrorKind> {
        let more = usize::from(self.0.mistake == Mistake::ChecksOneMore);
        let fits = spec.len as usize <= MAX_LEN + more || self.0.mistake == Mistake::ChecksNothing;
        if fits { Ok(()) } else { Err(ErrorKind::OutOfMemory) }
    }

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, ErrorKind> {
        if spec.len as usize > MAX_LEN {
            return Err(ErrorKind::OutOfMemory);
        }
        let meta = CheckpointMeta::from(&spec.header);
        if spec.stream_index == 0 {
            let loses_places = self.0.mistake == Mistake::LosesPlaces;
            self.0.operation(|toy| toy.places.retain(|place| place.committed || loses_places))?;
            if self.0.places.len() >= PLACES && self.0.mistake == Mistake::OverwritesWhenFull {
                self.0.places.remove(0);
            }
            if self.0.places.len() >= PLACES {
                return Err(ErrorKind::OutOfMemory);
            }
            if self.0.mistake == Mistake::ReplacesInCreate {
                self.remove_all(&self.replaced(&meta))?;
            }
            let stream_count = spec.stream_count;
            let place = Place { meta, streams: Vec::new(), stream_count, committed: false, removed: false };
            self.0.operation(|toy| toy.places.push(place))?;
        }
        let len = spec.len;
        self.0.operation(|toy| toy.places.last_mut().unwrap().streams.push((len, Vec::new())))?;
        self.0.is_writing = true;
        Ok(ToyWriter(self.0))
    }

    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), ErrorKind> {
        let meta = CheckpointMeta::from(header);
        if !self.0.is_writing {
            return if self.0.mistake == Mistake::CommitsNothing { Ok(()) } else { Err(ErrorKind::InvalidInput) };
        }
        self.0.is_writing = false;
        let Place { streams, stream_count, .. } = self.0.places.last().unwrap();
        let is_complete = streams.len() as u32 == *stream_count
            && streams.iter().all(|(len, bytes)| bytes.len() == *len as usize)
            && streams.last().is_some_and(|(len, _)| *len == last.len);
        if !is_complete && ![Mistake::CommitsIncomplete, Mistake::DropsBytes].contains(&self.0.mistake) {
            return Err(ErrorKind::InvalidInput);
        }
        let replaced = self.replaced(&meta);
        match self.0.mistake {
            Mistake::RemovesBeforeCommit => self.remove_all(&replaced)?,
            Mistake::CommitsInTwoOperations => {
                self.0.operation(|toy| {
                    let place = toy.places.last_mut().unwrap();
                    place.committed = true;
                    place.meta.iteration = 0;
                })?;
            }
            _ => (),
        }
        let loses_sign = self.0.mistake == Mistake::LosesSign;
        self.0.operation(|toy| {
            let place = toy.places.last_mut().unwrap();
            place.meta = CheckpointMeta { score: meta.score.map(|x| if loses_sign { x.abs() } else { x }), ..meta };
            place.committed = true;
            toy.places.retain(|place| !replaced.contains(&place.meta.sequence));
        })
    }

    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, ErrorKind> {
        let listed = self.listed();
        let place = listed.get(index as usize);
        let last = listed.last().filter(|_| self.0.mistake == Mistake::ListsForever);
        Ok(place.or(last).map(|place| place.meta))
    }

    fn stream_count(&mut self, sequence: u32) -> Result<u32, ErrorKind> {
        Ok(self.find(sequence).map_or(0, |place| place.stream_count))
    }

    fn damaged(&mut self) -> u32 {
        self.0.places.iter().filter(|place| place.removed && self.0.mistake != Mistake::ForgetsErase).count() as u32
    }

    fn is_durable(&mut self, _: u32) -> bool {
        self.0.mistake != Mistake::NeverDurable
    }

    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<ToyReader, ErrorKind> {
        let Some(place) = self.find(sequence) else {
            let other = self.0.mistake == Mistake::OtherErrorKind;
            return Err(if other { ErrorKind::Other } else { ErrorKind::NotFound });
        };
        let mut bytes = place.streams.get(stream_index as usize).ok_or(ErrorKind::NotFound)?.1.clone();
        if self.0.mistake == Mistake::TruncatesStreams {
            bytes.pop();
        }
        Ok(ToyReader { bytes, position: 0, in_circles: self.0.mistake == Mistake::ReadsInCircles })
    }

    fn remove(&mut self, sequence: u32) -> Result<(), ErrorKind> {
        match self.find(sequence).map(|place| place.meta.sequence) {
            Some(sequence) => self.remove_all(&[sequence]),
            None if self.0.mistake == Mistake::RefusesUnknownRemoval => Err(ErrorKind::NotFound),
            None => Ok(()),
        }
    }
}
