//! Checkpoints outside the flash: over a user-defined writer and reader, or in memory.

use crate::checkpoint::tm_loaded;
use crate::engine::{Run, TM_RECORD_CAPACITY, tm_engine};
use crate::model::{Model, tm_model};
use crate::object::{InUse, check, read, slice};
use crate::status::{Result, decode_status, encode_status, give, tm_status};
use core::convert::Infallible;
use core::ffi::{c_int, c_void};
use tm_status::*;
use training_monitor::checkpoint::{Contents, Crc32, Loader, encode, measure};
use training_monitor::embedded_io::{Error, ErrorKind, ErrorType, Read, Write};
use training_monitor::run_record::RunRecord;

/// A destination of a checkpoint.
#[repr(C)]
pub struct tm_writer {
    /// Is passed to the function.
    pub context: *mut c_void,
    /// Writes all `len` bytes. Returns 0 for success.
    pub write: Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const u8, len: usize) -> c_int>,
}

/// A source of a checkpoint. It is read twice: to verify it, and to load it.
#[repr(C)]
pub struct tm_reader {
    /// Is passed to the functions.
    pub context: *mut c_void,
    /// Returns the number of bytes that were read to `bytes`, at most `len`; 0 at the end, or a negative number for an error.
    pub read: Option<unsafe extern "C" fn(context: *mut c_void, bytes: *mut u8, len: usize) -> isize>,
    /// Continues with the first byte. Returns 0 for success.
    pub rewind: Option<unsafe extern "C" fn(context: *mut c_void) -> c_int>,
}

/// A function of the program has returned an error.
#[derive(Clone, Copy, Debug)]
struct CallbackError;

impl core::fmt::Display for CallbackError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a callback failed")
    }
}

impl core::error::Error for CallbackError {}

impl Error for CallbackError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

struct Writer<'a>(&'a tm_writer);

impl ErrorType for Writer<'_> {
    type Error = CallbackError;
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> core::result::Result<usize, CallbackError> {
        let write = self.0.write.ok_or(CallbackError)?;
        // SAFETY: the program promises that the function can be called with this context, and the bytes are valid.
        match unsafe { write(self.0.context, bytes.as_ptr(), bytes.len()) } {
            0 => Ok(bytes.len()),
            _ => Err(CallbackError),
        }
    }
    fn flush(&mut self) -> core::result::Result<(), CallbackError> {
        Ok(())
    }
}

struct Reader<'a>(&'a tm_reader);

impl ErrorType for Reader<'_> {
    type Error = CallbackError;
}

impl Read for Reader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> core::result::Result<usize, CallbackError> {
        let read = self.0.read.ok_or(CallbackError)?;
        // SAFETY: the program promises that the function can be called with this context, and the buffer is valid.
        let count = unsafe { read(self.0.context, bytes.as_mut_ptr(), bytes.len()) };
        usize::try_from(count).ok().filter(|count| *count <= bytes.len()).ok_or(CallbackError)
    }
}

impl Reader<'_> {
    fn rewind(&mut self) -> Result {
        let rewind = self.0.rewind.ok_or(TM_ERROR_NULL)?;
        // SAFETY: the program promises that the function can be called with this context.
        if unsafe { rewind(self.0.context) } == 0 { Ok(()) } else { Err(TM_ERROR_DEVICE) }
    }
}

type EngineRecord = RunRecord<[u8; TM_RECORD_CAPACITY]>;

/// Borrows an engine, or nothing if the pointer is null.
///
/// # Safety
/// As for [`InUse::new`].
unsafe fn optional<'a>(engine: *mut tm_engine) -> Result<Option<(&'a mut Run, InUse<tm_engine>)>> {
    if engine.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller makes the same promise.
    unsafe { InUse::new(engine) }.map(Some)
}

/// Writes one checkpoint to a writer: the model, and the states of an engine and its attached objects if `engine` is not
/// null. Writes the number of bytes to `len`. The writer can be called many times, also with one byte. A failed save leaves an
/// incomplete stream, which no function loads. Errors: TM_ERROR_DEVICE if the writer fails, TM_ERROR_MODEL,
/// TM_ERROR_NON_FINITE, TM_ERROR_RECORD.
///
/// One thread at a time can use the model and the engine; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_save(
    writer: *const tm_writer,
    model: *const tm_model,
    step: u32,
    engine: *mut tm_engine,
    len: *mut u32,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let saved = unsafe { read(writer) }.and_then(|writer| {
        check(len)?;
        writer.write.ok_or(TM_ERROR_NULL)?;
        // SAFETY: as above.
        let (mut model, mut engine) = unsafe { (Model::new(model)?, optional(engine)?) };
        let record: Option<EngineRecord> = match &mut engine {
            Some((run, _)) => Some(run.engine.record::<Model, _>(&mut run.handlers)?),
            None => None,
        };
        let mut contents = Contents::new(step);
        if let Some((run, _)) = &engine {
            contents.header.iteration = run.engine.state().iteration();
            contents.header.run = run.engine.state().run();
        }
        let record = record.as_ref().map(|record| record as &RunRecord<[u8]>);
        contents.record = record;
        let encoded = encode(&mut Writer(writer), &contents, &mut model);
        encoded.map(|encoded| Some(encoded.len)).map_err(|error| encode_status(&error, |_| TM_ERROR_DEVICE))
    });
    // SAFETY: as above.
    unsafe { give(saved, len) }
}

