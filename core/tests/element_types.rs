//! Tests of tensors of every element type: bytes and alignment in the stream, round trips, the check for NaN and
//! infinity, and loads that compare types and sets of tensors.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;
#[path = "common/streams.rs"]
mod streams;

use half::{bf16, f16};
use streams::{encode, with_correct_crc};
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{
    self, Contents, Crc32, DecodeError, Differences, ElementType, EncodeError, Inspect, Loader, Named, NestedArray,
    ReadOnly, StateDict, Tensor, TensorView, TensorVisitor,
};
use training_monitor::event::EpochCompleted;
use training_monitor::finite::Finite;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::ram::Ram;

const CONTENTS: Contents<'static> = Contents { allow_non_finite: true, ..Contents::new(1) };

/// A state dict with one tensor of bytes, whose type is known at run time. The bytes start at `offset` of an aligned
/// buffer.
#[derive(Clone, PartialEq, Debug)]
struct Arena {
    element_type: ElementType,
    shape: Vec<u32>,
    memory: Vec<u64>,
    offset: usize,
}

impl Arena {
    /// Creates an arena that is filled with the bytes of a simple generator.
    fn new(element_type: ElementType, shape: &[u32], offset: usize, seed: u32) -> Self {
        let len = shape.iter().product::<u32>() * element_type.size();
        let mut arena = Arena { element_type, shape: shape.to_vec(), memory: vec![0; len as usize / 8 + 2], offset };
        let mut state = seed;
        for byte in arena.bytes() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        if element_type == ElementType::Bool {
            arena.bytes().iter_mut().for_each(|byte| *byte &= 1);
        }
        arena
    }

    fn bytes(&mut self) -> &mut [u8] {
        let len = (self.shape.iter().product::<u32>() * self.element_type.size()) as usize;
        &mut bytemuck::cast_slice_mut(&mut self.memory)[self.offset..][..len]
    }
}

impl StateDict for Arena {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let (element_type, shape) = (self.element_type, self.shape.clone());
        visitor.tensor("w", TensorView::from_bytes(element_type, &shape, self.bytes()))
    }
}

/// The shapes of rank 0 to 6, with and without elements.
const SHAPES: [&[u32]; 9] =
    [&[], &[1], &[7], &[0], &[3, 5], &[2, 0, 3], &[2, 3, 1, 2], &[2, 1, 2, 1, 3], &[1, 2, 1, 3, 2, 1]];

#[test]
fn every_type_and_shape_survives_a_round_trip_at_any_address() {
    for element_type in ElementType::ALL {
        for shape in SHAPES {
            for offset in 0..8 {
                let original = Arena::new(element_type, shape, offset, 1);
                let bytes = encode(&CONTENTS, &mut Named::new("m", original.clone()));
                // The target is at another address.
                let mut loaded = Named::new("m", Arena::new(element_type, shape, 7 - offset, 2));
                checkpoint::load(&bytes, &mut loaded, None).unwrap();
                assert_eq!(loaded.object.bytes(), original.clone().bytes(), "{element_type} {shape:?} {offset}");
            }
        }
    }
}

#[test]
fn every_type_survives_a_save_to_a_store() {
    for element_type in ElementType::ALL {
        let policy = ModelCheckpoint::<1>::every(1).unwrap().with_allow_non_finite(true);
        let mut handler = policy.attach(EpochCompleted, Ram::<2, 512>::new()).unwrap();
        let mut original = Named::new("m", Arena::new(element_type, &[3, 5], 1, 3));
        handler.save(SaveDecision { step: 1, score: None }, 1, None, &mut original).unwrap();
        let mut loaded = Named::new("m", Arena::new(element_type, &[3, 5], 2, 4));
        handler.load_best(&mut loaded).unwrap().unwrap();
        assert_eq!(loaded.object.bytes(), original.object.bytes(), "{element_type}");
    }
}

