//! Errors of the encoder and the decoder: foreign and mismatching streams, invalid objects, and writers that fail.

use super::{RecordingWriter, contents, encode, header};
use crate::model::Model;
use training_monitor::checkpoint::{
    self, Contents, Crc32, DecodeError, EncodeError, Objects, One, StateDict, Visit, VisitMut, VisitTensors,
    VisitTensorsMut,
};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Write};

/// Replaces the checksum at the end of a modified stream with the correct one.
fn with_correct_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&crc);
    bytes
}

#[test]
fn foreign_newer_and_mismatching_streams_have_specific_errors() {
    let bytes = encode(&contents(header()), &Model::new(1));
    let load = |bytes: &[u8], model: &mut Model| {
        let before = model.clone();
        let error = checkpoint::load::<Crc32, _>(bytes, model, None).unwrap_err();
        assert_eq!(*model, before);
        error
    };
    assert_eq!(load(b"PK\x03\x04 a zip file", &mut Model::blank()), DecodeError::NotACheckpoint);
    let mut newer = bytes.clone();
    newer[4] = 2;
    assert_eq!(load(&with_correct_crc(newer), &mut Model::blank()), DecodeError::Version { found: 2 });
    let mut longer = Model::blank();
    longer.bias.push(0.0);
    // This model visits its items in the order seed, schedule, bias, so "bias" is item 2.
    assert_eq!(load(&bytes, &mut longer), DecodeError::Length { item: 2, expected: 101, found: 100 });
    let mut other = [0.0f32; 3];
    let missing = checkpoint::load::<Crc32, _>(&bytes, &mut One("other", &mut other), None);
    assert_eq!(missing, Err(DecodeError::Missing { item: 0 }));
    // A stream that contains one tensor twice is malformed, although its checksum is correct.
    let mut writer = RecordingWriter::default();
    let duplicate = Duplicate(&mut [1.0; 3]);
    checkpoint::encode::<Crc32, _, _>(&mut writer, &contents(header()), &duplicate).unwrap();
    let mut tensor = [0.0f32; 3];
    let error = checkpoint::load::<Crc32, _>(&writer.bytes, &mut One("a", &mut tensor), None);
    assert_eq!((error, tensor), (Err(DecodeError::Malformed), [0.0; 3]));
}

/// Objects that contain the same tensor twice under the name `a`.
struct Duplicate<'a>(&'a mut [f32; 3]);
impl Objects for Duplicate<'_> {
    fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("a", self.0)?;
        v.state_dict("a", self.0)
    }
    fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("a", self.0)
    }
}

#[test]
fn invalid_objects_are_rejected_before_the_first_write() {
    /// A state dict with the given number of equal tensors of one name.
    struct Tensors(&'static str, Vec<f32>, u32);
    impl StateDict for Tensors {
        fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
            (0..self.2).try_for_each(|_| v.tensor(self.0, &[self.1.len() as u32], &self.1))
        }
        fn tensors_mut<V: VisitTensorsMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
            v.tensor(self.0, &mut self.1)
        }
    }
    struct Empty;
    impl Objects for Empty {
        fn objects<V: Visit>(&self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
        fn objects_mut<V: VisitMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
    }
    fn error<T: Objects>(objects: &T) -> EncodeError<ErrorKind> {
        checkpoint::measure::<ErrorKind, _>(&contents(header()), objects).unwrap_err()
    }
    assert_eq!(error(&Empty), EncodeError::NoObjects);
    for name in ["a/b", "a\\b", "", "a\nb", "abcdefghijklmnopqrstuvwxyz_0123456789"] {
        assert_eq!(error(&One(name, Tensors("w", vec![1.0], 1))), EncodeError::Name, "{name:?}");
        let tensor: &'static str = name;
        assert_eq!(error(&One("m", Tensors(tensor, vec![1.0], 1))), EncodeError::Name, "{name:?}");
    }
    assert_eq!(error(&One("m", Tensors("w", vec![1.0], 257))), EncodeError::TooManyItems);
    /// A state dict with a tensor of six elements that reports the given shape.
    struct Shaped(&'static [u32]);
    impl StateDict for Shaped {
        fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
            v.tensor("w", self.0, &[1.0; 6])
        }
        fn tensors_mut<V: VisitTensorsMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
    }
    for shape in [&[5][..], &[2, 4], &[], &[u32::MAX, u32::MAX], &[1, 1, 1, 1, 1, 1, 6]] {
        assert_eq!(error(&One("m", Shaped(shape))), EncodeError::Shape, "{shape:?}");
    }
    assert!(
        checkpoint::measure::<std::convert::Infallible, _>(&contents(header()), &One("m", Shaped(&[1, 2, 3]))).is_ok()
    );
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(error(&One("m", Tensors("w", vec![0.0, value], 1))), EncodeError::NonFinite);
    }
    let allowed = Contents { allow_non_finite: true, ..contents(header()) };
    let bytes = encode(&allowed, &One("m", Tensors("w", vec![f32::NAN], 1)));
    let mut loaded = Tensors("w", vec![0.0], 1);
    checkpoint::load::<Crc32, _>(&bytes, &mut One("m", &mut loaded), None).unwrap();
    assert!(loaded.1[0].is_nan());
}

#[test]
fn a_write_error_keeps_its_cause_and_a_write_of_zero_bytes_is_an_error() {
    /// Accepts up to 5 bytes in each of the given number of writes. Each later write returns the given result.
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
    let model = Model::new(1);
    let len = encode(&contents(header()), &model).len();
    for writes in 0..len / 5 {
        let mut full = Failing(writes, Err(ErrorKind::OutOfMemory));
        let error = checkpoint::encode::<Crc32, _, _>(&mut full, &contents(header()), &model);
        assert_eq!(error, Err(EncodeError::Io(ErrorKind::OutOfMemory)), "after {writes} writes");
    }
    let mut full = Failing(2, Ok(0));
    let error = checkpoint::encode::<Crc32, _, _>(&mut full, &contents(header()), &model);
    assert_eq!(error, Err(EncodeError::WriteZero));
}
