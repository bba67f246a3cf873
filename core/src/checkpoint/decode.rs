//! Bytes back to a checkpoint.
//!
//! A stream is gone through twice. The first time everything is checked, structure, names, lengths and checksum,
//! and nothing of the user's is touched; the second time tensors are read straight into their slices. So there is
//! never a second copy of the model, and never a half-loaded one, unless the medium fails between the two.
//! Tensors are found by name, in any order; what the stream has beyond what is asked for is passed over.

use super::error::DecodeError;
use super::input::{Bytes, From, Input, Text, Verified};
use super::objects::{MAX_ITEMS, MAX_RANK, Objects};
use super::search::{self, Wanted};
use super::{Checksum, MAGIC, VERSION, run};
use crate::record::Record;
use embedded_io::Read;

/// Where time counts more than code and stack.
const HOST: bool = cfg!(target_pointer_width = "64");

/// What [`load`] reads at a time where nothing is loaded: on a host what a vectorised checksum wants and the nearest
/// cache holds beside its source, elsewhere little of the stack.
const SCRATCH: usize = if HOST { 4096 } else { 64 };

/// What a stream says of itself.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    /// The step number.
    pub step: u32,
    /// Counts the commits of its store.
    pub sequence: u32,
    /// The engine's iteration; 0 without an engine.
    pub iteration: u32,
    /// The signed score.
    pub score: Option<f32>,
    /// Objects of the whole checkpoint, where it has several streams; 0 for a stream that holds everything.
    pub set: u32,
    /// Whether the checkpoint was taken in a run, which can go on from it.
    pub run: bool,
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

/// Sees what a stream holds, in its order. All of it may be shown before the checksum turns out to be wrong: only what
/// [`inspect`] returns vouches for it.
pub trait Inspect {
    /// What the score is called.
    fn score_name(&mut self, name: &str) {
        let _ = name;
    }
    /// The name of an object of the set that the stream belongs to, in order.
    fn set(&mut self, name: &str) {
        let _ = name;
    }
    /// The run in which the checkpoint was taken.
    fn run(&mut self, record: &Record) {
        let _ = record;
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
    scan::<C, R>(reader, &mut Seeing { see, scratch, record: Record::new() })
}

/// Checks `bytes`, then loads them into `objects`. The run that the checkpoint was taken in, if there is
/// [one](Info::run), goes to `record` where that is wanted.
///
/// # Errors
/// [`DecodeError`]; no object has changed then.
pub fn load<C: Checksum, T: Objects + ?Sized>(
    bytes: &[u8],
    objects: &mut T,
    record: Option<&mut Record>,
) -> Result<Info, DecodeError<core::convert::Infallible>> {
    let mut scratch = [0; SCRATCH];
    let mut loader = Loader::new(objects, &mut scratch);
    let info = loader.verify::<C, _>(&mut Bytes(bytes), record)?;
    loader.verified()?;
    if !HOST {
        return loader.load::<C, _>(&mut Bytes(bytes));
    }
    let mut source = Verified { bytes: Bytes(bytes), crc: info.crc };
    let mut input = Input::new(&mut source);
    stream(&mut input, &mut Pass { loader: &mut loader, record: None, loading: true }, &mut Info::default());
    match input.failure {
        None => Ok(info),
        Some(failure) => Err(failure.with_io(None)),
    }
}

/// Checks and loads the streams of one checkpoint: [`verify`](Self::verify) each, then [`verified`](Self::verified),
/// then [`load`](Self::load) each.
#[derive(Debug)]
pub struct Loader<'a, T: ?Sized> {
    objects: &'a mut T,
    scratch: &'a mut [u8],
    /// Which tensors and values, in the order of the user's visit, have been seen.
    found: [u32; MAX_ITEMS / 32],
}

impl<'a, T: Objects + ?Sized> Loader<'a, T> {
    /// For loading into `objects`. `scratch` is what is read at a time where nothing is loaded: 64 bytes will do, a
    /// few kilobytes are faster on a host.
    pub fn new(objects: &'a mut T, scratch: &'a mut [u8]) -> Self {
        Loader { objects, scratch, found: [0; MAX_ITEMS / 32] }
    }

