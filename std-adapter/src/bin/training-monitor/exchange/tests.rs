//! Round trips through each file format, without a checkpoint file.

use super::*;
use crate::stream::{Content, Object, StreamHeader};

/// A stream with a tensor of random bits, a tensor without elements and a scalar of each type, and with metadata.
fn stream() -> Stream {
    // A linear congruential generator yields random bits. The bits form floats of all kinds: normal and subnormal
    // numbers, infinities and NaN values.
    let mut seed = 1_u32;
    let mut random = |element_type: ElementType| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let byte = (seed >> 24) as u8;
        if element_type == ElementType::Bool { byte & 1 } else { byte }
    };
    let mut net = vec![];
    for element_type in ElementType::ALL {
        for (kind, shape) in [("weight", &[100, 20][..]), ("empty", &[0, 4]), ("scalar", &[])] {
            let len = shape.iter().product::<u32>() * element_type.size();
            let bytes = (0..len).map(|_| random(element_type)).collect();
            net.push(Tensor { name: format!("{element_type}.{kind}"), element_type, shape: shape.to_vec(), bytes });
        }
    }
    // The quiet NaN, NaN with a payload, infinities and zeros.
    let special = [0x7FC0_0000, 0x7F80_0001, 0xFFC0_1234, 0x7F80_0000, 0xFF80_0000, 0, 1 << 31_u32];
    let bytes = special.iter().flat_map(|bits: &u32| bits.to_le_bytes()).collect();
    net.push(Tensor { name: "special".to_owned(), element_type: ElementType::F32, shape: vec![7], bytes });
    let objects = vec![
        Object { name: "net.2".to_owned(), content: Content::Tensors(net) },
        Object { name: "seed".to_owned(), content: Content::Value(vec![1, 2, 3]) },
        Object { name: "unused".to_owned(), content: Content::Tensors(vec![]) },
    ];
    let header = StreamHeader {
        step: 7,
        sequence: 3,
        score: Some(-0.5),
        score_name: Some("loss".to_owned()),
        metadata: vec![("batch".to_owned(), vec![0xFF, 0]), ("firmware".to_owned(), b"1.2.3".to_vec())],
        ..StreamHeader::default()
    };
    Stream { header, object_names: vec![], objects }
}

#[test]
fn each_format_preserves_all_bits() {
    let path = Path::new("test");
    let mut stream = stream();
    let original = stream.write().unwrap();
    for format in [Format::Safetensors, Format::Npz, Format::Json] {
        let bytes = TensorFile::from_stream(path, &stream).unwrap().write(format).unwrap();
        let file = TensorFile::read(path, &bytes).unwrap();
        let mut imported = import::to_stream(path, file, None, "model").unwrap();
        assert_eq!(imported.header.metadata, stream.header.metadata, "{format:?}");
        assert!(imported.write().unwrap() == original, "{format:?}");
    }
    // A CSV file has no metadata of the run, so they come from the template.
    let bytes = TensorFile::from_stream(path, &stream).unwrap().write(Format::Csv).unwrap();
    let file = TensorFile::read(path, &bytes).unwrap();
    assert_eq!(file.tensors.len(), stream.tensors().count());
    let mut imported = import::to_stream(path, file, Some(stream.clone()), "model").unwrap();
    assert!(imported.write().unwrap() == original);
}

#[test]
fn without_metadata_the_first_dot_ends_the_object_name() {
    let path = Path::new("test");
    let tensor = |name: &str| NamedTensor::new(path, name.to_owned(), ElementType::I8, &[1], vec![3]).unwrap();
    let tensors = vec![tensor("net.fc.weight"), tensor("bias"), tensor("net.fc.bias")];
    let imported = import::to_stream(path, TensorFile { tensors, metadata: None }, None, "model").unwrap();
    let names: Vec<(&str, &str)> = imported.tensors().map(|(object, tensor)| (object, tensor.name.as_str())).collect();
    assert_eq!(names, [("net", "fc.weight"), ("net", "fc.bias"), ("model", "bias")]);
}

#[test]
fn tensors_that_a_checkpoint_cannot_contain_are_refused_by_name() {
    let refuse = |element_type, shape: &[usize], bytes| {
        NamedTensor::new(Path::new("test"), "net.w".to_owned(), element_type, shape, bytes).err().unwrap().to_string()
    };
    let cases = [
        (ElementType::F32, &[1; 7][..], vec![0; 4], "tensor net.w has 7 dimensions; a checkpoint allows at most 6"),
        (ElementType::F32, &[2], vec![0; 4], "tensor net.w has the shape [2], which does not match its 1 element"),
        (ElementType::I8, &[0, 1 << 32], vec![], "tensor net.w has the shape [0, 4294967296]; a dimension must be"),
        (ElementType::Bool, &[2], vec![1, 2], "tensor net.w has the type bool, but an element is neither 0 nor 1"),
    ];
    for (element_type, shape, bytes, message) in cases {
        let error = refuse(element_type, shape, bytes);
        assert!(error.contains(message), "{error}");
    }
}
