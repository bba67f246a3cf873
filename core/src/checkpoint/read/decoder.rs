//! Decodes a checkpoint and loads it into the user's objects.
//!
//! A checkpoint is read twice. The first pass verifies the structure, names, lengths and the checksum, and changes no
//! user data. The second pass reads the tensors directly into the model, so no second copy of the model is needed. The
//! model is never loaded partially, unless the medium fails between the two passes.
//!
//! Tensors are matched by name, in any order. Tensors that the model does not have are skipped.

use super::input::{ChecksummedReader, Input, Name, SliceReader, VerifiedSlice};
use super::matching::{self, Match, Target};
use super::run;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::format::{IDENTITY, Info, MAGIC, METADATA, RankingRule, VERSION, WRITER};
use crate::checkpoint::names::{ItemName, element_count};
use crate::checkpoint::objects::{MAX_ITEMS, Objects};
use crate::checkpoint::{Checksum, Crc32, ElementType, MAX_RANK};
use crate::hash::Hash;
use crate::run_record::RunRecord;
use core::convert::Infallible;
use embedded_io::Read;

/// Whether the target is a 64-bit host, where speed is more important than code size and stack size.
const HOST: bool = cfg!(target_pointer_width = "64");

/// The size of the buffer on the stack of [`load`], in bytes. 4 KiB are fast on a 64-bit host; 64 bytes save stack on a
/// microcontroller.
const SCRATCH: usize = if HOST { 4096 } else { 64 };

/// Verifies the checkpoint in `bytes` and then loads it into `objects`. The checksum is computed with [`Crc32`].
///
/// If the checkpoint contains a run record (the states of engine and handlers), it is copied to `record`. Pass `None`
/// if it is not needed.
///
/// # Errors
/// Returns a [`DecodeError`] if the checkpoint is not valid or does not match the objects. No object has changed in
/// this case.
pub fn load<T: Objects + ?Sized>(
    bytes: &[u8],
    objects: &mut T,
    record: Option<&mut RunRecord<[u8]>>,
) -> Result<Info, DecodeError<Infallible>> {
    load_with::<Crc32, T>(bytes, objects, record)
}

/// Does the same as [`load`], but computes the checksum with `C` instead of [`Crc32`].
///
/// # Errors
/// Returns a [`DecodeError`] in the same cases as [`load`].
pub fn load_with<C: Checksum, T: Objects + ?Sized>(
    bytes: &[u8],
    objects: &mut T,
    record: Option<&mut RunRecord<[u8]>>,
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

/// A loader for a checkpoint that consists of several streams, such as one file per object. First
/// call [`verify`](Self::verify) for each stream. Then call [`check_complete`](Self::check_complete) once,
/// and [`load`](Self::load) for each stream.
#[derive(Debug)]
pub struct Loader<'a, T: ?Sized> {
    objects: &'a mut T,
    scratch: &'a mut [u8],
    /// One bit for each tensor and value of the model. The bit is set if one of the streams contains the tensor or
    /// value.
    seen: [u32; MAX_ITEMS / 32],
    allow_differences: bool,
    differences: Differences,
}

/// How the tensors of a checkpoint differ from those of the model.
///
/// Objects of the checkpoint that the model does not list are no difference. For example, a program loads only the
/// model from a checkpoint that also contains the optimizer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Differences {
    /// The number of tensors and values of the model that the checkpoint does not contain. They keep their elements.
    pub missing: u32,
    /// The name of the first missing tensor or value, in the order of the model.
    pub first_missing: Option<ItemName>,
    /// The number of tensors of the checkpoint that the object of the same name in the model does not have.
    pub unexpected: u32,
    /// The name of the first unexpected tensor, in the order of the checkpoint.
    pub first_unexpected: Option<ItemName>,
}

impl<'a, T: Objects + ?Sized> Loader<'a, T> {
    /// Creates a loader for `objects`. `scratch` is a buffer for bytes that are only verified or skipped. A buffer of
    /// 64 bytes is enough, but 4 KiB are faster on a 64-bit host.
    pub fn new(objects: &'a mut T, scratch: &'a mut [u8]) -> Self {
        let differences = Differences::default();
        Loader { objects, scratch, seen: [0; MAX_ITEMS / 32], allow_differences: false, differences }
    }

