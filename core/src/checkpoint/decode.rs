//! Bytes back to a checkpoint.
//!
//! A stream is gone through twice. The first time everything is checked, structure, names, lengths and checksum,
//! and nothing of the user's is touched; the second time tensors are read straight into their slices. So there is
//! never a second copy of the model, and never a half-loaded one, unless the medium fails between the two.
//! Tensors are found by name, in any order; what the stream has beyond what is asked for is passed over.

use super::error::DecodeError;
use super::input::{Bytes, Input};
use super::objects::{MAX_ITEMS, MAX_NAME, MAX_RANK, Objects};
use super::search::{Count, Search, Wanted};
use super::{Checksum, MAGIC, VERSION};
use crate::engine::EngineState;
use crate::record::Record;
use embedded_io::Read;
use heapless::{String, Vec};

/// What [`load`] reads at a time where nothing is loaded: on a host what a vectorised checksum wants and the nearest
/// cache holds beside its source, elsewhere little of the stack.
const SCRATCH: usize = if cfg!(target_pointer_width = "64") { 4096 } else { 64 };

/// What a stream says of itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Info {
    /// The step number.
    pub step: u32,
    /// Counts the commits of its store.
    pub sequence: u32,
    /// The engine's iteration; 0 without an engine.
    pub iteration: u32,
    /// The signed score.
    pub score: Option<f32>,
    /// What the score is called.
    pub score_name: Option<String<MAX_NAME>>,
    /// Objects of the whole checkpoint, where it has several streams; 0 for a stream that holds everything.
    pub set: u32,
    /// The run, if the checkpoint was taken in one.
    pub record: Option<Record>,
    /// Bytes of the stream.
    pub len: u32,
    /// Its checksum.
    pub crc: u32,
}

/// One tensor of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// The object it belongs to.
    pub object: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its dimensions, row-major.
    pub shape: &'a [u32],
}

/// Sees what a stream holds. All of it may be shown before the checksum turns out to be wrong: only what
/// [`inspect`] returns vouches for it.
pub trait Inspect {
    /// The name of an object of the set that the stream belongs to, in order.
    fn set(&mut self, name: &str) {
        let _ = name;
    }
    /// A tensor begins.
    fn tensor(&mut self, tensor: Tensor<'_>) {
        let _ = tensor;
    }
    /// Some of its payload: little-endian f32, in order.
    fn payload(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
    /// A whole value begins; its payload follows.
    fn value(&mut self, object: &str, len: u32) {
        let _ = (object, len);
    }
}

/// Nothing to see.
impl Inspect for () {}

/// Reads a whole stream, checks it, and shows what it holds, in pieces of at most `scratch`. Without a model to load
/// into.
///
/// # Errors
/// [`DecodeError`].
pub fn inspect<C: Checksum, R: Read, I: Inspect>(
    reader: &mut R,
    scratch: &mut [u8],
    see: &mut I,
) -> Result<Info, DecodeError<R::Error>> {
    scan::<C, R, _>(reader, &mut Seeing { see, scratch })
}

/// Checks `bytes`, then loads them into `objects`.
///
/// # Errors
/// [`DecodeError`]; nothing has changed then.
pub fn load<C: Checksum, T: Objects + ?Sized>(
    bytes: &[u8],
    objects: &mut T,
) -> Result<Info, DecodeError<core::convert::Infallible>> {
    let mut scratch = [0; SCRATCH];
    let mut loader = Loader::new(objects, &mut scratch);
    loader.verify::<C, _>(&mut Bytes(bytes))?;
    loader.verified()?;
    loader.load::<C, _>(&mut Bytes(bytes))
}

/// Checks and loads the streams of one checkpoint: [`verify`](Self::verify) each, then [`verified`](Self::verified),
/// then [`load`](Self::load) each.
#[derive(Debug)]
pub struct Loader<'a, T: ?Sized> {
    objects: &'a mut T,
    scratch: &'a mut [u8],
    /// Which tensors and values, in the order of the user's visit, have been seen.
    found: [u32; MAX_ITEMS / 32],
    loading: bool,
}

impl<'a, T: Objects + ?Sized> Loader<'a, T> {
    /// For loading into `objects`. `scratch` is what is read at a time where nothing is loaded: 64 bytes will do, a
    /// few kilobytes are faster on a host.
    pub fn new(objects: &'a mut T, scratch: &'a mut [u8]) -> Self {
        Loader { objects, scratch, found: [0; MAX_ITEMS / 32], loading: false }
    }