/// Writes the largest length of a checkpoint without an engine to `len`, to choose the size of a buffer or of a slot. The names
/// of the score and of the series add their lengths. With an engine, a checkpoint can have up to 64 + TM_RECORD_CAPACITY bytes
/// more. Errors: TM_ERROR_MODEL, TM_ERROR_NON_FINITE.
///
/// One thread at a time can use the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_measure(model: *const tm_model, len: *mut u32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let measured = unsafe { Model::new(model) }.and_then(|mut model| {
        let never = |never: &Infallible| match *never {};
        let mut contents = Contents::new(u32::MAX);
        let header = &mut contents.header;
        (header.sequence, header.iteration, header.run, header.score) = (u32::MAX, u32::MAX, u32::MAX, Some(0.0));
        header.series.model = u32::MAX;
        measure(&contents, &mut model).map(Some).map_err(|error| encode_status(&error, never))
    });
    // SAFETY: as above.
    unsafe { give(measured, len) }
}

/// Verifies a checkpoint, restores the engine, and loads the model. `rewind` continues with the first byte.
fn load_stream<R: Read>(
    reader: &mut R,
    mut rewind: impl FnMut(&mut R) -> Result,
    model: &mut Model,
    engine: Option<&mut Run>,
) -> Result<Option<tm_loaded>> {
    let mut record = EngineRecord::with_capacity();
    let mut scratch = [0; 64];
    let mut loader = Loader::new(model, &mut scratch);
    rewind(reader)?;
    let info = loader
        .verify::<Crc32, _>(reader, engine.is_some().then_some(&mut record as &mut RunRecord<[u8]>))
        .and_then(|info| loader.check_complete().map(|()| info))
        .map_err(|error| decode_status(&error, |_| TM_ERROR_DEVICE))?;
    rewind(reader)?;
    if let Some(run) = engine {
        if !info.has_run {
            return Err(TM_ERROR_STATE);
        }
        run.engine.restore::<Model, _>(&record, &mut run.handlers)?;
        run.set_data_length();
    }
    loader.load::<Crc32, _>(reader).map_err(|_| TM_ERROR_UNREADABLE)?;
    Ok(Some(tm_loaded::from(info)))
}

/// Verifies one checkpoint and loads it from a reader: the model, and the states of an engine and its attached objects if
/// `engine` is not null. Errors: TM_ERROR_DEVICE if the reader fails, TM_ERROR_DAMAGED, TM_ERROR_VERSION,
/// TM_ERROR_OTHER_MODEL; with an engine also TM_ERROR_OTHER_HANDLERS, and TM_ERROR_STATE if the checkpoint was saved without
/// an engine. Nothing has changed then, except if the reader returned other bytes the second time (TM_ERROR_UNREADABLE).
///
/// One thread at a time can use the model and the engine; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_load(
    reader: *const tm_reader,
    model: *const tm_model,
    engine: *mut tm_engine,
    loaded: *mut tm_loaded,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let result = unsafe { read(reader) }.and_then(|reader| {
        check(loaded)?;
        if reader.read.is_none() || reader.rewind.is_none() {
            return Err(TM_ERROR_NULL);
        }
        // SAFETY: as above.
        let (mut model, mut engine) = unsafe { (Model::new(model)?, optional(engine)?) };
        let run = engine.as_mut().map(|(run, _)| &mut **run);
        load_stream(&mut Reader(reader), Reader::rewind, &mut model, run)
    });
    // SAFETY: as above.
    unsafe { give(result, loaded) }
}

/// Verifies one checkpoint in memory and loads it, as tm_load does.
///
/// One thread at a time can use the model and the engine; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_load_bytes(
    bytes: *const u8,
    len: usize,
    model: *const tm_model,
    engine: *mut tm_engine,
    loaded: *mut tm_loaded,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let result = unsafe { slice(bytes, len) }.and_then(|bytes| {
        check(loaded)?;
        // SAFETY: as above.
        let (mut model, mut engine) = unsafe { (Model::new(model)?, optional(engine)?) };
        let run = engine.as_mut().map(|(run, _)| &mut **run);
        let rewind = |rest: &mut &[u8]| {
            *rest = bytes;
            Ok(())
        };
        load_stream(&mut &*bytes, rewind, &mut model, run)
    });
    // SAFETY: as above.
    unsafe { give(result, loaded) }
}