/// A visitor that records the type and the payload of each tensor.
#[derive(Default)]
struct Payloads(Vec<(ElementType, Vec<u32>, Vec<u8>)>);
impl Inspect for Payloads {
    fn tensor(&mut self, tensor: Tensor<'_>) {
        self.0.push((tensor.element_type, tensor.shape.to_vec(), Vec::new()));
    }
    fn payload(&mut self, bytes: &[u8]) {
        self.0.last_mut().unwrap().2.extend(bytes);
    }
}

/// Checks the bytes of an array in the stream: little-endian, and at a multiple of the element size.
fn check<A: NestedArray + Clone + PartialEq + std::fmt::Debug>(array: A, expected: ElementType, payload: &[u8]) {
    /// A state dict whose only tensor is the array.
    struct Only<A>(A);
    impl<A: NestedArray> StateDict for Only<A> {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.tensor("w", &mut self.0)
        }
    }
    // With this configuration, the machine behaves as if its byte order were that of the other machines.
    let mut payload = payload.to_vec();
    if cfg!(training_monitor_swap_bytes) {
        payload.chunks_mut(expected.size() as usize).for_each(<[u8]>::reverse);
    }
    // Names of different lengths need all lengths of the padding.
    for len in 1..=8 {
        let name = "n".repeat(len);
        let bytes = encode(&CONTENTS, &mut Named::new(&name, Only(array.clone())));
        let start = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
        assert_eq!(start % expected.size() as usize, 0, "{expected}");
        let mut payloads = Payloads::default();
        checkpoint::inspect(&mut &bytes[..], &mut [0; 5], &mut payloads).unwrap();
        assert_eq!(payloads.0, [(expected, A::SHAPE.to_vec(), payload.clone())]);
    }
}

#[test]
fn elements_are_little_endian_and_aligned_to_their_size() {
    check([1.0_f32, f32::from_bits(0x7FC1_2345)], ElementType::F32, &[0, 0, 0x80, 0x3F, 0x45, 0x23, 0xC1, 0x7F]);
    check([[-2.0_f64]], ElementType::F64, &[0, 0, 0, 0, 0, 0, 0, 0xC0]);
    check([f16::from_bits(0x7E01), f16::from_bits(0x0001)], ElementType::F16, &[0x01, 0x7E, 0x01, 0x00]);
    check([bf16::from_bits(0xFF81), bf16::from_f32(1.0)], ElementType::Bf16, &[0x81, 0xFF, 0x80, 0x3F]);
    check([i8::MIN, -1], ElementType::I8, &[0x80, 0xFF]);
    check([0xA5_u8, 0x5A, 0xC3], ElementType::U8, &[0xA5, 0x5A, 0xC3]);
    check([-2_i16, 300], ElementType::I16, &[0xFE, 0xFF, 0x2C, 0x01]);
    check([0x1234_u16], ElementType::U16, &[0x34, 0x12]);
    check([i32::MIN, 0x0102_0304], ElementType::I32, &[0, 0, 0, 0x80, 4, 3, 2, 1]);
    check(0x8765_4321_u32, ElementType::U32, &[0x21, 0x43, 0x65, 0x87]);
    check([i64::MIN + 1], ElementType::I64, &[1, 0, 0, 0, 0, 0, 0, 0x80]);
    check(0x0807_0605_0403_0201_u64, ElementType::U64, &[1, 2, 3, 4, 5, 6, 7, 8]);
    check([[true, false], [true, true]], ElementType::Bool, &[1, 0, 1, 1]);
}

#[test]
fn a_byte_of_a_bool_is_0_or_1() {
    let flags = [true, false, true];
    let bytes = encode(&CONTENTS, &mut Named::new("m", flags));
    let start = bytes.len() - 7;
    assert_eq!(bytes[start..start + 3], [1, 0, 1]);
    let mut loaded = Named::new("m", [false; 3]);
    checkpoint::load(&bytes, &mut loaded, None).unwrap();
    assert_eq!(loaded.object, flags);
    for (position, byte) in [(0, 2), (1, 128), (2, 255)] {
        let mut damaged = bytes.clone();
        damaged[start + position] = byte;
        let damaged = with_correct_crc(damaged);
        let mut loaded = Named::new("m", [false; 3]);
        assert_eq!(checkpoint::load(&damaged, &mut loaded, None).unwrap_err(), DecodeError::Malformed);
        assert_eq!(loaded.object, [false; 3]);
        // A tensor that the model does not have is checked, too.
        let mut other = Named::new("other", [0.0_f32; 0]);
        assert_eq!(checkpoint::load(&damaged, &mut other, None).unwrap_err(), DecodeError::Malformed);
        assert_eq!(checkpoint::inspect(&mut &damaged[..], &mut [0; 16], &mut ()), Err(DecodeError::Malformed));
    }
}

