//! Reads and writes the streams of a checkpoint. A stream is a sequence of bytes, such as a file. The store decides
//! whether all objects share one stream or each object has its own.

use crate::checkpoint::{
    self, Contents, DecodeError, EncodeError, Encoded, Info, Loader, NameBuffer, ObjectVisitor, Objects, StateDict,
    TensorUnavailable,
};
use crate::run_record::RunRecord;
use crate::store::{Store, StreamSpec};
use core::convert::Infallible;
use embedded_io::{ErrorType, Write};
use serde::{Serialize, de::DeserializeOwned};

/// The size in bytes of the read buffer on the stack, for a store that allows a large buffer.
const LARGE_SCRATCH: usize = 16384;
/// The size in bytes of the read buffer on the stack, for all other stores.
const SMALL_SCRATCH: usize = 64;

/// What [`read`] does with the streams of a checkpoint.
pub(super) enum ReadPass<'a> {
    /// Verifies that the streams are intact and fit the objects. If a buffer for the run record (the state of the run)
    /// is given, copies the record to it.
    Verify(Option<&'a mut RunRecord<[u8]>>),
    /// Loads streams that were verified before.
    Load,
}

/// Reads all streams of the checkpoint with the sequence number `sequence`. Returns the properties of the last stream.
pub(super) fn read<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    sequence: u32,
    objects: &mut T,
    pass: ReadPass<'_>,
) -> Result<Info, DecodeError<S::Error>> {
    let mut info = Info::default();
    if S::LARGE_BUFFER {
        read_with(store, sequence, &mut Loader::new(objects, &mut [0; LARGE_SCRATCH]), pass, &mut info)
    } else {
        read_with(store, sequence, &mut Loader::new(objects, &mut [0; SMALL_SCRATCH]), pass, &mut info)
    }?;
    Ok(info)
}

fn read_with<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    sequence: u32,
    loader: &mut Loader<'_, T>,
    mut pass: ReadPass<'_>,
    info: &mut Info,
) -> Result<(), DecodeError<S::Error>> {
    let loading = matches!(pass, ReadPass::Load);
    let stream_count = store.stream_count(sequence).map_err(DecodeError::Io)?;
    if stream_count == 0 {
        return Err(DecodeError::Truncated);
    }
    for stream in 0..stream_count {
        // Streams with different identities are from two saves, so they are rejected.
        let identity = |info: &Info| (info.step, info.sequence, info.save_id);
        let previous = identity(info);
        let mut reader = store.open(sequence, stream).map_err(DecodeError::Io)?;
        let record = match &mut pass {
            ReadPass::Verify(record) => record.as_deref_mut(),
            ReadPass::Load => None,
        };
        loader.read::<S::Checksum, _>(&mut reader, record, loading, info)?;
        if stream > 0 && identity(info) != previous {
            return Err(DecodeError::Malformed);
        }
    }
    if loading { Ok(()) } else { loader.check_complete() }
}

/// Writes all objects to one stream of `len` bytes.
pub(super) fn write_single_stream<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    contents: &Contents<'_>,
    objects: &mut T,
    len: u32,
) -> Result<Encoded, EncodeError<S::Error>> {
    let spec = StreamSpec { header: contents.header, object: None, stream_index: 0, stream_count: 1, len };
    let mut writer = store.create(&spec).map_err(EncodeError::Io)?;
    checkpoint::encode_measured::<S::Checksum, _, T>(&mut writer, contents, objects, len)
}

/// Checks whether the store has room for each stream of a checkpoint with a run record of at most `record` bytes.
pub(super) fn check_streams<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    contents: &Contents<'_>,
    objects: &mut T,
    record: u32,
) -> Result<(), EncodeError<S::Error>> {
    if !store.has_stream_per_object() {
        return check_stream(store, contents, objects, (0, 1), record);
    }
    let stream_count = count_objects(objects);
    for stream_index in 0..stream_count {
        let name = ObjectName::of(objects, stream_index);
        let contents = Contents { single_object: Some(name.as_str()), ..*contents };
        check_stream(store, &contents, objects, (stream_index, stream_count), record)?;
    }
    Ok(())
}

