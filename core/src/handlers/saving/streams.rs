//! The streams of one checkpoint, to a store and back: one that holds everything, or one for each object. What is decided
//! here is only which; the bytes are [`checkpoint`]'s, their place is the store's.

use crate::checkpoint::{self, Contents, DecodeError, EncodeError, Encoded, Info, Loader, Objects, Visit};
use crate::record::Record;
use crate::store::{Opening, Store};
use embedded_io::ErrorType;

/// Goes through all streams of a checkpoint: loads what was verified, or verifies it and puts its run where it is wanted.
pub(super) fn read<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    step: u32,
    objects: &mut T,
    record: Option<&mut Record>,
    loading: bool,
) -> Result<Info, DecodeError<S::Error>> {
    if S::LARGE_BUFFER {
        read_with(store, step, Loader::new(objects, &mut [0; 16384]), record, loading)
    } else {
        read_with(store, step, Loader::new(objects, &mut [0; 64]), record, loading)
    }
}

fn read_with<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    step: u32,
    mut loader: Loader<'_, T>,
    mut record: Option<&mut Record>,
    loading: bool,
) -> Result<Info, DecodeError<S::Error>> {
    let mut first = None;
    let mut info = Err(DecodeError::Truncated);
    for part in 0..store.parts(step).map_err(DecodeError::Io)? {
        let mut reader = store.open(step, part).map_err(DecodeError::Io)?;
        let next = loader.pass::<S::Checksum, _>(&mut reader, record.as_deref_mut(), loading)?;
        // Streams of two saves are not one checkpoint.
        if *first.get_or_insert((next.step, next.sequence)) != (next.step, next.sequence) {
            return Err(DecodeError::Malformed);
        }
        info = Ok(next);
    }
    if !loading {
        loader.verified()?;
    }
    info
}

/// Writes all objects to one stream of `len` bytes.
pub(super) fn write_one<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    contents: &Contents<'_>,
    objects: &T,
    len: u32,
) -> Result<Encoded, EncodeError<S::Error>> {
    let opening = Opening { header: contents.header, object: None, part: 0, parts: 1, len };
    let mut writer = store.create(&opening).map_err(EncodeError::Io)?;
    checkpoint::encode::<S::Checksum, _, T>(&mut writer, contents, objects)
}

/// Writes each object to a stream of its own; the bytes of all, and what was written to the last.
pub(super) fn write_parts<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    contents: &Contents<'_>,
    objects: &T,
) -> Result<(u32, Encoded), EncodeError<S::Error>> {
    let mut parts = Parts { store, contents, all: objects, parts: 0, part: 0, bytes: 0, last: None };
    let Ok(()) = objects.objects(&mut CountObjects(&mut parts.parts));
    objects.objects(&mut parts)?;
    let Parts { bytes, last, .. } = parts;
    Ok((bytes, last.ok_or(EncodeError::NoObjects)?))
}

/// A checkpoint on its way to a store, an object a stream.
struct Parts<'a, S: Store, T: ?Sized> {
    store: &'a mut S,
    contents: &'a Contents<'a>,
    all: &'a T,
    parts: u32,
    part: u32,
    bytes: u32,
    last: Option<Encoded>,
}

impl<S: Store, T: Objects + ?Sized> Parts<'_, S, T> {
    fn stream(&mut self, name: &str) -> Result<(), EncodeError<S::Error>> {
        let contents = Contents { only: Some(name), ..*self.contents };
        let len = checkpoint::measure(&contents, self.all)?;
        let opening = Opening { header: contents.header, object: Some(name), part: self.part, parts: self.parts, len };
        let mut writer = self.store.create(&opening).map_err(EncodeError::Io)?;
        let encoded = checkpoint::encode::<S::Checksum, _, T>(&mut writer, &contents, self.all)?;
        self.part = self.part.saturating_add(1);
        self.bytes = self.bytes.saturating_add(encoded.len);
        self.last = Some(encoded);
        Ok(())
    }
}

impl<S: Store, T: Objects + ?Sized> Visit for Parts<'_, S, T> {
    type Error = EncodeError<<S::Writer<'static> as ErrorType>::Error>;

    fn state_dict<D: checkpoint::StateDict + ?Sized>(&mut self, name: &str, _: &D) -> Result<(), Self::Error> {
        self.stream(name)
    }
    fn value<V: serde::Serialize + ?Sized>(&mut self, name: &str, _: &V) -> Result<(), Self::Error> {
        self.stream(name)
    }
}

struct CountObjects<'a>(&'a mut u32);

impl Visit for CountObjects<'_> {
    type Error = core::convert::Infallible;

    fn state_dict<D: checkpoint::StateDict + ?Sized>(&mut self, _: &str, _: &D) -> Result<(), Self::Error> {
        *self.0 = self.0.saturating_add(1);
        Ok(())
    }
    fn value<V: serde::Serialize + ?Sized>(&mut self, _: &str, _: &V) -> Result<(), Self::Error> {
        *self.0 = self.0.saturating_add(1);
        Ok(())
    }
}