/// Checks that a NaN or an infinity at each position is found, and that no finite value is.
fn check_finite<T>(finite: T, limits: &[T], non_finite: &[T])
where
    T: Copy + checkpoint::Element,
    [T]: Finite,
{
    let measure = |values: &[T]| {
        let read_only = ReadOnly { shape: &[values.len() as u32], elements: values };
        checkpoint::measure(&Contents::new(1), &mut Named::new("m", read_only)).map(drop)
    };
    for len in [1, 2, 7, 8, 9, 33, 100] {
        let mut values = vec![finite; len];
        values.iter_mut().zip(limits.iter().cycle()).for_each(|(value, limit)| *value = *limit);
        assert_eq!((measure(&values), values.is_finite()), (Ok(()), true));
        for index in 0..len {
            for bad in non_finite {
                let mut values = values.clone();
                values[index] = *bad;
                values[len - 1] = *bad; // the first one is reported
                let expected = EncodeError::NonFinite { name: "data".into(), index: index as u32 };
                assert_eq!((measure(&values), values.is_finite()), (Err(expected), false), "{index} of {len}");
                // Slices at other addresses have another alignment.
                assert!(!values[index..].is_finite());
                assert!(values[..index].is_finite());
            }
        }
    }
    // Larger than the blocks of the scan.
    let mut values = vec![finite; 20_000];
    assert!(values.is_finite());
    values[19_998] = non_finite[0];
    assert_eq!(measure(&values), Err(EncodeError::NonFinite { name: "data".into(), index: 19_998 }));
}

#[test]
fn the_first_element_that_is_not_finite_is_named() {
    check_finite(0.5_f32, &[f32::MAX, f32::MIN, -0.0, 1e-45], &[f32::NAN, f32::INFINITY, -f32::INFINITY, -f32::NAN]);
    check_finite(0.5_f64, &[f64::MAX, f64::MIN, -0.0, 5e-324], &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    let bits = [0x7BFF, 0xFBFF, 0x0001, 0x8000, 0x03FF].map(f16::from_bits);
    check_finite(f16::ONE, &bits, &[0x7C00, 0xFC00, 0x7C01, 0xFFFF].map(f16::from_bits));
    let bits = [0x7F7F, 0xFF7F, 0x0001, 0x8000].map(bf16::from_bits);
    check_finite(bf16::ONE, &bits, &[0x7F80, 0xFF80, 0x7F81, 0xFFFF].map(bf16::from_bits));
}

#[test]
fn every_bit_pattern_of_16_bits_is_classified_like_the_crate_half() {
    for bits in 0..=u16::MAX {
        let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
        assert_eq!([half; 2].is_finite(), half::f16::is_finite(half), "{bits:x}");
        assert_eq!([brain; 2].is_finite(), half::bf16::is_finite(brain), "{bits:x}");
    }
}

#[test]
fn integers_are_always_finite() {
    for element_type in ElementType::ALL.into_iter().filter(|element_type| !element_type.is_float()) {
        let mut arena = Arena::new(element_type, &[9], 1, 5);
        if element_type != ElementType::Bool {
            arena.bytes().fill(0xFF);
        }
        assert!(checkpoint::measure(&Contents::new(1), &mut Named::new("m", arena)).is_ok(), "{element_type}");
    }
}

#[test]
fn a_non_finite_element_of_an_unaligned_arena_is_found() {
    for element_type in [ElementType::F32, ElementType::F64, ElementType::F16, ElementType::Bf16] {
        for offset in 0..8 {
            let mut arena = Arena::new(element_type, &[40], offset, 6);
            arena.bytes().fill(0x11);
            let measured = checkpoint::measure(&Contents::new(1), &mut Named::new("m", arena.clone()));
            assert!(measured.is_ok());
            let size = element_type.size() as usize;
            arena.bytes()[33 * size..34 * size].fill(0xFF);
            let expected = EncodeError::NonFinite { name: "w".into(), index: 33 };
            assert_eq!(checkpoint::measure(&Contents::new(1), &mut Named::new("m", arena)), Err(expected));
        }
    }
}

#[test]
fn a_load_compares_the_element_type() {
    let bytes = encode(&CONTENTS, &mut Named::new("m", [1_i32, 2]));
    let mut model = Named::new("m", [0_u32; 2]);
    let expected =
        DecodeError::ElementType { name: "data".into(), expected: ElementType::U32, found: ElementType::I32 };
    assert_eq!(checkpoint::load(&bytes, &mut model, None), Err(expected));
    assert_eq!(model.object, [0; 2]);
}

#[test]
fn a_bool_other_than_0_and_1_is_not_saved() {
    for offset in 0..3 {
        let mut arena = Arena::new(ElementType::Bool, &[5], offset, 7);
        arena.bytes()[4] = 2;
        let refused = checkpoint::measure(&CONTENTS, &mut Named::new("m", arena));
        assert_eq!(refused, Err(EncodeError::Bool { name: "w".into() }));
    }
}

#[test]
fn bytes_that_are_no_multiple_of_the_element_size_are_refused() {
    struct Odd;
    impl StateDict for Odd {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.tensor("w", TensorView::from_bytes(ElementType::I32, &[1], &mut [0; 5]))
        }
    }
    let refused = checkpoint::measure(&CONTENTS, &mut Named::new("m", Odd));
    assert_eq!(refused, Err(EncodeError::Shape { name: "w".into() }));
}

