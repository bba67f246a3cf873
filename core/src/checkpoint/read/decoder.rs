//! Decodes a checkpoint.
//!
//! A stream is read twice. The first pass verifies structure, names, lengths and the checksum, and changes no user data.
//! The second pass reads the tensors into their slices. Therefore the decoder needs no second copy of the model. A model
//! is never loaded partially, unless the medium fails between the two passes. Tensors are matched by name, in any order.
//! Tensors in the stream that the model does not have are skipped.

use super::input::{ChecksummedReader, Input, Name, SliceReader, VerifiedSlice};
use super::matching::{self, Target};
use super::run;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::format::{Info, MAGIC, VERSION};
use crate::checkpoint::objects::{MAX_ITEMS, Objects};
use crate::checkpoint::{Checksum, Crc32, MAX_RANK};
use crate::run_record::RunRecord;
use core::convert::Infallible;
use embedded_io::Read;

/// Whether speed is more important than code and stack size.
const HOST: bool = cfg!(target_pointer_width = "64");

/// The scratch buffer of [`load`]. On a host it suits a vectorised checksum and the first-level cache; elsewhere it saves
/// stack.
const SCRATCH: usize = if HOST { 4096 } else { 64 };

/// Verifies the checkpoint in `bytes`, with the checksum of [`Crc32`], and loads it into `objects`. Copies its run record
/// to `record`, if one is given and the checkpoint [has one](Info::has_run).
///
/// # Errors
/// [`DecodeError`]. No object has changed in this case.
pub fn load<T: Objects + ?Sized>(
    bytes: &[u8],
    objects: &mut T,
    record: Option<&mut RunRecord>,
) -> Result<Info, DecodeError<Infallible>> {
    load_with::<Crc32, T>(bytes, objects, record)
}

/// As [`load`], with another implementation of the checksum.
///
/// # Errors
/// As for [`load`].
pub fn load_with<C: Checksum, T: Objects + ?Sized>(
    bytes: &[u8],
    objects: &mut T,
    record: Option<&mut RunRecord>,
) -> Result<Info, DecodeError<Infallible>> {
    let mut scratch = [0; SCRATCH];
    let mut loader = Loader::new(objects, &mut scratch);
    let info = loader.verify::<C, _>(&mut SliceReader(bytes), record)?;
    loader.check_complete()?;
    if !HOST {
        return loader.load::<C, _>(&mut SliceReader(bytes));
    }
    let mut source = VerifiedSlice { bytes: SliceReader(bytes), crc: info.crc };
    let mut input = Input::new(&mut source);
    decode(&mut input, &mut LoadSink { loader: &mut loader, record: None, loading: true }, &mut Info::default());
    match input.failure {
        None => Ok(info),
        Some(failure) => Err(failure.with_io(None)),
    }
}

/// Verifies and loads the streams of one checkpoint: call [`verify`](Self::verify) for each stream, then
/// [`check_complete`](Self::check_complete), then [`load`](Self::load) for each stream.
#[derive(Debug)]
pub struct Loader<'a, T: ?Sized> {
    objects: &'a mut T,
    scratch: &'a mut [u8],
    /// One bit for each tensor and value of the model, in listing order: whether a stream contained it.
    seen: [u32; MAX_ITEMS / 32],
}

impl<'a, T: Objects + ?Sized> Loader<'a, T> {
    /// Creates a loader for `objects`. `scratch` is the buffer for bytes that are verified or skipped. 64 bytes are
    /// enough; a few kilobytes are faster on a host.
    pub fn new(objects: &'a mut T, scratch: &'a mut [u8]) -> Self {
        Loader { objects, scratch, seen: [0; MAX_ITEMS / 32] }
    }

    /// Verifies one stream and compares it with the objects, which do not change. Copies its run record to `record`, if
    /// one is given and the stream [has one](Info::has_run).
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn verify<C: Checksum, R: Read>(
        &mut self,
        reader: &mut R,
        record: Option<&mut RunRecord>,
    ) -> Result<Info, DecodeError<R::Error>> {
        self.read::<C, R>(reader, record, false)
    }