/// Checks whether the store has room for the stream `index` of `count` streams.
fn check_stream<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    contents: &Contents<'_>,
    objects: &mut T,
    (stream_index, stream_count): (u32, u32),
    record: u32,
) -> Result<(), EncodeError<S::Error>> {
    let len = checkpoint::measure_for(contents, objects)?.saturating_add(record);
    let spec = StreamSpec { header: contents.header, object: contents.single_object, stream_index, stream_count, len };
    store.check(&spec).map_err(EncodeError::Io)
}

/// Writes each object to its own stream. A stream with all objects has `len` bytes. Returns the total number of bytes and
/// the result of the last stream.
pub(super) fn write_stream_per_object<S: Store, T: Objects + ?Sized>(
    store: &mut S,
    contents: &Contents<'_>,
    objects: &mut T,
    len: u32,
) -> Result<(u32, Encoded), EncodeError<S::Error>> {
    let stream_count = count_objects(objects);
    let mut header = contents.header;
    if stream_count > 1 {
        // The checksum of a stream with all objects identifies the save: if two saves differ in anything, their files
        // are never taken for one checkpoint.
        let whole = checkpoint::encode_measured::<S::Checksum, _, T>(&mut NullWriter, contents, objects, len);
        header.save_id = whole.map_err(|error| error.with_io(None))?.crc;
    }
    // The elements were checked when the length was measured.
    let contents = &Contents { header, allow_non_finite: true, ..*contents };
    let mut bytes = 0u32;
    let mut last = Err(EncodeError::NoObjects);
    for stream_index in 0..stream_count {
        let name = ObjectName::of(objects, stream_index);
        let contents = Contents { single_object: Some(name.as_str()), ..*contents };
        let len = checkpoint::measure_for(&contents, objects)?;
        let spec = StreamSpec { header: contents.header, object: Some(name.as_str()), stream_index, stream_count, len };
        let mut writer = store.create(&spec).map_err(EncodeError::Io)?;
        let encoded = checkpoint::encode_measured::<S::Checksum, _, T>(&mut writer, &contents, objects, len)?;
        bytes = bytes.saturating_add(encoded.len);
        last = Ok(encoded);
    }
    Ok((bytes, last?))
}

/// A writer that discards all bytes.
struct NullWriter;

impl ErrorType for NullWriter {
    type Error = Infallible;
}

impl Write for NullWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Returns the number of objects.
fn count_objects<T: Objects + ?Sized>(objects: &mut T) -> u32 {
    // The second argument selects the object whose name is copied. No object has the index `u32::MAX`, so the visitor
    // only counts the objects.
    ObjectName::of(objects, u32::MAX).next_index
}

/// A visitor that counts the objects and copies the name of one object. `wanted` is the index of that object.
struct ObjectName {
    wanted: u32,
    next_index: u32,
    name: NameBuffer,
}

impl ObjectName {
    fn of<T: Objects + ?Sized>(objects: &mut T, wanted: u32) -> Self {
        let mut visitor = ObjectName { wanted, next_index: 0, name: NameBuffer::default() };
        // The error is ignored, because the check before the save has already reported it.
        let _ = objects.objects(&mut visitor);
        visitor
    }

    fn as_str(&self) -> &str {
        self.name.as_str()
    }

    fn visit(&mut self, name: &str) {
        if self.next_index == self.wanted {
            self.name = NameBuffer::concat(&[name]);
        }
        self.next_index = self.next_index.saturating_add(1);
    }
}

impl ObjectVisitor for ObjectName {
    type Error = TensorUnavailable;

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, _: &mut D) -> Result<(), TensorUnavailable> {
        self.visit(name);
        Ok(())
    }
    fn value_with<V: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        _: &mut V,
        _: &mut [u8],
    ) -> Result<(), TensorUnavailable> {
        self.visit(name);
        Ok(())
    }
}