    /// Lets the checkpoint and the model have different sets of tensors, as `strict=False` of PyTorch's
    /// `load_state_dict`. Tensors of the same name must still have the same element type and shape.
    #[must_use]
    pub fn allow_differences(mut self) -> Self {
        self.allow_differences = true;
        self
    }

    /// Returns the differences that the verified streams have. They are complete
    /// after [`check_complete`](Self::check_complete).
    pub fn differences(&self) -> Differences {
        self.differences
    }

    /// Verifies one stream, and checks that its tensors and values match the objects. The objects do not change.
    ///
    /// If the stream contains a run record (the states of engine and handlers), it is copied to `record`. Pass `None`
    /// if it is not needed.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the stream is not valid or does not match the objects.
    pub fn verify<C: Checksum, R: Read>(
        &mut self,
        reader: &mut R,
        record: Option<&mut RunRecord<[u8]>>,
    ) -> Result<Info, DecodeError<R::Error>> {
        self.read::<C, R>(reader, record, false)
    }

    /// Checks that the verified streams together contain every tensor and value of the objects. Call this method
    /// before [`load`](Self::load).
    ///
    /// # Errors
    /// Returns [`DecodeError::Missing`] if a tensor or value is missing, [`DecodeError::Unavailable`] if the elements of
    /// a tensor cannot be accessed, or [`DecodeError::TooManyItems`] if the model has more tensors and values than this
    /// program can load.
    pub fn check_complete<E>(&mut self) -> Result<(), DecodeError<E>> {
        let count = matching::count(self.objects).map_err(|_| DecodeError::Unavailable)?;
        if count > MAX_ITEMS as u32 {
            return Err(DecodeError::TooManyItems);
        }
        let seen = core::mem::replace(&mut self.seen, [0; MAX_ITEMS / 32]);
        for item in (0..count).filter(|item| !has_bit(&seen, *item)) {
            self.differences.missing = self.differences.missing.saturating_add(1);
            if self.differences.first_missing.is_none() {
                let name = matching::name_of(self.objects, item);
                self.differences.first_missing = Some(name);
                if !self.allow_differences {
                    return Err(DecodeError::Missing { name });
                }
            }
        }
        Ok(())
    }

    /// Loads one verified stream into the objects.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the stream has changed since it was verified. Some tensors may already be loaded in
    /// this case.
    pub fn load<C: Checksum, R: Read>(&mut self, reader: &mut R) -> Result<Info, DecodeError<R::Error>> {
        self.read::<C, R>(reader, None, true)
    }

    /// Loads one stream if `loading` is true. Otherwise, only verifies the stream.
    pub(crate) fn read<C: Checksum, R: Read>(
        &mut self,
        reader: &mut R,
        record: Option<&mut RunRecord<[u8]>>,
        loading: bool,
    ) -> Result<Info, DecodeError<R::Error>> {
        decode_from::<C, R>(reader, &mut LoadSink { loader: self, record, loading })
    }

    /// Searches the objects for `target`, which is the next tensor or value of the stream. Returns whether the objects
    /// contain it.
    fn match_item(&mut self, input: &mut Input<'_>, target: Target<'_>, loading: bool) -> bool {
        let item = match matching::find(self.objects, target, input, loading) {
            Match::Item(item) => item,
            Match::OnlyObject => {
                let name = target.tensor.map_or(target.object, |tensor| tensor.name.bytes());
                let name = ItemName::new(core::str::from_utf8(name).unwrap_or_default());
                if !self.allow_differences {
                    input.fail(DecodeError::Unexpected { name });
                } else if !loading {
                    self.differences.unexpected = self.differences.unexpected.saturating_add(1);
                    self.differences.first_unexpected.get_or_insert(name);
                }
                return false;
            }
            Match::Nothing => return false,
        };
        if has_bit(&self.seen, item) {
            // The checkpoint contains this tensor or value a second time. The encoder writes each one only once, so the
            // checkpoint is invalid.
            input.fail_malformed();
        }
        if let Some(bits) = self.seen.get_mut((item / 32) as usize) {
            *bits |= 1 << (item % 32);
        }
        true
    }
}

