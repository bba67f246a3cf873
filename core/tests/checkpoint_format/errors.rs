//! Errors of the encoder and the decoder: bytes that are no checkpoint, checkpoints of another model, invalid objects,
//! and writers that fail.

use super::{contents, header};
use crate::model::{Model, Reordered};
use crate::streams::{encode, with_correct_crc};
use std::convert::Infallible;
use training_monitor::checkpoint::{
    self, Contents, DecodeError, EncodeError, Named, ObjectVisitor, Objects, ReadOnly, StateDict, TensorView,
    TensorVisitor,
};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Write};

#[test]
fn foreign_newer_and_mismatching_streams_have_specific_errors() {
    let bytes = encode(&contents(header()), &mut Model::new(1));
    let load = |bytes: &[u8], model: &mut Model| {
        let before = model.clone();
        let error = checkpoint::load(bytes, model, None).unwrap_err();
        assert_eq!(*model, before);
        error
    };
    assert_eq!(load(b"PK\x03\x04 a zip file", &mut Model::blank()), DecodeError::NotACheckpoint);
    let mut newer = bytes.clone();
    newer[4] = 3;
    assert_eq!(load(&with_correct_crc(newer), &mut Model::blank()), DecodeError::Version { found: 3 });
    let mut longer = Model::blank();
    longer.net.bias.push(0.0);
    let error = load(&bytes, &mut longer);
    assert!(matches!(error, DecodeError::Shape { dimension: 0, expected: 101, found: 100, .. }), "{error:?}");
    let reordered = checkpoint::load(&bytes, &mut Reordered(&mut longer), None);
    assert_eq!(reordered, Err(error));
    assert_named_error!(reordered, DecodeError::Shape, "bias");
    let mut other = [0.0f32; 3];
    let missing = checkpoint::load(&bytes, &mut Named::new("other", &mut other), None);
    assert_named_error!(missing, DecodeError::Missing, "data");
    // A checkpoint that contains the same tensor twice is malformed, even if its checksum is correct. The encoder
    // refuses such a checkpoint, so the test gives both objects the same name after they are encoded.
    let mut duplicate = encode(&contents(header()), &mut Two("a", "b", [1.0; 3]));
    let position = duplicate.iter().rposition(|byte| *byte == b'b').unwrap();
    duplicate[position] = b'a';
    let mut tensor = [0.0f32; 3];
    let error = checkpoint::load(&with_correct_crc(duplicate), &mut Named::new("a", &mut tensor), None);
    assert_eq!((error, tensor), (Err(DecodeError::Malformed), [0.0; 3]));
}

/// A listing of two objects with these names. Both have the same elements.
struct Two(&'static str, &'static str, [f32; 3]);
impl Objects for Two {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict(self.0, &mut self.2)?;
        visitor.state_dict(self.1, &mut self.2)
    }
}

#[test]
fn invalid_objects_are_rejected_before_the_first_write() {
    /// A state dict with one tensor. The fields are its name and its elements.
    struct Tensors(&'static str, Vec<f32>);
    impl StateDict for Tensors {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            self.1.as_mut_slice().visit_as_field(self.0, visitor)
        }
    }
    /// A state dict with this number of tensors, which have different names.
    struct Many(u32);
    impl StateDict for Many {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            (0..self.0).try_for_each(|index| visitor.tensor(&index.to_string(), &mut [1.0]))
        }
    }
    struct Empty;
    impl Objects for Empty {
        fn objects<V: ObjectVisitor>(&mut self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
    }
    fn measure(mut objects: impl Objects) -> Result<u32, EncodeError<Infallible>> {
        checkpoint::measure(&contents(header()), &mut objects)
    }
    assert_eq!(measure(Empty), Err(EncodeError::NoObjects));
    let long = "n".repeat(256).leak();
    for (name, shown) in [("a/b", "a/b"), ("a\\b", "a\\b"), ("", ""), ("a\nb", "a?b"), (long, &long[..96])] {
        assert_named_error!(measure(Named::new(name, Tensors("w", vec![1.0]))), EncodeError::Name, shown);
        assert_named_error!(measure(Named::new("m", Tensors(name, vec![1.0]))), EncodeError::Name, shown);
    }
    assert_eq!(measure(Named::new("m", Many(4097))), Err(EncodeError::TooManyItems));
    /// A state dict with one tensor of six elements. The field is the shape that the state dict reports for this
    /// tensor.
    struct Shaped(&'static [u32]);
    impl StateDict for Shaped {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.tensor("w", TensorView::new(self.0, &mut [1.0; 6]))
        }
    }
    for shape in [&[5][..], &[2, 4], &[], &[u32::MAX, u32::MAX], &[1, 1, 1, 1, 1, 1, 6]] {
        assert_named_error!(measure(Named::new("m", Shaped(shape))), EncodeError::Shape, "w");
        let read_only = ReadOnly { shape, elements: &[1.0; 6] };
        assert_named_error!(measure(Named::new("m", read_only)), EncodeError::Shape, "data");
    }
    assert!(measure(Named::new("m", Shaped(&[1, 2, 3]))).is_ok());
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_named_error!(measure(Named::new("m", Tensors("w", vec![0.0, value]))), EncodeError::NonFinite, "w");
    }
    let allowed = Contents { allow_non_finite: true, ..contents(header()) };
    let bytes = encode(&allowed, &mut Named::new("m", Tensors("w", vec![f32::NAN])));
    let mut loaded = Tensors("w", vec![0.0]);
    checkpoint::load(&bytes, &mut Named::new("m", &mut loaded), None).unwrap();
    assert!(loaded.1[0].is_nan());
}

#[test]
fn a_write_error_keeps_its_cause_and_a_write_of_zero_bytes_is_an_error() {
    /// A writer that fails after some writes. The first field is the number of successful writes, of at most 5 bytes
    /// each. The second field is the result of all later writes.
    struct Failing(usize, Result<usize, ErrorKind>);
    impl ErrorType for Failing {
        type Error = ErrorKind;
    }
    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Ok(bytes.len().min(5)) // short writes are legal
                }
                None => self.1,
            }
        }
        fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }
    let mut model = Model::new(1);
    let len = encode(&contents(header()), &mut model).len();
    for writes in 0..len / 5 {
        let mut full = Failing(writes, Err(ErrorKind::OutOfMemory));
        let error = checkpoint::encode(&mut full, &contents(header()), &mut model);
        assert_eq!(error, Err(EncodeError::Io(ErrorKind::OutOfMemory)), "after {writes} writes");
    }
    let mut full = Failing(2, Ok(0));
    let error = checkpoint::encode(&mut full, &contents(header()), &mut model);
    assert_eq!(error, Err(EncodeError::WriteZero));
}
