//! Reads and writes NumPy's `.npz` files, which are zip archives of arrays. The metadata is one more array of bytes.
//! NumPy's function `savez` preserves such an array.
//!
//! NumPy has no type for bf16. A tensor of bf16 is an array of elements of two bytes (type `V2`), as `numpy.save`
//! writes an array of the package `ml_dtypes`. After `numpy.load`, `array.view(ml_dtypes.bfloat16)` has the numbers.

use super::metadata::{NAME, RunMetadata};
use super::{NamedTensor, TensorFile};
use crate::error::{CliError, Result};
use ndarray::{Array1, ArrayD, ArrayViewD, IxDyn};
use ndarray_npy::{
    NpzReader, NpzWriter, ReadDataError, ReadNpyError, ReadNpzError, ReadableElement, WritableElement, WriteDataError,
};
use py_literal::Value as Descriptor;
use std::fmt::Display;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use training_monitor::checkpoint::ElementType;

/// Calls a generic function with the Rust type of the elements.
macro_rules! with_type {
    ($element_type:expr, $function:ident($($argument:expr),*)) => {
        match $element_type {
            ElementType::F32 => $function::<f32>($($argument),*),
            ElementType::F64 => $function::<f64>($($argument),*),
            ElementType::F16 => $function::<F16>($($argument),*),
            ElementType::Bf16 => $function::<Bf16>($($argument),*),
            ElementType::I8 => $function::<i8>($($argument),*),
            ElementType::U8 => $function::<u8>($($argument),*),
            ElementType::I16 => $function::<i16>($($argument),*),
            ElementType::U16 => $function::<u16>($($argument),*),
            ElementType::I32 => $function::<i32>($($argument),*),
            ElementType::U32 => $function::<u32>($($argument),*),
            ElementType::I64 => $function::<i64>($($argument),*),
            ElementType::U64 => $function::<u64>($($argument),*),
            ElementType::Bool => $function::<bool>($($argument),*),
        }
    };
}

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    for tensor in &file.tensors {
        with_type!(tensor.element_type, add_array(&mut npz, tensor))?;
    }
    if let Some(metadata) = &file.metadata {
        npz.add_array(NAME, &Array1::from(metadata.to_json()?.into_bytes())).map_err(CliError::other)?;
    }
    npz.finish().map(Cursor::into_inner).map_err(CliError::other)
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<TensorFile> {
    let invalid = |error: ReadNpzError| CliError::content(path, format!("invalid or truncated npz file: {error}"));
    let mut npz = NpzReader::new(Cursor::new(bytes)).map_err(invalid)?;
    let mut file = TensorFile { tensors: vec![], metadata: None };
    for (index, name) in npz.names().map_err(invalid)?.into_iter().enumerate() {
        if name == NAME {
            let metadata: Array1<u8> = npz.by_index(index).map_err(invalid)?;
            let json = String::from_utf8(metadata.to_vec()).map_err(|error| CliError::content(path, error))?;
            file.metadata = Some(RunMetadata::parse(path, &json)?);
            continue;
        }
        // Reading the array as u8 returns its type, if it has another one.
        let (element_type, array) = match read_array::<u8>(&mut npz, index) {
            Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(found))) => match parse_descriptor(&found) {
                Some(element_type) => (element_type, read_tensor(&mut npz, index, element_type)),
                None => {
                    let reason = format!("tensor {name} has the type {found}, which a checkpoint does not have");
                    return Err(CliError::content(path, reason));
                }
            },
            array => (ElementType::U8, array),
        };
        let (shape, bytes) = array.map_err(|error| CliError::content(path, format!("tensor {name}: {error}")))?;
        file.tensors.push(NamedTensor::new(path, name, element_type, &shape, bytes)?);
    }
    Ok(file)
}

/// Returns the element type for a type of NumPy, for example `<f4`.
fn parse_descriptor(descriptor: &Descriptor) -> Option<ElementType> {
    let Descriptor::String(text) = descriptor else { return None };
    Some(match text.trim_start_matches(['<', '>', '|', '=']) {
        "f4" => ElementType::F32,
        "f8" => ElementType::F64,
        "f2" => ElementType::F16,
        "V2" => ElementType::Bf16,
        "i1" => ElementType::I8,
        "u1" => ElementType::U8,
        "i2" => ElementType::I16,
        "u2" => ElementType::U16,
        "i4" => ElementType::I32,
        "u4" => ElementType::U32,
        "i8" => ElementType::I64,
        "u8" => ElementType::U64,
        "b1" => ElementType::Bool,
        _ => return None,
    })
}