/// Returns whether the bit of the item is set.
fn has_bit(bits: &[u32], item: u32) -> bool {
    bits.get((item / 32) as usize).is_some_and(|bits| bits >> (item % 32) & 1 != 0)
}

/// A receiver for the parts of a checkpoint stream, such as its run record and its tensors.
pub(super) trait Sink {
    /// Receives the name of the score.
    fn score_name(&mut self, name: &Name) {
        let _ = name;
    }
    /// Receives the name of an object. This method is called for every object of the checkpoint, but only if each
    /// object has its own stream.
    fn object_name(&mut self, name: &Name) {
        let _ = name;
    }
    /// Receives the name and the ranking rule of the series.
    fn series(&mut self, name: &Name, rule: RankingRule) {
        let _ = (name, rule);
    }
    /// Reads the run record (the saved state of the engine and the handlers) from `input`. `number` is the number of
    /// the run.
    fn run(&mut self, input: &mut Input<'_>, number: u32);
    /// Receives the version of the writer.
    fn writer(&mut self, version: &Name) {
        let _ = version;
    }
    /// Reads exactly `len` bytes, the value of the metadata `name`.
    fn metadata(&mut self, input: &mut Input<'_>, name: &Name, len: u32) {
        let _ = name;
        input.skip(len);
    }
    /// Receives the name of a state dict (a list of tensors) and the number of its tensors.
    fn state_dict(&mut self, object: &Name, tensors: u32) {
        let _ = (object, tensors);
    }
    /// Reads exactly `bytes` bytes, the payload of a tensor.
    fn tensor(&mut self, input: &mut Input<'_>, tensor: TensorHeader<'_>, bytes: u32);
    /// Reads exactly `len` bytes, the payload of a value.
    fn value(&mut self, input: &mut Input<'_>, object: &Name, len: u32);
}

/// The description of a tensor in a stream.
#[derive(Clone, Copy)]
pub(super) struct TensorHeader<'a> {
    pub object: &'a Name,
    pub name: &'a Name,
    pub element_type: ElementType,
    pub shape: &'a [u32],
}

/// A receiver that compares the parts of a stream with the user's objects. If `loading` is true, it also loads them.
struct LoadSink<'b, 'a, T: ?Sized> {
    loader: &'b mut Loader<'a, T>,
    record: Option<&'b mut RunRecord<[u8]>>,
    loading: bool,
}

impl<T: Objects + ?Sized> Sink for LoadSink<'_, '_, T> {
    fn run(&mut self, input: &mut Input<'_>, number: u32) {
        run::read(input, self.record.as_deref_mut());
        if let Some(record) = self.record.as_deref_mut() {
            record.engine.run = number;
        }
    }
    fn tensor(&mut self, input: &mut Input<'_>, tensor: TensorHeader<'_>, bytes: u32) {
        let target = Target { object: tensor.object.bytes(), tensor: Some(tensor), bytes };
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

/// Decodes a whole stream and passes its parts to `sink`. FORMAT.md specifies the structure of a stream.
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
    input.read_length();
    info.step = input.read_u32();
    info.sequence = input.read_u32();
    info.iteration = input.read_u32();
    info.score = if input.read_bool() { Some(input.read_f32()) } else { None };
    if info.score.is_some_and(f32::is_nan) {
        input.fail_malformed();
    }
    name.len = 0;
    if input.read_bool() {
        input.read_name(&mut name);
        if !input.has_failed() {
            sink.score_name(&name);
        }
    }
    // The hash of the score name is complete once the series is known.
    let score_name = Hash::NEW.bytes(name.bytes());
    info.object_count = input.read_u32();
    let mut names = info.object_count;
    while names > 0 && !input.has_failed() {
        input.read_name(&mut name);
        if !input.has_failed() {
            sink.object_name(&name);
        }
        names -= 1;
    }
    decode_extensions(input, sink, info, &mut name, score_name);
    info.has_run = input.read_bool();
    if info.has_run {
        sink.run(input, info.run);
    }
    let mut objects = input.read_u32();
    // A stream contains either all objects, or one of the listed objects.
    if objects == 0 || (info.object_count > 0 && objects != 1) {
        input.fail_malformed();
    }
    while objects > 0 && !input.has_failed() {
        objects -= 1;
        input.read_name(&mut object);
        // In the stream, 1 stands for a value (an object that is saved as a whole), and 0 stands for a state dict (a
        // list of tensors).
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
        if !input.has_failed() {
            sink.state_dict(&object, count);
        }
        while count > 0 && !input.has_failed() {
            count -= 1;
            decode_tensor(input, sink, &object, &mut name);
        }
    }
    info.crc = input.checksum();
    let crc = input.read_checksum();
    info.len = input.position;
    if crc != info.crc {
        input.fail(DecodeError::Checksum);
    }
}

/// Decodes the list of extension fields. Skips the fields that this version does not know. `score_name` is the hash of the
/// score name.
fn decode_extensions(input: &mut Input<'_>, sink: &mut dyn Sink, info: &mut Info, name: &mut Name, score_name: Hash) {
    let mut count = input.read_u32();
    let mut previous = 0;
    name.len = 0;
    let mut rule = 0;
    while count > 0 && !input.has_failed() {
        count -= 1;
        let id = input.read_u32();
        if id <= previous {
            input.fail_malformed(); // the identifiers are in ascending order, so none occurs twice
        }
        previous = id;
        if input.read_bool() && id > u32::from(WRITER) {
            input.fail_newer();
        }
        let len = input.read_u32();
        input.start_field(len);
        if id == u32::from(IDENTITY) {
            info.run = input.read_u32();
            input.read_text(name);
            rule = input.read_u8();
            if rule > 1 {
                input.fail_newer();
            }
            info.series.model = input.read_u32();
            info.save_id = input.read_u32();
        } else if id == u32::from(METADATA) {
            decode_metadata(input, sink);
        } else if id == u32::from(WRITER) {
            let mut version = Name::default();
            input.read_text(&mut version);
            if !input.has_failed() {
                sink.writer(&version);
            }
        } else {
            input.skip(len);
        }
        input.end_field();
    }
    info.series.rule = score_name.bytes(&[0, rule]).bytes(name.bytes()).value();
    if !input.has_failed() {
        sink.series(name, if rule == 0 { RankingRule::Latest } else { RankingRule::Best });
    }
}

/// Decodes the named strings or bytes that the program added.
#[inline(never)] // Keeps the two names off the stack of the caller.
fn decode_metadata(input: &mut Input<'_>, sink: &mut dyn Sink) {
    let (mut name, mut previous) = (Name::default(), Name::default());
    let mut count = input.read_u32();
    while count > 0 && !input.has_failed() {
        count -= 1;
        input.read_name(&mut name);
        if name.bytes() <= previous.bytes() {
            input.fail_malformed(); // the names are in ascending order, so none occurs twice
        }
        let len = input.read_u32();
        let start = input.position;
        if !input.has_failed() {
            sink.metadata(input, &name, len);
        }
        if input.position.wrapping_sub(start) != len {
            input.fail_malformed();
        }
        core::mem::swap(&mut name, &mut previous);
    }
}

fn decode_tensor(input: &mut Input<'_>, sink: &mut dyn Sink, object: &Name, name: &mut Name) {
    input.read_name(name);
    let code = input.read_u8();
    let Some(element_type) = ElementType::ALL.get(usize::from(code)).copied() else {
        return input.fail_newer();
    };
    let size = element_type.size();
    let rank = input.read_u32() as usize;
    let mut shape = [0; MAX_RANK];
    let Some(shape) = shape.get_mut(..rank) else { return input.fail_malformed() };
    shape.iter_mut().for_each(|side| *side = input.read_u32());
    let pad = usize::from(input.read_u8());
    match [0; 7].get_mut(..pad).filter(|pad| pad.len() < size as usize) {
        Some(pad) => {
            input.read_exact(pad);
            if pad.iter().any(|byte| *byte != 0) {
                input.fail_malformed();
            }
        }
        None => input.fail_malformed(),
    }
    let bytes = input.read_u32();
    let expected = element_count(shape).and_then(|count| count.checked_mul(size));
    if expected != Some(bytes) || !input.position.is_multiple_of(size) {
        input.fail_malformed();
    }
    if !input.has_failed() {
        input.only_bools = element_type == ElementType::Bool;
        sink.tensor(input, TensorHeader { object, name, element_type, shape }, bytes);
        input.only_bools = false;
    }
}
