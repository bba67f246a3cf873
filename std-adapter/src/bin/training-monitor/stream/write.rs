//! Encodes a stream.

use super::{Content, Object, Stream, Tensor};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};
use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use training_monitor::checkpoint::{
    Contents, EncodeError, ObjectVisitor, Objects, StateDict, TensorView, TensorVisitor, encode_with,
};
use training_monitor_std::Crc32Fast;

impl Stream {
    /// Encodes the stream. If the stream was read from bytes that this version of the tool wrote, the result is equal
    /// to these bytes. NaN and infinite elements are allowed, because the device has already applied its own check when
    /// it saved the checkpoint.
    pub fn write(&mut self) -> Result<Vec<u8>, EncodeError<Infallible>> {
        let Stream { header, object_names, objects } = self;
        let single_object = objects.first().filter(|_| !object_names.is_empty()).map(|object| object.name.clone());
        let metadata = header.metadata();
        let contents = Contents {
            header: header.as_core(),
            record: header.record(),
            single_object: single_object.as_deref(),
            allow_non_finite: true,
            metadata: &metadata,
        };
        let mut bytes = VecWriter(Vec::new());
        encode_with::<Crc32Fast, _, _>(&mut bytes, &contents, &mut StreamObjects { object_names, objects })?;
        Ok(bytes.0)
    }
}

/// A writer that collects the encoded bytes in memory.
struct VecWriter(Vec<u8>);

impl training_monitor::embedded_io::ErrorType for VecWriter {
    type Error = Infallible;
}

impl training_monitor::embedded_io::Write for VecWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Passes the objects of a stream to the encoder. Loading is not supported. To read a checkpoint, `Stream::read`
/// creates a new stream from the bytes.
pub struct StreamObjects<'a> {
    pub object_names: &'a [String],
    pub objects: &'a mut [Object],
}

impl Objects for StreamObjects<'_> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        // If each object has its own stream, each stream must list the names of all objects. Therefore the encoder
        // visits the objects of the other streams as empty state dicts.
        if !self.object_names.is_empty() {
            for name in self.object_names {
                match self.objects.iter_mut().find(|object| object.name == *name) {
                    Some(object) => visit_object(object, visitor)?,
                    None => visitor.state_dict(name, &mut TensorDict(&mut []))?,
                }
            }
            return Ok(());
        }
        self.objects.iter_mut().try_for_each(|object| visit_object(object, visitor))
    }
}

fn visit_object<V: ObjectVisitor>(object: &mut Object, visitor: &mut V) -> Result<(), V::Error> {
    match &mut object.content {
        Content::Tensors(tensors) => visitor.state_dict(&object.name, &mut TensorDict(tensors)),
        Content::Value(bytes) => {
            LEN.set(bytes.len());
            let mut value = EncodedValue(std::mem::take(bytes));
            let result = visitor.value(&object.name, &mut value);
            *bytes = value.0;
            result
        }
    }
}

struct TensorDict<'a>(&'a mut [Tensor]);

impl StateDict for TensorDict<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        for Tensor { name, element_type, shape, bytes } in self.0.iter_mut() {
            // The encoder expects the byte order of this machine.
            let mut swapped = Vec::new();
            let native = if cfg!(target_endian = "big") {
                swapped.clone_from(bytes);
                swapped.chunks_mut(element_type.size() as usize).for_each(<[u8]>::reverse);
                &mut swapped
            } else {
                bytes
            };
            visitor.visit_tensor(name, TensorView::from_bytes(*element_type, shape, native))?;
        }
        Ok(())
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