    /// Checks one stream and holds it against the objects. Changes nothing of the user's.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn verify<C: Checksum, R: Read>(&mut self, reader: &mut R) -> Result<Info, DecodeError<R::Error>> {
        self.loading = false;
        scan::<C, R, _>(reader, self)
    }

    /// Whether everything that is asked for was in the streams seen so far. Begins anew for loading.
    ///
    /// # Errors
    /// [`DecodeError::Missing`].
    pub fn verified<E>(&mut self) -> Result<(), DecodeError<E>> {
        let mut all = Count(0);
        let Ok(()) = self.objects.objects_mut(&mut all);
        let missing = (0..all.0).find(|item| !self.is_found(*item));
        self.found = [0; MAX_ITEMS / 32];
        match missing {
            Some(item) => Err(DecodeError::Missing { item }),
            None => Ok(()),
        }
    }

    /// Loads one stream that was verified.
    ///
    /// # Errors
    /// [`DecodeError`] if it has changed since; some tensors may have been replaced then.
    pub fn load<C: Checksum, R: Read>(&mut self, reader: &mut R) -> Result<Info, DecodeError<R::Error>> {
        self.loading = true;
        scan::<C, R, _>(reader, self)
    }

    fn is_found(&self, item: u32) -> bool {
        self.found.get((item / 32) as usize).is_some_and(|bits| bits >> (item % 32) & 1 != 0)
    }

    /// Notes that `item` was in the stream; an item twice is not a checkpoint of ours.
    fn note<E>(&mut self, item: u32) -> Result<(), DecodeError<E>> {
        if self.is_found(item) {
            return Err(DecodeError::Malformed);
        }
        if let Some(bits) = self.found.get_mut((item / 32) as usize) {
            *bits |= 1 << (item % 32);
        }
        Ok(())
    }
}

/// What is done with the parts of a stream.
trait Sink<R: Read, C: Checksum> {
    fn set(&mut self, name: &str) {
        let _ = name;
    }
    /// Takes exactly `bytes` bytes.
    fn tensor(
        &mut self,
        input: &mut Input<'_, R, C>,
        tensor: Tensor<'_>,
        bytes: u32,
    ) -> Result<(), DecodeError<R::Error>>;
    /// Takes exactly `len` bytes.
    fn value(&mut self, input: &mut Input<'_, R, C>, object: &str, len: u32) -> Result<(), DecodeError<R::Error>>;
}

struct Seeing<'a, I> {
    see: &'a mut I,
    scratch: &'a mut [u8],
}

impl<R: Read, C: Checksum, I: Inspect> Sink<R, C> for Seeing<'_, I> {
    fn set(&mut self, name: &str) {
        self.see.set(name);
    }
    fn tensor(
        &mut self,
        input: &mut Input<'_, R, C>,
        tensor: Tensor<'_>,
        bytes: u32,
    ) -> Result<(), DecodeError<R::Error>> {
        self.see.tensor(tensor);
        input.each(bytes, self.scratch, |piece| self.see.payload(piece))
    }
    fn value(&mut self, input: &mut Input<'_, R, C>, object: &str, len: u32) -> Result<(), DecodeError<R::Error>> {
        self.see.value(object, len);
        input.each(len, self.scratch, |piece| self.see.payload(piece))
    }
}

impl<R: Read, C: Checksum, T: Objects + ?Sized> Sink<R, C> for Loader<'_, T> {
    fn tensor(
        &mut self,
        input: &mut Input<'_, R, C>,
        tensor: Tensor<'_>,
        bytes: u32,
    ) -> Result<(), DecodeError<R::Error>> {
        let wanted = Wanted { object: tensor.object, tensor: Some(tensor.name), bytes };
        let mut search = Search::new(wanted, &mut *input, self.loading);
        self.objects.objects_mut(&mut search)?;
        let hit = search.hit;
        if let Some(item) = hit {
            self.note(item)?;
        }
        if self.loading && hit.is_some() { Ok(()) } else { input.each(bytes, self.scratch, |_| ()) }
    }

    fn value(&mut self, input: &mut Input<'_, R, C>, object: &str, len: u32) -> Result<(), DecodeError<R::Error>> {
        let wanted = Wanted { object, tensor: None, bytes: len };
        let mut search = Search::new(wanted, &mut *input, self.loading);
        self.objects.objects_mut(&mut search)?;
        match search.hit {
            Some(item) => self.note(item),
            None => input.each(len, self.scratch, |_| ()),
        }
    }
}