#[test]
fn without_elements_the_other_dimensions_can_have_any_size() {
    struct Empty;
    impl StateDict for Empty {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.tensor("w", TensorView::new::<f32>(&[u32::MAX, 3, 0], &mut []))
        }
    }
    let bytes = encode(&CONTENTS, &mut Named::new("m", Empty));
    assert!(checkpoint::load(&bytes, &mut Named::new("m", Empty), None).is_ok());
}

/// A state dict with one f32 of each name.
struct Scalars<'a>(&'a [&'a str], f32);
impl StateDict for Scalars<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.iter().try_for_each(|name| visitor.tensor(name, &mut self.1))
    }
}

#[test]
fn a_strict_load_refuses_missing_and_unexpected_tensors() {
    let bytes = encode(&CONTENTS, &mut Named::new("m", Scalars(&["a", "b", "c"], 5.0)));
    let load = |names: &[&str]| {
        let mut model = Named::new("m", Scalars(names, 0.0));
        let result = checkpoint::load(&bytes, &mut model, None);
        assert_eq!(model.object.1, if result.is_ok() { 5.0 } else { 0.0 });
        result
    };
    assert!(load(&["c", "a", "b"]).is_ok());
    assert_named_error!(load(&["a", "b", "c", "d"]), DecodeError::Missing, "d");
    assert_named_error!(load(&["a", "c"]), DecodeError::Unexpected, "b");
    // An object that the model does not list is no difference.
    let mut other = Named::new("other", [0.0_f32; 0]);
    assert_named_error!(checkpoint::load(&bytes, &mut other, None), DecodeError::Missing, "data");
}

#[test]
fn a_load_that_allows_differences_reports_them() {
    let bytes = encode(&CONTENTS, &mut Named::new("m", Scalars(&["a", "b", "c", "d"], 5.0)));
    let mut model = Named::new("m", Scalars(&["x", "b", "y"], 0.0));
    let mut scratch = [0; 64];
    let mut differences = Differences::default();
    let mut loader = Loader::new(&mut model, &mut scratch).allow_differences(&mut differences);
    loader.verify::<Crc32, _>(&mut &bytes[..], None).unwrap();
    loader.check_complete::<()>().unwrap();
    loader.load::<Crc32, _>(&mut &bytes[..]).unwrap();
    let expected =
        Differences { missing: 2, first_missing: Some("x".into()), unexpected: 3, first_unexpected: Some("a".into()) };
    assert_eq!(differences, expected);
    assert_eq!(model.object.1, 5.0);
}