    /// Checks one stream and holds it against the objects, which do not change. Its run, if it has
    /// [one](Info::run), goes to `record` where that is wanted.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn verify<C: Checksum, R: Read>(
        &mut self,
        reader: &mut R,
        record: Option<&mut Record>,
    ) -> Result<Info, DecodeError<R::Error>> {
        self.pass::<C, R>(reader, record, false)
    }

    /// Whether everything that is asked for was in the streams seen so far. Begins anew for loading.
    ///
    /// # Errors
    /// [`DecodeError::Missing`].
    pub fn verified<E>(&mut self) -> Result<(), DecodeError<E>> {
        let all = search::count(self.objects);
        let missing = (0..all).find(|item| !self.is_found(*item));
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
        self.pass::<C, R>(reader, None, true)
    }

    /// One or the other.
    pub(crate) fn pass<C: Checksum, R: Read>(
        &mut self,
        reader: &mut R,
        record: Option<&mut Record>,
        loading: bool,
    ) -> Result<Info, DecodeError<R::Error>> {
        scan::<C, R>(reader, &mut Pass { loader: self, record, loading })
    }

    fn is_found(&self, item: u32) -> bool {
        self.found.get((item / 32) as usize).is_some_and(|bits| bits >> (item % 32) & 1 != 0)
    }

    /// Takes what the stream has next. Whether it was a tensor or value of the objects.
    fn take(&mut self, input: &mut Input<'_>, wanted: Wanted<'_>, loading: bool) -> bool {
        let Some(item) = search::find(self.objects, wanted, input, loading) else { return false };
        if self.is_found(item) {
            // An item twice is not a checkpoint of ours.
            input.malformed();
        }
        if let Some(bits) = self.found.get_mut((item / 32) as usize) {
            *bits |= 1 << (item % 32);
        }
        true
    }
}

