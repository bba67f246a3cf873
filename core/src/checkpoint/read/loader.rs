//! Loads a checkpoint into the user's objects.
//!
//! A checkpoint is read twice. The first pass verifies the structure, names, lengths and the checksum, and changes no
//! user data. The second pass reads the tensors directly into the model, so no second copy of the model is needed. The
//! model is never loaded partially, unless the medium fails between the two passes. On a 64-bit host, a load from memory
//! computes the checksum of all bytes before these passes. The first pass then skips the tensors that need no check.
//!
//! Objects and tensors are matched by name, in any order. Objects that the model does not list are skipped. Tensors that
//! an object of the model does not have are an error, unless the program allows differences.

use super::decoder::{Sink, TensorHeader, decode, decode_from};
use super::input::{Input, Name};
use super::matching::{self, Match, Target};
use super::run;
use super::source::{SliceReader, VerifiedSlice};
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::format::Info;
use crate::checkpoint::names::ItemName;
use crate::checkpoint::objects::{MAX_ITEMS, Objects};
use crate::checkpoint::{Checksum, Crc32};
use crate::run_record::RunRecord;
use crate::target::HOST;
use core::convert::Infallible;
use embedded_io::Read;

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
    let Some(verified) = VerifiedSlice::new::<C>(bytes) else {
        // On a device, or to find the error of a stream that is not intact.
        loader.verify::<C, _>(&mut SliceReader(bytes), record)?;
        loader.check_complete()?;
        return loader.load::<C, _>(&mut SliceReader(bytes));
    };
    loader.read_verified(verified, record, false)?;
    loader.check_complete()?;
    loader.read_verified(verified, None, true)
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
    /// The differences that are found. `None` if every difference is an error.
    differences: Option<&'a mut Differences>,
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
        Loader { objects, scratch, seen: [0; MAX_ITEMS / 32], differences: None }
    }

    /// Lets the checkpoint and the model have different sets of tensors, as `strict=False` of PyTorch's
    /// `load_state_dict`. Tensors of the same name must still have the same element type and shape.
    ///
    /// The loader adds the differences to `differences`. They are complete
    /// after [`check_complete`](Self::check_complete).
    #[must_use]
    pub fn allow_differences(mut self, differences: &'a mut Differences) -> Self {
        self.differences = Some(differences);
        self
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
        let mut info = Info::default();
        self.read::<C, R>(reader, record, false, &mut info)?;
        Ok(info)
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
            let Some(differences) = self.differences.as_deref_mut() else {
                return Err(DecodeError::Missing { name: matching::name_of(self.objects, item) });
            };
            differences.missing = differences.missing.saturating_add(1);
            if differences.first_missing.is_none() {
                differences.first_missing = Some(matching::name_of(self.objects, item));
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
        let mut info = Info::default();
        self.read::<C, R>(reader, None, true, &mut info)?;
        Ok(info)
    }

    /// Loads one stream if `loading` is true. Otherwise, only verifies the stream. Stores the properties of the stream in
    /// `info`.
    pub(crate) fn read<C: Checksum, R: Read>(
        &mut self,
        reader: &mut R,
        record: Option<&mut RunRecord<[u8]>>,
        loading: bool,
        info: &mut Info,
    ) -> Result<(), DecodeError<R::Error>> {
        decode_from::<C, R, _>(reader, &mut LoadSink { loader: self, record, loading }, info)
    }

    /// Does the same as [`read`](Self::read), for a stream whose checksum is already verified.
    fn read_verified(
        &mut self,
        mut source: VerifiedSlice<'_>,
        record: Option<&mut RunRecord<[u8]>>,
        loading: bool,
    ) -> Result<Info, DecodeError<Infallible>> {
        let (mut input, mut info) = (Input::new(&mut source), Info::default());
        decode(&mut input, &mut LoadSink { loader: self, record, loading }, &mut info);
        match &input.failure {
            None => Ok(info),
            Some(failure) => Err(failure.with_io(None)),
        }
    }

    /// Searches the objects for `target`, which is the next tensor or value of the stream. Returns whether the objects
    /// contain it.
    fn match_item(&mut self, input: &mut Input<'_>, target: Target<'_>, loading: bool) -> bool {
        let item = match matching::find(self.objects, target, input, loading) {
            Match::Item(item) => item,
            Match::OnlyObject => {
                let name = target.tensor.map_or(target.object, |tensor| tensor.name.bytes());
                report_unexpected(input, name, self.differences.as_deref_mut().map(|all| (all, loading)));
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

/// Reports that the object in the model does not have the tensor `name`. `differences` is `None` if this is an error. Its
/// flag is true if the stream is loaded, because the tensor was then counted when the stream was verified.
#[inline(never)] // Keeps the name off the stack of the caller.
fn report_unexpected(input: &mut Input<'_>, name: &[u8], differences: Option<(&mut Differences, bool)>) {
    let name = ItemName::from_utf8(name);
    match differences {
        None => input.fail(DecodeError::Unexpected { name }),
        Some((_, true)) => (),
        Some((differences, false)) => {
            differences.unexpected = differences.unexpected.saturating_add(1);
            differences.first_unexpected.get_or_insert(name);
        }
    }
}

/// Returns whether the bit of the item is set.
fn has_bit(bits: &[u32], item: u32) -> bool {
    bits.get((item / 32) as usize).is_some_and(|bits| bits >> (item % 32) & 1 != 0)
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
            input.verify_only(bytes, self.loader.scratch);
        }
    }
    fn value(&mut self, input: &mut Input<'_>, object: &Name, bytes: u32) {
        let target = Target { object: object.bytes(), tensor: None, bytes };
        if !self.loader.match_item(input, target, self.loading) {
            input.verify_only(bytes, self.loader.scratch);
        }
    }
}