#[test]
fn another_shape_is_an_error_although_differences_are_allowed() {
    let bytes = encode(&CONTENTS, &mut Named::new("m", [1.0_f32; 3]));
    let mut model = Named::new("m", [0.0_f32; 2]);
    let mut scratch = [0; 64];
    let mut differences = Differences::default();
    let mut loader = Loader::new(&mut model, &mut scratch).allow_differences(&mut differences);
    let result = loader.verify::<Crc32, _>(&mut &bytes[..], None);
    assert!(matches!(result, Err(DecodeError::Shape { dimension: 0, expected: 2, found: 3, .. })));
}

/// The code of the element type is the byte after the name.
#[test]
fn a_later_element_type_is_refused_as_newer() {
    let bytes = encode(&CONTENTS, &mut Named::new("m", [1_u8; 3]));
    let code = bytes.windows(4).position(|window| window == b"data").unwrap() + 4;
    assert_eq!(bytes[code], ElementType::U8 as u8);
    for later in [13, 127, 255] {
        let mut bytes = bytes.clone();
        bytes[code] = later;
        let result = checkpoint::load(&with_correct_crc(bytes), &mut Named::new("m", [0_u8; 3]), None);
        assert_eq!(result, Err(DecodeError::Newer));
    }
}

#[test]
fn only_the_types_of_floating_point_numbers_are_floats() {
    use ElementType::{Bf16, F16, F32, F64};
    let floats: Vec<ElementType> =
        ElementType::ALL.into_iter().filter(|element_type| element_type.is_float()).collect();
    assert_eq!(floats.len(), 4);
    assert!([F32, F64, F16, Bf16].iter().all(|element_type| floats.contains(element_type)));
}

#[test]
fn elements_of_another_type_are_not_returned() {
    let mut elements = [1.5_f32, -2.0];
    let mut view = TensorView::new(&[2], &mut elements);
    assert!(view.elements::<i32>().is_none() && view.elements_mut::<i32>().is_none());
    assert_eq!(view.elements_mut::<f32>(), Some(&mut [1.5, -2.0][..]));
    let mut read_only = TensorView::read_only(&[1], &[1.0_f32]);
    assert!(read_only.is_read_only() && read_only.elements_mut::<f32>().is_none());
}

/// The padding has the smallest length that aligns the elements: every other length is refused, for every element size.
#[test]
fn a_padding_of_another_length_is_refused() {
    for (element_type, size) in
        [(ElementType::F64, 8), (ElementType::F32, 4), (ElementType::I16, 2), (ElementType::U8, 1)]
    {
        let mut arena = Arena::new(element_type, &[2], 0, 1);
        // In memory, all bits of a number are valid.
        arena.bytes().fill(0x3F);
        let valid = encode(&CONTENTS, &mut Named::new("m", arena.clone()));
        // The payload is the end of the stream before the checksum; the length of the data takes one byte.
        let payload = valid.len() - 4 - 2 * size;
        let pad = (0..size).find(|pad| {
            valid[payload - 2 - pad] == *pad as u8
                && valid[payload - 1 - pad..payload - 1].iter().all(|byte| *byte == 0)
        });
        let pad = pad.unwrap();
        for other in 0..=2 * size {
            let mut bytes = valid[..payload - 2 - pad].to_vec();
            bytes.push(other as u8);
            bytes.resize(bytes.len() + other, 0);
            bytes.extend_from_slice(&valid[payload - 1..]);
            let bytes = with_correct_crc(bytes);
            let result = checkpoint::load(&bytes, &mut Named::new("m", arena.clone()), None);
            assert_eq!(result.is_ok(), other == pad, "{element_type}: a padding of {other} bytes: {result:?}");
        }
    }
}
