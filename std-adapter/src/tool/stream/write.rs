//! Encodes a stream.

use super::{Content, Object, Payload, Stream, Tensor};
use crate::Crc32Fast;
use crate::tool::error::CliError;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use training_monitor::checkpoint::{
    Contents, ElementType, EncodeError, ObjectVisitor, Objects, StateDict, TensorChunks, TensorUnavailable,
    TensorVisitor, encode_with, model_signature,
};
use training_monitor::embedded_io;

/// The reason why a checkpoint or a file of tensors cannot be written.
#[derive(Debug)]
pub enum WriteError {
    /// The output reported an error.
    Output(io::Error),
    /// The input cannot be read or cannot be converted.
    Input(CliError),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        WriteError::Output(error)
    }
}

impl From<CliError> for WriteError {
    fn from(error: CliError) -> WriteError {
        WriteError::Input(error)
    }
}

impl Stream {
    /// Computes the signature of the model again, after the list of the tensors has changed.
    pub fn update_signature(&mut self) {
        let mut objects = StreamObjects { object_names: &[], objects: &self.objects, error: None };
        // The signature contains no elements, so it cannot fail to read them.
        if let Ok(signature) = model_signature(&mut objects) {
            self.header.model = signature;
        }
    }

    /// Encodes the stream and returns its length in bytes. If the stream was read from bytes that this version of the
    /// tool wrote, the result is equal to these bytes. NaN and infinite elements are allowed, because the device has
    /// already applied its own check when it saved the checkpoint. An error about the content names the file `path`.
    pub fn write(&self, path: &Path, output: &mut dyn Write) -> Result<u64, WriteError> {
        self.write_checked(path, output, true)
    }

    /// Does the same as [`write`](Self::write), but refuses NaN and infinite elements unless `allow_non_finite` is true.
    pub fn write_checked(
        &self,
        path: &Path,
        output: &mut dyn Write,
        allow_non_finite: bool,
    ) -> Result<u64, WriteError> {
        let Stream { header, object_names, objects } = self;
        let single_object = objects.first().filter(|_| !object_names.is_empty()).map(|object| object.name.clone());
        let metadata = header.metadata();
        let contents = Contents {
            header: header.as_core(),
            record: header.record(),
            single_object: single_object.as_deref(),
            allow_non_finite,
            metadata: &metadata,
        };
        let mut writer = StreamWriter(BufWriter::with_capacity(256 * 1024, output));
        let mut objects = StreamObjects { object_names, objects, error: None };
        let encoded = encode_with::<Crc32Fast, _, _>(&mut writer, &contents, &mut objects);
        match (encoded, objects.error) {
            (Ok(encoded), _) => Ok(encoded.len.into()),
            (Err(_), Some(error)) => Err(error.into()),
            (Err(EncodeError::Io(OutputError(cause))), _) => Err(cause.into()),
            (Err(error), _) => Err(CliError::content(path, error).into()),
        }
    }
}

/// Lets the encoder write to a `Write` of the standard library.
struct StreamWriter<'a>(BufWriter<&'a mut dyn Write>);

#[derive(Debug)]
struct OutputError(io::Error);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for OutputError {}

impl embedded_io::Error for OutputError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self.0.kind() {
            io::ErrorKind::Interrupted => embedded_io::ErrorKind::Interrupted,
            _ => embedded_io::ErrorKind::Other,
        }
    }
}

impl embedded_io::ErrorType for StreamWriter<'_> {
    type Error = OutputError;
}

impl embedded_io::Write for StreamWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, OutputError> {
        self.0.write(bytes).map_err(OutputError)
    }
    fn flush(&mut self) -> Result<(), OutputError> {
        self.0.flush().map_err(OutputError)
    }
}

/// Passes the objects of a stream to the encoder. Loading is not supported. To read a checkpoint, `Stream::read`
/// creates a new stream.
pub struct StreamObjects<'a> {
    pub object_names: &'a [String],
    pub objects: &'a [Object],
    /// The error that occurred while a payload was read. The encoder only knows that a tensor is not available.
    pub error: Option<CliError>,
}

impl Objects for StreamObjects<'_> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let StreamObjects { object_names, objects, error } = self;
        // If each object has its own stream, each stream must list the names of all objects. Therefore the encoder
        // visits the objects of the other streams as empty state dicts.
        if !object_names.is_empty() {
            for name in *object_names {
                match objects.iter().find(|object| object.name == *name) {
                    Some(object) => visit_object(object, visitor, error)?,
                    None => visitor.state_dict(name, &mut TensorDict { tensors: &[], error })?,
                }
            }
            return Ok(());
        }
        objects.iter().try_for_each(|object| visit_object(object, visitor, error))
    }
}

fn visit_object<V: ObjectVisitor>(
    object: &Object,
    visitor: &mut V,
    error: &mut Option<CliError>,
) -> Result<(), V::Error> {
    match &object.content {
        Content::Tensors(tensors) => visitor.state_dict(&object.name, &mut TensorDict { tensors, error }),
        Content::Value(payload) => {
            let bytes = payload.to_vec().map_err(|cause| {
                *error = Some(cause);
                TensorUnavailable
            })?;
            LEN.set(bytes.len());
            visitor.value(&object.name, &mut EncodedValue(bytes))
        }
    }
}

struct TensorDict<'a> {
    tensors: &'a [Tensor],
    error: &'a mut Option<CliError>,
}

impl StateDict for TensorDict<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        for Tensor { name, element_type, shape, payload, .. } in self.tensors {
            let mut elements = Elements { element_type: *element_type, payload, error: &mut *self.error };
            visitor.visit_chunks(name, *element_type, shape, &mut elements)?;
        }
        Ok(())
    }
}

/// The elements of a tensor in a source.
struct Elements<'a> {
    element_type: ElementType,
    payload: &'a Payload,
    error: &'a mut Option<CliError>,
}

impl TensorChunks for Elements<'_> {
    fn chunks(
        &mut self,
        receive: &mut dyn FnMut(&[u8]) -> Result<(), TensorUnavailable>,
    ) -> Result<(), TensorUnavailable> {
        let mut is_stopped = false;
        let result = self.payload.for_each_chunk(|chunk| -> Result<(), CliError> {
            // The encoder expects the byte order of this machine.
            let received = if cfg!(target_endian = "big") {
                let mut swapped = chunk.to_vec();
                swapped.chunks_mut(self.element_type.size() as usize).for_each(<[u8]>::reverse);
                receive(&swapped)
            } else {
                receive(chunk)
            };
            received.map_err(|error| {
                is_stopped = true;
                CliError::other(error)
            })
        });
        result.map_err(|error| {
            // If the encoder stopped the reading, it knows the error.
            if !is_stopped {
                *self.error = Some(error);
            }
            TensorUnavailable
        })
    }
}

thread_local! {
    /// The length of the [`EncodedValue`] that is being written. The encoder deserializes the value to check that it
    /// can be loaded again. Neither the stream of the encoder nor the type contains the length.
    static LEN: Cell<usize> = const { Cell::new(0) };
}

/// The postcard encoding of a value. The type serializes as a tuple of bytes, because postcard writes the bytes of such
/// a tuple unchanged.
struct EncodedValue(Vec<u8>);

impl Serialize for EncodedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for EncodedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(LEN.get(), BytesVisitor).map(EncodedValue)
    }
}

/// Collects the bytes of an [`EncodedValue`].
struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