    /// Checks that the verified streams contain every tensor and value of the objects. Call it before loading.
    ///
    /// # Errors
    /// [`DecodeError::Missing`], or [`DecodeError::Unavailable`] if the objects cannot be listed.
    pub fn check_complete<E>(&mut self) -> Result<(), DecodeError<E>> {
        let count = matching::count(self.objects).map_err(|_| DecodeError::Unavailable)?;
        let missing = (0..count).find(|item| !self.has_seen(*item));
        self.seen = [0; MAX_ITEMS / 32];
        match missing {
            Some(item) => Err(DecodeError::Missing { item }),
            None => Ok(()),
        }
    }

    /// Loads one stream that was verified.
    ///
    /// # Errors
    /// [`DecodeError`] if the stream has changed since. Some tensors may have been replaced in this case.
    pub fn load<C: Checksum, R: Read>(&mut self, reader: &mut R) -> Result<Info, DecodeError<R::Error>> {
        self.read::<C, R>(reader, None, true)
    }

    /// Verifies or loads one stream.
    pub(crate) fn read<C: Checksum, R: Read>(
        &mut self,
        reader: &mut R,
        record: Option<&mut RunRecord>,
        loading: bool,
    ) -> Result<Info, DecodeError<R::Error>> {
        decode_from::<C, R>(reader, &mut LoadSink { loader: self, record, loading })
    }

    fn has_seen(&self, item: u32) -> bool {
        self.seen.get((item / 32) as usize).is_some_and(|bits| bits >> (item % 32) & 1 != 0)
    }

    /// Matches the next tensor or value of the stream with the objects. Returns whether the objects contain it.
    fn match_item(&mut self, input: &mut Input<'_>, target: Target<'_>, loading: bool) -> bool {
        let Some(item) = matching::find(self.objects, target, input, loading) else { return false };
        if self.has_seen(item) {
            // The encoder never writes an item twice.
            input.fail_malformed();
        }
        if let Some(bits) = self.seen.get_mut((item / 32) as usize) {
            *bits |= 1 << (item % 32);
        }
        true
    }
}

