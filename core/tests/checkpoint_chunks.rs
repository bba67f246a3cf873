//! Tensors whose elements are passed in chunks are saved like tensors in memory.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;
#[path = "common/streams.rs"]
mod streams;

use streams::encode;
use training_monitor::checkpoint::{
    self, Contents, DecodeError, ElementType, EncodeError, Named, StateDict, TensorChunks, TensorUnavailable,
    TensorView, TensorVisitor, model_signature,
};

/// A tensor with `bytes` in the byte order of this machine. If `chunk` is 0, the tensor is in memory. Otherwise, it is
/// passed in chunks of `chunk` bytes.
#[derive(Clone)]
struct Layer {
    element_type: ElementType,
    shape: Vec<u32>,
    bytes: Vec<u8>,
    chunk: usize,
    /// How often the elements were read.
    reads: u32,
    /// The number of bytes after which the elements cannot be read.
    readable: usize,
}

impl Layer {
    fn new(element_type: ElementType, shape: &[u32], bytes: Vec<u8>, chunk: usize) -> Self {
        Layer { element_type, shape: shape.to_vec(), bytes, chunk, reads: 0, readable: usize::MAX }
    }

    fn f32(elements: &[f32], chunk: usize) -> Self {
        let bytes = elements.iter().flat_map(|element| element.to_ne_bytes()).collect();
        Layer::new(ElementType::F32, &[elements.len() as u32], bytes, chunk)
    }
}

/// The chunks of a [`Layer`].
struct Chunks<'a> {
    bytes: &'a [u8],
    chunk: usize,
    reads: &'a mut u32,
    readable: usize,
}

impl TensorChunks for Chunks<'_> {
    fn chunks(
        &mut self,
        receive: &mut dyn FnMut(&[u8]) -> Result<(), TensorUnavailable>,
    ) -> Result<(), TensorUnavailable> {
        *self.reads += 1;
        for (index, chunk) in self.bytes.chunks(self.chunk).enumerate() {
            if index * self.chunk >= self.readable {
                return Err(TensorUnavailable);
            }
            receive(chunk)?;
        }
        Ok(())
    }
}

impl StateDict for Layer {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let Layer { element_type, shape, bytes, chunk, reads, readable } = self;
        if *chunk == 0 {
            return visitor.visit_tensor("t", TensorView::from_bytes(*element_type, shape, bytes));
        }
        let mut chunks = Chunks { bytes, chunk: *chunk, reads, readable: *readable };
        visitor.visit_chunks("t", *element_type, shape, &mut chunks)
    }
}

/// Two layers with prefixes, around a tensor in memory.
struct Net(Layer, Layer);

impl StateDict for Net {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.module("first", &mut self.0)?;
        visitor.tensor("middle", &mut [1.0_f64, 2.0])?;
        visitor.module("last", &mut self.1)
    }
}

/// The contents that allow NaN.
fn any_number() -> Contents<'static> {
    Contents { allow_non_finite: true, ..Contents::new(3) }
}

#[test]
fn chunks_are_saved_like_a_tensor_in_memory() {
    for element_type in ElementType::ALL {
        let size = element_type.size() as usize;
        // Sizes around the encoder's buffer of 64 bytes and its blocks of 8 KiB.
        for len in [0, 1, 7, 64, 5000] {
            let bytes: Vec<u8> = (0..len * size).map(|index| (index as u8).wrapping_mul(31) & 1).collect();
            let net = |chunk| {
                let first = Layer::new(element_type, &[len as u32], bytes.clone(), chunk);
                Named::new("net", Net(first, Layer::new(element_type, &[1, len as u32, 1], bytes.clone(), chunk)))
            };
            let expected = encode(&any_number(), &mut net(0));
            for elements in [1, 3, 64, 10_000] {
                let mut chunked = net(elements * size);
                assert!(encode(&any_number(), &mut chunked) == expected, "{element_type} {len} {elements}");
                assert_eq!(model_signature(&mut chunked), model_signature(&mut net(0)));
            }
        }
    }
}

