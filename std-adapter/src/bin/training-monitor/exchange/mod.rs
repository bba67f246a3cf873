//! Weights out of checkpoints into the files of other programs, and back: names, shapes and every bit of every value.
//!
//! A tensor is called `object.tensor` there. What such files have no place for, the run and its handlers, whole values,
//! the score, travels as one note beside the tensors: a *skeleton*, the checkpoint without its elements. With it, what
//! is imported unchanged is the same file again, byte for byte. Where a program has dropped the note (and in CSV, which
//! has no place for it) `import --template` takes the rest from a checkpoint.

mod csv;
pub mod export;
pub mod import;
mod json;
mod note;
mod npz;
mod safetensors;

use crate::failure::{Failure, Result, looks_like};
use crate::stream::{Stream, Tensor};
use note::Note;
use std::path::Path;

/// A file of tensors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// Hugging Face's safetensors: `safetensors.numpy.load_file`
    Safetensors,
    /// NumPy's archive: `numpy.load`
    Npz,
    /// One JSON object; NaN and infinities as strings
    Json,
    /// A line an element: tensor, shape, index, value
    Csv,
}

impl Format {
    const fn extension(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Npz => "npz",
            Format::Json => "json",
            Format::Csv => "csv",
        }
    }
}

/// What is in such a file.
struct Bundle {
    tensors: Vec<Named>,
    note: Option<Note>,
}

/// A tensor under the name it has outside.
struct Named {
    key: String,
    shape: Vec<usize>,
    elements: Vec<f32>,
}

impl Named {
    /// The bytes of its elements.
    fn bytes(&self) -> Vec<u8> {
        self.elements.iter().flat_map(|element| element.to_le_bytes()).collect()
    }

    /// Fails where a shape is not that of so many elements.
    fn new(path: &Path, key: String, shape: Vec<usize>, elements: Vec<f32>) -> Result<Named> {
        let product = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        if product != Some(elements.len()) {
            let why = format!("{key} has {} elements, which is not the shape {shape:?}", elements.len());
            return Err(Failure::content(path, why));
        }
        Ok(Named { key, shape, elements })
    }
}

fn key(object: &str, tensor: &Tensor) -> String {
    format!("{object}.{}", tensor.name)
}

impl Bundle {
    fn of(path: &Path, stream: &Stream) -> Result<Bundle> {
        let mut tensors = Vec::<Named>::new();
        for (object, tensor) in stream.tensors() {
            let key = key(object, tensor);
            if tensors.iter().any(|other| other.key == key) {
                return Err(Failure::content(path, format!("two tensors would be called {key}")));
            }
            let shape = tensor.shape.iter().map(|side| *side as usize).collect();
            tensors.push(Named { key, shape, elements: tensor.elements.clone() });
        }
        Ok(Bundle { tensors, note: Some(Note::of(path, stream)?) })
    }

    fn write(&self, format: Format) -> Result<Vec<u8>> {
        match format {
            Format::Safetensors => safetensors::write(self),
            Format::Npz => npz::write(self),
            Format::Json => json::write(self),
            Format::Csv => csv::write(self),
        }
    }

    /// Reads a file of any of the formats, told by its content.
    fn read(path: &Path, bytes: &[u8]) -> Result<Bundle> {
        let text = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if bytes.starts_with(b"PK\x03\x04") {
            npz::read(path, bytes)
        } else if bytes.get(8) == Some(&b'{') && text != Some(&b'{') {
            safetensors::read(path, bytes)
        } else if text == Some(&b'{') {
            json::read(path, bytes)
        } else if bytes.starts_with(csv::HEADER.as_bytes()) {
            csv::read(path, bytes)
        } else {
            let wanted = "a file of tensors (safetensors, npz, json or csv)";
            Err(Failure::WrongFile { path: path.to_owned(), wanted, found: looks_like(bytes) })
        }
    }
}