/// Receives the parts of a stream.
pub(super) trait Sink {
    /// The name of the score.
    fn score_name(&mut self, name: &Name) {
        let _ = name;
    }
    /// The name of an object of the checkpoint, if the checkpoint has one stream per object.
    fn object_name(&mut self, name: &Name) {
        let _ = name;
    }
    /// Reads the run record.
    fn run(&mut self, input: &mut Input<'_>);
    /// Reads exactly `bytes` bytes, the payload of a tensor.
    fn tensor(&mut self, input: &mut Input<'_>, object: &Name, name: &Name, shape: &[u32], bytes: u32);
    /// Reads exactly `len` bytes, the payload of a value.
    fn value(&mut self, input: &mut Input<'_>, object: &Name, len: u32);
}

/// Verifies the parts of a stream against the objects of a loader, or loads them.
struct LoadSink<'b, 'a, T: ?Sized> {
    loader: &'b mut Loader<'a, T>,
    record: Option<&'b mut RunRecord>,
    loading: bool,
}

impl<T: Objects + ?Sized> Sink for LoadSink<'_, '_, T> {
    fn run(&mut self, input: &mut Input<'_>) {
        run::read(input, self.record.as_deref_mut());
    }
    fn tensor(&mut self, input: &mut Input<'_>, object: &Name, name: &Name, _: &[u32], bytes: u32) {
        let target = Target { object: object.bytes(), tensor: Some(name.bytes()), bytes };
        let matched = self.loader.match_item(input, target, self.loading);
        if !(matched && self.loading) {
            input.read_chunks(bytes, self.loader.scratch, &mut |_| ());
        }
    }
    fn value(&mut self, input: &mut Input<'_>, object: &Name, bytes: u32) {
        let target = Target { object: object.bytes(), tensor: None, bytes };
        if !self.loader.match_item(input, target, self.loading) {
            input.read_chunks(bytes, self.loader.scratch, &mut |_| ());
        }
    }
}

/// Decodes a stream from a reader.
pub(super) fn decode_from<C: Checksum, R: Read>(
    reader: &mut R,
    sink: &mut dyn Sink,
) -> Result<Info, DecodeError<R::Error>> {
    let mut source = ChecksummedReader { reader, crc: C::default(), error: None };
    let mut input = Input::new(&mut source);
    let mut info = Info::default();
    decode(&mut input, sink, &mut info);
    match input.failure {
        None => Ok(info),
        Some(failure) => Err(failure.with_io(source.error)),
    }
}

/// Decodes a stream. This is the only function that knows its structure, which FORMAT.md specifies.
fn decode(input: &mut Input<'_>, sink: &mut dyn Sink, info: &mut Info) {
    let mut magic = [0; 4];
    input.read_exact(&mut magic);
    if magic != MAGIC {
        input.fail(DecodeError::NotACheckpoint);
    }
    let found = input.read_u8();
    if found != VERSION {
        input.fail(DecodeError::Version { found });
    }
    let (mut object, mut name) = (Name::default(), Name::default());
    info.step = input.read_u32();
    info.sequence = input.read_u32();
    info.iteration = input.read_u32();
    info.score = if input.read_bool() { Some(input.read_f32()) } else { None };
    if input.read_bool() {
        input.read_name(&mut name);
        if !input.has_failed() {
            sink.score_name(&name);
        }
    }
    info.object_count = input.read_u32();
    let mut names = info.object_count;
    while names > 0 && !input.has_failed() {
        input.read_name(&mut name);
        if !input.has_failed() {
            sink.object_name(&name);
        }
        names -= 1;
    }
    info.has_run = input.read_bool();
    if info.has_run {
        sink.run(input);
    }
    let mut objects = input.read_u32();
    while objects > 0 && !input.has_failed() {
        objects -= 1;
        input.read_name(&mut object);
        // Content::Value if true, Content::StateDict if false.
        let is_value = input.read_bool();
        let mut count = input.read_u32();
        if is_value {
            let start = input.position;
            if !input.has_failed() {
                sink.value(input, &object, count);
            }
            if input.position.wrapping_sub(start) != count {
                input.fail_malformed();
            }
            continue;
        }
        while count > 0 && !input.has_failed() {
            count -= 1;
            decode_tensor(input, sink, &object, &mut name);
        }
    }
    info.crc = input.checksum();
    let mut crc = [0; 4];
    input.read_unsummed(&mut crc);
    info.len = input.position;
    if u32::from_le_bytes(crc) != info.crc {
        input.fail(DecodeError::Checksum);
    }
}

fn decode_tensor(input: &mut Input<'_>, sink: &mut dyn Sink, object: &Name, name: &mut Name) {
    input.read_name(name);
    let rank = input.read_u32() as usize;
    let mut shape = [0; MAX_RANK];
    let Some(shape) = shape.get_mut(..rank) else { return input.fail_malformed() };
    let mut elements = Some(1u32);
    for side in shape.iter_mut() {
        *side = input.read_u32();
        elements = elements.and_then(|elements| elements.checked_mul(*side));
    }
    let pad = usize::from(input.read_u8());
    match [0; 3].get_mut(..pad) {
        Some(pad) => input.read_exact(pad),
        None => input.fail_malformed(),
    }
    let bytes = input.read_u32();
    if elements.and_then(|elements| elements.checked_mul(4)) != Some(bytes) || !input.position.is_multiple_of(4) {
        input.fail_malformed();
    }
    if !input.has_failed() {
        sink.tensor(input, object, name, shape, bytes);
    }
}