/// What is done with the parts of a stream.
trait Sink {
    /// The name of the score.
    fn score_name(&mut self, name: &Text) {
        let _ = name;
    }
    /// The name of an object of the set.
    fn set(&mut self, name: &Text) {
        let _ = name;
    }
    /// Takes the run.
    fn run(&mut self, input: &mut Input<'_>);
    /// Takes exactly `bytes` bytes.
    fn tensor(&mut self, input: &mut Input<'_>, object: &Text, name: &Text, shape: &[u32], bytes: u32);
    /// Takes exactly `len` bytes.
    fn value(&mut self, input: &mut Input<'_>, object: &Text, len: u32);
}

struct Seeing<'a, I> {
    see: &'a mut I,
    scratch: &'a mut [u8],
    record: Record,
}

impl<I: Inspect> Sink for Seeing<'_, I> {
    fn score_name(&mut self, name: &Text) {
        self.see.score_name(name.as_str());
    }
    fn set(&mut self, name: &Text) {
        self.see.set(name.as_str());
    }
    fn run(&mut self, input: &mut Input<'_>) {
        run::read(input, Some(&mut self.record));
        if !input.failed() {
            self.see.run(&self.record);
        }
    }
    fn tensor(&mut self, input: &mut Input<'_>, object: &Text, name: &Text, shape: &[u32], bytes: u32) {
        self.see.tensor(Tensor { object: object.as_str(), name: name.as_str(), shape });
        input.each(bytes, self.scratch, &mut |piece| self.see.payload(piece));
    }
    fn value(&mut self, input: &mut Input<'_>, object: &Text, len: u32) {
        self.see.value(object.as_str(), len);
        input.each(len, self.scratch, &mut |piece| self.see.payload(piece));
    }
}

struct Pass<'b, 'a, T: ?Sized> {
    loader: &'b mut Loader<'a, T>,
    record: Option<&'b mut Record>,
    loading: bool,
}

impl<T: Objects + ?Sized> Sink for Pass<'_, '_, T> {
    fn run(&mut self, input: &mut Input<'_>) {
        run::read(input, self.record.as_deref_mut());
    }
    fn tensor(&mut self, input: &mut Input<'_>, object: &Text, name: &Text, _: &[u32], bytes: u32) {
        let wanted = Wanted { object: object.bytes(), tensor: Some(name.bytes()), bytes };
        let taken = self.loader.take(input, wanted, self.loading);
        if !(taken && self.loading) {
            input.each(bytes, self.loader.scratch, &mut |_| ());
        }
    }
    fn value(&mut self, input: &mut Input<'_>, object: &Text, bytes: u32) {
        let wanted = Wanted { object: object.bytes(), tensor: None, bytes };
        if !self.loader.take(input, wanted, self.loading) {
            input.each(bytes, self.loader.scratch, &mut |_| ());
        }
    }
}

fn scan<C: Checksum, R: Read>(reader: &mut R, sink: &mut dyn Sink) -> Result<Info, DecodeError<R::Error>> {
    let mut source = From { reader, crc: C::default(), error: None };
    let mut input = Input::new(&mut source);
    let mut info = Info::default();
    stream(&mut input, sink, &mut info);
    match input.failure {
        None => Ok(info),
        Some(failure) => Err(failure.with_io(source.error)),
    }
}

/// The structure of a stream: the one place that knows it. FORMAT.md has it as tables.
fn stream(input: &mut Input<'_>, sink: &mut dyn Sink, info: &mut Info) {
    let mut magic = [0; 4];
    input.fill(&mut magic);
    if magic != MAGIC {
        input.fail(DecodeError::NotACheckpoint);
    }
    let found = input.byte();
    if found != VERSION {
        input.fail(DecodeError::Version { found });
    }
    let (mut object, mut name) = (Text::default(), Text::default());
    info.step = input.number();
    info.sequence = input.number();
    info.iteration = input.number();
    info.score = if input.flag() { Some(input.float()) } else { None };
    if input.flag() {
        input.text(&mut name);
        if !input.failed() {
            sink.score_name(&name);
        }
    }
    info.set = input.number();
    let mut left = info.set;
    while left > 0 && !input.failed() {
        input.text(&mut name);
        if !input.failed() {
            sink.set(&name);
        }
        left -= 1;
    }
    info.run = input.flag();
    if info.run {
        sink.run(input);
    }
    let mut objects = input.number();
    while objects > 0 && !input.failed() {
        objects -= 1;
        input.text(&mut object);
        // Content::Value, or else Content::StateDict.
        let value = input.flag();
        let mut items = input.number();
        if value {
            let start = input.position;
            if !input.failed() {
                sink.value(input, &object, items);
            }
            if input.position.wrapping_sub(start) != items {
                input.malformed();
            }
            continue;
        }
        while items > 0 && !input.failed() {
            items -= 1;
            tensor(input, sink, &object, &mut name);
        }
    }
    info.crc = input.sum();
    let mut crc = [0; 4];
    input.raw(&mut crc);
    info.len = input.position;
    if u32::from_le_bytes(crc) != info.crc {
        input.fail(DecodeError::Checksum);
    }
}

fn tensor(input: &mut Input<'_>, sink: &mut dyn Sink, object: &Text, name: &mut Text) {
    input.text(name);
    let sides = input.number() as usize;
    let mut shape = [0; MAX_RANK];
    let Some(shape) = shape.get_mut(..sides) else { return input.malformed() };
    let mut elements = Some(1u32);
    for side in shape.iter_mut() {
        *side = input.number();
        elements = elements.and_then(|elements| elements.checked_mul(*side));
    }
    let pad = usize::from(input.byte());
    match [0; 3].get_mut(..pad) {
        Some(pad) => input.fill(pad),
        None => input.malformed(),
    }
    let bytes = input.number();
    if elements.and_then(|elements| elements.checked_mul(4)) != Some(bytes) || !input.position.is_multiple_of(4) {
        input.malformed();
    }
    if !input.failed() {
        sink.tensor(input, object, name, shape, bytes);
    }
}