/// What is not a number that JSON or a table has a word for. The bits of a NaN that are not the usual ones are kept.
fn word(value: f32) -> Option<String> {
    let bits = value.to_bits();
    match value {
        _ if value == f32::INFINITY => Some("Infinity".to_owned()),
        _ if value == f32::NEG_INFINITY => Some("-Infinity".to_owned()),
        _ if bits == f32::NAN.to_bits() => Some("NaN".to_owned()),
        _ if value.is_nan() => Some(format!("NaN({bits:#010x})")),
        _ => None,
    }
}

/// And back; also in the words of other programs.
fn from_word(word: &str) -> Option<f32> {
    match word.to_ascii_lowercase().as_str() {
        "nan" => Some(f32::NAN),
        "inf" | "infinity" => Some(f32::INFINITY),
        "-inf" | "-infinity" => Some(f32::NEG_INFINITY),
        word => {
            let bits = word.strip_prefix("nan(0x")?.strip_suffix(')')?;
            Some(f32::from_bits(u32::from_str_radix(bits, 16).ok()?)).filter(|value| value.is_nan())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Content, Head, Object};

    fn stream() -> Stream {
        // Every kind of f32, from a generator that goes through all bits.
        let mut seed = 1_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(seed)
        };
        let special = vec![0.0, -0.0, f32::NAN, f32::from_bits(0xFFC0_1234), f32::INFINITY, f32::NEG_INFINITY];
        let tensor =
            |name: &str, shape: &[u32], elements| Tensor { name: name.to_owned(), shape: shape.to_vec(), elements };
        let net = vec![
            tensor("z.weight", &[100, 20], (0..2000).map(|_| next()).collect()),
            tensor("a.bias", &[2, 3], special),
            tensor("scalar", &[], vec![f32::MIN_POSITIVE / 4.0]),
            tensor("none", &[0, 4], vec![]),
        ];
        let objects = vec![
            Object { name: "net.2".to_owned(), content: Content::Tensors(net) },
            Object { name: "seed".to_owned(), content: Content::Value(vec![1, 2, 3]) },
        ];
        let head =
            Head { step: 7, sequence: 3, score: Some(-0.5), score_name: Some("loss".to_owned()), ..Head::default() };
        Stream { head, set: vec![], objects }
    }

    #[test]
    fn every_bit_comes_back_from_every_format() {
        let path = Path::new("test");
        let stream = stream();
        for format in [Format::Safetensors, Format::Npz, Format::Json] {
            let bytes = Bundle::of(path, &stream).unwrap().write(format).unwrap();
            let bundle = Bundle::read(path, &bytes).unwrap();
            let back = import::assemble(path, bundle, None, "model").unwrap();
            assert_eq!(back.write().unwrap(), stream.write().unwrap(), "{format:?}");
        }
        let bytes = Bundle::of(path, &stream).unwrap().write(Format::Csv).unwrap();
        let bundle = Bundle::read(path, &bytes).unwrap();
        // What has no elements has no lines, so it comes from the template.
        let back = import::assemble(path, bundle, Some(stream.clone()), "model").unwrap();
        assert_eq!(back.write().unwrap(), stream.write().unwrap());
    }

    #[test]
    fn without_a_note_objects_are_told_by_the_first_dot() {
        let path = Path::new("test");
        let named = |key: &str| Named { key: key.to_owned(), shape: vec![1], elements: vec![1.5] };
        let tensors = vec![named("net.fc.weight"), named("bias"), named("net.fc.bias")];
        let back = import::assemble(path, Bundle { tensors, note: None }, None, "model").unwrap();
        let names: Vec<(&str, &str)> = back.tensors().map(|(object, tensor)| (object, tensor.name.as_str())).collect();
        assert_eq!(names, [("net", "fc.weight"), ("net", "fc.bias"), ("model", "bias")]);
    }

    #[test]
    fn words_for_what_is_not_finite() {
        for bits in [0x7FC0_0000, 0x7F80_0001, 0xFFFF_FFFF, 0x7F80_0000, 0xFF80_0000] {
            let value = f32::from_bits(bits);
            assert_eq!(from_word(&word(value).unwrap()).map(f32::to_bits), Some(bits));
        }
        assert_eq!((word(1.0), from_word("nan(0x0)"), from_word("one")), (None, None, None));
    }
}