type Writer = NpzWriter<Cursor<Vec<u8>>>;
type Reader<'a> = NpzReader<Cursor<&'a [u8]>>;

fn add_array<T: Element>(npz: &mut Writer, tensor: &NamedTensor) -> Result<()> {
    let error = |error: &dyn Display| CliError::usage(format!("cannot write tensor {}: {error}", tensor.name));
    let elements: Vec<T> = tensor.elements().map(T::from_bytes).collect();
    let array = ArrayViewD::from_shape(IxDyn(&tensor.sides()), &elements).map_err(|cause| error(&cause))?;
    npz.add_array(tensor.name.as_str(), &array).map_err(|cause| error(&cause))
}

/// The shape and the little-endian bytes of an array.
type ArrayBytes = std::result::Result<(Vec<usize>, Vec<u8>), ReadNpzError>;

fn read_tensor(npz: &mut Reader<'_>, index: usize, element_type: ElementType) -> ArrayBytes {
    with_type!(element_type, read_array(npz, index))
}

fn read_array<T: Element>(npz: &mut Reader<'_>, index: usize) -> ArrayBytes {
    let array: ArrayD<T> = npz.by_index(index)?;
    let mut bytes = Vec::new();
    // The iterator visits the elements in row-major order, even if the file stores the elements in column-major order.
    array.iter().for_each(|element| element.push_bytes(&mut bytes));
    Ok((array.shape().to_vec(), bytes))
}

/// An element of an array of NumPy.
trait Element: Copy + ReadableElement + WritableElement {
    /// Creates an element from its little-endian bytes.
    fn from_bytes(bytes: &[u8]) -> Self;
    /// Appends the little-endian bytes.
    fn push_bytes(self, bytes: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Element for $type {
            fn from_bytes(bytes: &[u8]) -> Self {
                bytes.first_chunk().map_or(<$type>::default(), |bytes| <$type>::from_le_bytes(*bytes))
            }
            fn push_bytes(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

numbers! { f32 f64 i8 u8 i16 u16 i32 u32 i64 u64 }

impl Element for bool {
    fn from_bytes(bytes: &[u8]) -> Self {
        bytes == [1]
    }
    fn push_bytes(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }
}

/// The bits of a float of 16 bits, which the crate `ndarray_npy` does not have.
#[derive(Clone, Copy)]
struct Half<const IS_BF16: bool>(u16);

type F16 = Half<false>;
type Bf16 = Half<true>;

impl<const IS_BF16: bool> Element for Half<IS_BF16> {
    fn from_bytes(bytes: &[u8]) -> Self {
        Half(u16::from_bytes(bytes))
    }
    fn push_bytes(self, bytes: &mut Vec<u8>) {
        self.0.push_bytes(bytes);
    }
}

impl<const IS_BF16: bool> WritableElement for Half<IS_BF16> {
    fn type_descriptor() -> Descriptor {
        Descriptor::String(if IS_BF16 { "<V2" } else { "<f2" }.to_owned())
    }
    fn write<W: Write>(&self, writer: W) -> std::result::Result<(), WriteDataError> {
        Self::write_slice(&[*self], writer)
    }
    fn write_slice<W: Write>(slice: &[Self], mut writer: W) -> std::result::Result<(), WriteDataError> {
        let bytes: Vec<u8> = slice.iter().flat_map(|element| element.0.to_le_bytes()).collect();
        writer.write_all(&bytes).map_err(WriteDataError::from)
    }
}

impl<const IS_BF16: bool> ReadableElement for Half<IS_BF16> {
    fn read_to_end_exact_vec<R: Read>(
        reader: R,
        descriptor: &Descriptor,
        len: usize,
    ) -> std::result::Result<Vec<Self>, ReadDataError> {
        // The descriptor has been parsed, so only the byte order is unknown. The library reads elements of 16 bits.
        let is_big_endian = matches!(descriptor, Descriptor::String(text) if text.starts_with('>'));
        let integers = Descriptor::String(if is_big_endian && !IS_BF16 { ">u2" } else { "<u2" }.to_owned());
        Ok(u16::read_to_end_exact_vec(reader, &integers, len)?.into_iter().map(Half).collect())
    }
}