/// The structure of a stream: the one place that knows it. FORMAT.md has it as tables.
fn scan<C: Checksum, R: Read, S: Sink<R, C>>(reader: &mut R, sink: &mut S) -> Result<Info, DecodeError<R::Error>> {
    let mut input = Input::<R, C>::new(reader);
    let mut magic = [0; 4];
    input.fill(&mut magic)?;
    if magic != MAGIC {
        return Err(DecodeError::NotACheckpoint);
    }
    match input.byte()? {
        VERSION => (),
        found => return Err(DecodeError::Version { found }),
    }
    let mut info = Info {
        step: input.number()?,
        sequence: input.number()?,
        iteration: input.number()?,
        score: if option(&mut input)? { Some(float(&mut input)?) } else { None },
        score_name: if option(&mut input)? { Some(input.text()?) } else { None },
        set: input.number()?,
        record: None,
        len: 0,
        crc: 0,
    };
    for _ in 0..info.set {
        sink.set(&input.text::<MAX_NAME>()?);
    }
    if option(&mut input)? {
        info.record = Some(record(&mut input)?);
    }
    for _ in 0..input.number()? {
        let object = input.text::<MAX_NAME>()?;
        match input.byte()? {
            0 => {
                for _ in 0..input.number()? {
                    tensor(&mut input, sink, &object)?;
                }
            }
            1 => {
                let len = input.number()?;
                let start = input.position;
                sink.value(&mut input, &object, len)?;
                if input.position.wrapping_sub(start) != len {
                    return Err(DecodeError::Malformed);
                }
            }
            _ => return Err(DecodeError::Malformed),
        }
    }
    info.crc = input.crc.value();
    let mut crc = [0; 4];
    input.raw(&mut crc)?;
    info.len = input.position;
    if u32::from_le_bytes(crc) == info.crc { Ok(info) } else { Err(DecodeError::Checksum) }
}

fn tensor<C: Checksum, R: Read, S: Sink<R, C>>(
    input: &mut Input<'_, R, C>,
    sink: &mut S,
    object: &str,
) -> Result<(), DecodeError<R::Error>> {
    let name = input.text::<MAX_NAME>()?;
    let mut shape = Vec::<u32, MAX_RANK, u8>::new();
    let mut elements = Some(1u32);
    for _ in 0..input.number()? {
        let side = input.number()?;
        shape.push(side).map_err(|_| DecodeError::Malformed)?;
        elements = elements.and_then(|elements| elements.checked_mul(side));
    }
    let pad = usize::from(input.byte()?);
    input.fill([0; 3].get_mut(..pad).ok_or(DecodeError::Malformed)?)?;
    let bytes = input.number()?;
    if elements.and_then(|elements| elements.checked_mul(4)) != Some(bytes) || !input.position.is_multiple_of(4) {
        return Err(DecodeError::Malformed);
    }
    sink.tensor(input, Tensor { object, name: &name, shape: &shape }, bytes)
}

fn option<C: Checksum, R: Read>(input: &mut Input<'_, R, C>) -> Result<bool, DecodeError<R::Error>> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Malformed),
    }
}

fn float<C: Checksum, R: Read>(input: &mut Input<'_, R, C>) -> Result<f32, DecodeError<R::Error>> {
    let mut bytes = [0; 4];
    input.fill(&mut bytes)?;
    Ok(f32::from_le_bytes(bytes))
}

fn record<C: Checksum, R: Read>(input: &mut Input<'_, R, C>) -> Result<Record, DecodeError<R::Error>> {
    let engine: EngineState = input.value(None, &mut [])?;
    let mut record = Record { engine, count: input.byte()?, states: Vec::new(), whole: true };
    if record.count > 127 {
        return Err(DecodeError::Malformed);
    }
    for _ in 0..record.count {
        let mut state = [0u8; 127];
        let kind = input.byte()?;
        let len = input.byte()?;
        let state = state.get_mut(..usize::from(len)).ok_or(DecodeError::Malformed)?;
        input.fill(state)?;
        // A record of a program with more handlers than fit here can be looked at, not gone on from.
        let fits = record.states.push(kind).is_ok()
            && record.states.push(len).is_ok()
            && record.states.extend_from_slice(state).is_ok();
        record.whole &= fits;
    }
    Ok(record)
}
