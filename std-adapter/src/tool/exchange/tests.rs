//! Round trips through each file format, without a checkpoint file.

use super::importer::Layout;
use super::*;
use crate::tool::stream::{Content, Object, Payload, StreamHeader};
use training_monitor::checkpoint::ElementType;

fn tensor(name: &str, element_type: ElementType, shape: &[u32], bytes: Vec<u8>) -> Tensor {
    Tensor { name: name.to_owned(), element_type, shape: shape.to_vec(), payload: Payload::from(bytes), stats: None }
}

/// Encodes a stream in memory.
fn encode(stream: &Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.write(Path::new("test"), &mut bytes).unwrap();
    bytes
}

/// Writes the tensors of a stream as a file and reads the file.
fn round_trip(stream: &Stream, format: Format) -> TensorFile {
    let path = Path::new("test");
    let mut bytes = Vec::new();
    TensorFile::from_stream(path, stream).unwrap().write(format, &mut bytes).unwrap();
    TensorFile::read(path, &Arc::new(Source::from_bytes(bytes))).unwrap()
}

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
            net.push(tensor(&format!("{element_type}.{kind}"), element_type, shape, bytes));
        }
    }
    // The quiet NaN, NaN with a payload, infinities and zeros.
    let special = [0x7FC0_0000, 0x7F80_0001, 0xFFC0_1234, 0x7F80_0000, 0xFF80_0000, 0, 1 << 31_u32];
    let bytes = special.iter().flat_map(|bits: &u32| bits.to_le_bytes()).collect();
    net.push(tensor("special", ElementType::F32, &[7], bytes));
    let objects = vec![
        Object { name: "net.2".to_owned(), content: Content::Tensors(net) },
        Object { name: "seed".to_owned(), content: Content::Value(Payload::from(vec![1, 2, 3])) },
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
    let stream = stream();
    let original = encode(&stream);
    for format in [Format::Safetensors, Format::Npz, Format::Json] {
        let imported = import::to_stream(path, round_trip(&stream, format), None, "model").unwrap();
        assert_eq!(imported.header.metadata, stream.header.metadata, "{format:?}");
        assert!(encode(&imported) == original, "{format:?}");
    }
    // A CSV file has no metadata of the run, so they come from the template.
    let file = round_trip(&stream, Format::Csv);
    assert_eq!(file.tensors.len(), stream.tensors().count());
    let imported = import::to_stream(path, file, Some(stream.clone()), "model").unwrap();
    assert!(encode(&imported) == original);
}

#[test]
fn objects_without_tensors_are_preserved_by_every_format() {
    let path = Path::new("test");
    let object = |name: &str| Object { name: name.to_owned(), content: Content::Tensors(vec![]) };
    let header = StreamHeader { step: 3, sequence: 1, ..StreamHeader::default() };
    let stream = Stream { header, object_names: vec![], objects: vec![object("a"), object("b.c")] };
    for format in [Format::Safetensors, Format::Npz, Format::Json] {
        let imported = import::to_stream(path, round_trip(&stream, format), None, "model").unwrap();
        assert!(encode(&imported) == encode(&stream), "{format:?}");
    }
    let imported = import::to_stream(path, round_trip(&stream, Format::Csv), Some(stream.clone()), "model").unwrap();
    assert!(encode(&imported) == encode(&stream));
}

/// The metadata do not fit into one comment of a zip archive, and contain characters that are not ASCII.
#[test]
fn an_npz_file_has_space_for_large_metadata() {
    let mut stream = stream();
    let value = Content::Value(Payload::from((0..150_000_u32).map(|byte| byte as u8).collect::<Vec<_>>()));
    stream.objects.push(Object { name: "größer".to_owned(), content: value });
    stream.header.metadata.push(("text".to_owned(), "größer 😀".as_bytes().to_vec()));
    let imported = import::to_stream(Path::new("test"), round_trip(&stream, Format::Npz), None, "model").unwrap();
    assert!(encode(&imported) == encode(&stream));
}

#[test]
fn without_metadata_the_first_dot_ends_the_object_name() {
    let path = Path::new("test");
    let tensors =
        ["net.fc.weight", "bias", "net.fc.bias"].map(|name| tensor(name, ElementType::I8, &[1], vec![3])).into();
    let imported = import::to_stream(path, TensorFile { tensors, metadata: None }, None, "model").unwrap();
    let names: Vec<(&str, &str)> = imported.tensors().map(|(object, tensor)| (object, tensor.name.as_str())).collect();
    assert_eq!(names, [("net", "fc.weight"), ("net", "fc.bias"), ("model", "bias")]);
}

#[test]
fn tensors_that_a_checkpoint_cannot_contain_are_refused_by_name() {
    let refuse =
        |shape: &[u64]| Layout::new(Path::new("test"), "net.w", ElementType::F32, shape).err().unwrap().to_string();
    let cases = [
        (&[1; 7][..], "tensor net.w has 7 dimensions; a checkpoint allows at most 6"),
        (&[0, 1 << 32], "tensor net.w has the shape [0, 4294967296]; a dimension must be"),
        (
            &[1 << 16, 1 << 14],
            "tensor net.w has the shape [65536, 16384] and the type f32; a checkpoint allows less than 4 GiB",
        ),
        (&[1 << 31; 6], "a checkpoint allows less than 4 GiB"),
    ];
    for (shape, message) in cases {
        let error = refuse(shape);
        assert!(error.contains(message), "{error}");
    }
    let layout = Layout::new(Path::new("test"), "net.w", ElementType::F32, &[2]).unwrap();
    let error = layout.check_count(Path::new("test"), 1).unwrap_err().to_string();
    assert!(error.contains("tensor net.w has the shape [2], which does not match its 1 element"), "{error}");
}