#[test]
fn a_measurement_reads_only_elements_that_can_be_invalid() {
    let reads = |mut layer: Layer, contents: &Contents<'_>| {
        checkpoint::measure(contents, &mut Named::new("net", &mut layer)).unwrap();
        layer.reads
    };
    assert_eq!(reads(Layer::f32(&[1.0; 9], 8), &any_number()), 0);
    assert_eq!(reads(Layer::f32(&[1.0; 9], 8), &Contents::new(3)), 1);
    assert_eq!(reads(Layer::new(ElementType::I8, &[4], vec![9; 4], 2), &Contents::new(3)), 0);
    assert_eq!(reads(Layer::new(ElementType::Bool, &[4], vec![1; 4], 2), &any_number()), 1);
}

#[test]
fn invalid_chunks_are_refused_by_name() {
    let measure = |mut layer: Layer| checkpoint::measure(&Contents::new(3), &mut Named::new("net", &mut layer));
    let non_finite = measure(Layer::f32(&[1.0, 2.0, 3.0, f32::INFINITY, f32::NAN], 8)).unwrap_err();
    assert!(matches!(non_finite, EncodeError::NonFinite { name, index: 3 } if name.as_str() == "t"), "{non_finite}");
    assert_named_error!(measure(Layer::new(ElementType::Bool, &[4], vec![0, 1, 1, 2], 3)), EncodeError::Bool, "t");
    let rank = Layer::new(ElementType::U8, &[1; 7], vec![0], 1);
    assert_named_error!(measure(rank), EncodeError::Shape, "t");
    let long = Layer::new(ElementType::U64, &[1 << 29], vec![], 1);
    assert_eq!(measure(long), Err(EncodeError::TooLong));
    let long = Layer::new(ElementType::U8, &[1 << 16, 1 << 16], vec![], 1);
    assert_eq!(measure(long), Err(EncodeError::TooLong));
    // The check reads the elements, so it also finds that their number is wrong.
    assert_named_error!(measure(Layer { shape: vec![4], ..Layer::f32(&[1.0; 3], 4) }), EncodeError::Shape, "t");
    assert_named_error!(measure(Layer { shape: vec![2], ..Layer::f32(&[1.0; 3], 4) }), EncodeError::Shape, "t");
    let unavailable = Layer { readable: 4, ..Layer::f32(&[1.0; 3], 4) };
    assert_eq!(measure(unavailable), Err(EncodeError::Unavailable));
}

#[test]
fn a_write_refuses_a_wrong_number_of_elements_and_a_part_of_an_element() {
    let write = |mut layer: Layer| {
        checkpoint::encode(&mut Vec::new(), &any_number(), &mut Named::new("net", &mut layer)).unwrap_err()
    };
    for (shape, chunk) in [(4, 4), (2, 4), (3, 2), (3, 5)] {
        let error = write(Layer { shape: vec![shape], ..Layer::f32(&[1.0; 3], chunk) });
        assert!(matches!(error, EncodeError::Shape { name } if name.as_str() == "t"), "{shape} {chunk} {error}");
    }
    let error = write(Layer { readable: 8, ..Layer::f32(&[1.0; 3], 4) });
    assert!(matches!(error, EncodeError::Unavailable), "{error}");
    // A writer that accepts no more bytes ends the reading.
    let mut full = [0; 64];
    let mut layer = Layer::f32(&[1.0; 1000], 400);
    let result = checkpoint::encode(&mut &mut full[..], &any_number(), &mut Named::new("net", &mut layer));
    assert!(matches!(result, Err(EncodeError::Io(_))), "{result:?}");
}

#[test]
fn chunks_cannot_be_loaded() {
    let bytes = encode(&any_number(), &mut Named::new("net", Layer::f32(&[1.0; 3], 0)));
    let result = checkpoint::load(&bytes, &mut Named::new("net", Layer::f32(&[0.0; 3], 4)), None);
    assert!(matches!(result, Err(DecodeError::Unavailable)), "{result:?}");
}
