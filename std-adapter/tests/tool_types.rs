//! The tool with tensors of every element type: statistics, differences, exact round trips, and files of PyTorch.

mod tool;

use safetensors::Dtype;
use safetensors::tensor::TensorView as FileTensor;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tool::{check_output, json_output};
use training_monitor::checkpoint::{
    Contents, ElementType, ObjectVisitor, Objects, StateDict, TensorView, TensorVisitor, encode,
};

/// A checkpoint with three tensors of each element type: some elements, no elements, and a scalar.
struct AllTypes {
    /// The number of bytes by which the elements differ from those of another checkpoint.
    offset: u8,
    counter: u32,
}

/// The bytes of `len` elements. They contain the limits of integers, numbers beyond 2^53, and NaN with a payload.
fn elements(element_type: ElementType, len: usize, offset: u8) -> Vec<u8> {
    let size = element_type.size() as usize;
    let element = |index: usize| -> Vec<u8> {
        let bits = match (element_type, index) {
            (ElementType::Bool, _) => u64::from(index.is_multiple_of(3)),
            (ElementType::F32, 0) => 0xFFC0_1234,
            (ElementType::F64, 0) => 0x7FF0_0000_0000_0001,
            (ElementType::F16, 0) => 0x7D01,
            (ElementType::Bf16, 0) => 0xFF81,
            (_, 0) => u64::MAX,
            (_, 1) => 1 << (element_type.size() * 8 - 1),
            (_, 2) => (1 << (element_type.size() * 8 - 1)) - 1,
            (_, 3) => (1 << 53) + 1,
            _ => index as u64 + u64::from(offset),
        };
        bits.to_le_bytes()[..size].to_vec()
    };
    (0..len).flat_map(element).collect()
}

impl StateDict for AllTypes {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        for element_type in ElementType::ALL {
            for (kind, shape) in [("some", &[2, 5][..]), ("none", &[3, 0]), ("one", &[])] {
                let len = shape.iter().product::<u32>() as usize;
                let mut bytes = elements(element_type, len, self.offset);
                let name = format!("{element_type}.{kind}");
                visitor.visit_tensor(&name, TensorView::from_bytes(element_type, shape, &mut bytes))?;
            }
        }
        Ok(())
    }
}

impl Objects for AllTypes {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let mut counter = self.counter;
        visitor.state_dict("net", self)?;
        visitor.value("counter", &mut counter)
    }
}

/// Writes a checkpoint file and returns its bytes.
fn write_checkpoint(path: &Path, offset: u8) -> Vec<u8> {
    let contents = Contents {
        allow_non_finite: true,
        metadata: &[("batch", &[0xFF, 0, 7]), ("firmware", b"1.2.3")],
        ..Contents::new(7)
    };
    let mut bytes = vec![0; 1 << 14];
    let encoded = encode(&mut &mut bytes[..], &contents, &mut AllTypes { offset, counter: 300 }).unwrap();
    bytes.truncate(encoded.len as usize);
    fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn each_format_preserves_every_type_and_the_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let original = write_checkpoint(&dir.path().join("all.ckpt"), 0);
    for format in ["safetensors", "npz", "json", "csv"] {
        check_output(dir.path(), &["export", "all.ckpt", "--to", format, "-o", "file", "--force"], 0);
        let mut import = vec!["import", "file", "--to", "checkpoint", "-o", "back.ckpt", "--force"];
        if format == "csv" {
            import.extend(["--template", "all.ckpt"]);
        }
        check_output(dir.path(), &import, 0);
        assert!(fs::read(dir.path().join("back.ckpt")).unwrap() == original, "{format}");
    }
    // All tensors of the CSV file are read from it. None of them comes from the template.
    write_checkpoint(&dir.path().join("other.ckpt"), 1);
    check_output(
        dir.path(),
        &["import", "file", "--to", "checkpoint", "-o", "back.ckpt", "--force", "--template", "other.ckpt"],
        0,
    );
    check_output(dir.path(), &["diff", "all.ckpt", "back.ckpt"], 0);
    // Also in a flash image.
    let image = ["import", "all.ckpt", "--to", "flash-image", "--slots", "2", "--slot-size", "16K", "-o", "image.bin"];
    check_output(dir.path(), &image, 0);
    check_output(dir.path(), &["diff", "all.ckpt", "image.bin"], 0);
    let shown = json_output(dir.path(), &["inspect", "image.bin", "--json"]);
    assert_eq!(shown["series"][0]["checkpoints"][0]["metadata"][1]["text"], "1.2.3");
}

#[test]
fn inspect_shows_types_exact_statistics_and_metadata() {
    let dir = tempfile::tempdir().unwrap();
    write_checkpoint(&dir.path().join("all.ckpt"), 0);
    let text = check_output(dir.path(), &["inspect", "all.ckpt"], 0);
    for part in [
        concat!("writer  training-monitor ", env!("CARGO_PKG_VERSION")),
        "metadata  batch  ff0007",
        "metadata  firmware  1.2.3",
        "-9223372036854775808",
        "18446744073709551615",
        "4 true",
        "2 NaN",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let row = text.lines().find(|line| line.contains("net.bf16.some")).unwrap();
    assert!(row.contains("bf16") && row.contains("2×5"), "{row}");

    let shown = json_output(dir.path(), &["inspect", "all.ckpt", "--json"]);
    let checkpoint = &shown["series"][0]["checkpoints"][0];
    assert_eq!(checkpoint["writer"], env!("CARGO_PKG_VERSION"));
    assert_eq!(checkpoint["metadata"][0], serde_json::json!({ "name": "batch", "text": null, "bytes": "ff0007" }));
    let tensors = checkpoint["tensors"].as_array().unwrap();
    let stats = |name: &str| &tensors.iter().find(|tensor| tensor["name"] == name).unwrap()["stats"];
    assert_eq!(tensors[0]["type"], "f32");
    assert_eq!(
        (stats("i64.some")["min"].as_i64(), stats("i64.some")["max"].as_i64()),
        (Some(i64::MIN), Some(i64::MAX))
    );
    assert_eq!(stats("u64.some")["max"].as_u64(), Some(u64::MAX));
    assert_eq!((stats("i8.some")["min"].as_i64(), stats("i8.some")["max"].as_i64()), (Some(-128), Some(127)));
    assert_eq!((stats("bool.some")["true"].as_u64(), stats("bool.some")["zeros"].as_f64()), (Some(4), Some(0.6)));
    assert_eq!((stats("f16.some")["nan"].as_u64(), stats("f16.none")["elements"].as_u64()), (Some(2), Some(0)));
}

#[test]
fn diff_is_exact_for_integers_and_reports_other_types() {
    let dir = tempfile::tempdir().unwrap();
    write_checkpoint(&dir.path().join("a.ckpt"), 0);
    write_checkpoint(&dir.path().join("b.ckpt"), 1);
    assert!(check_output(dir.path(), &["diff", "a.ckpt", "a.ckpt"], 0).contains("no difference"));
    let found = json_output(dir.path(), &["diff", "a.ckpt", "b.ckpt", "--json"]);
    let change = |name: &str| {
        found["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap()["change"].clone()
    };
    // Six of ten elements differ by one unit in the last place. NaN with equal bits is no difference.
    for name in ["net.u64.some", "net.i8.some", "net.f16.some"] {
        assert_eq!(change(name)["changed"].as_u64(), Some(6), "{name}");
    }
    assert_eq!(change("net.i64.some")["max_abs"].as_u64(), Some(1));
    assert_eq!(change("net.bool.some")["changed"].as_u64(), Some(0));

    // The difference of the largest and the smallest i64 needs 64 bits. Another type is a difference.
    let write = |name: &str, tensor: &str| fs::write(dir.path().join(name), tensor).unwrap();
    write(
        "a.json",
        r#"{"tensors": {"m.i": {"type": "i64", "shape": [1], "data": [-9223372036854775808]},
        "m.t": {"type": "i8", "shape": [1], "data": [1]}}}"#,
    );
    write(
        "b.json",
        r#"{"tensors": {"m.i": {"type": "i64", "shape": [1], "data": [9223372036854775807]},
        "m.t": {"type": "u8", "shape": [1], "data": [1]}}}"#,
    );
    for name in ["a", "b"] {
        let (from, to) = (format!("{name}.json"), format!("{name}.ckpt"));
        check_output(dir.path(), &["import", &from, "-o", &to, "--force"], 0);
    }
    let text = check_output(dir.path(), &["diff", "a.ckpt", "b.ckpt"], 1);
    assert!(text.contains("18446744073709551615") && text.contains("i8 1 and u8 1"), "{text}");
    let found = json_output(dir.path(), &["diff", "a.ckpt", "b.ckpt", "--json"]);
    assert_eq!(found["items"][0]["change"]["max_abs"].as_u64(), Some(u64::MAX));
    assert_eq!(found["items"][1]["types"], serde_json::json!(["i8", "u8"]));
}

/// The name, the type, the shape and the bytes of a tensor in a safetensors file.
type FileEntry<'a> = (&'a str, Dtype, &'a [usize], &'a [u8]);

/// Writes a safetensors file as PyTorch does: only the metadata entry "format".
fn write_safetensors(path: &Path, tensors: &[FileEntry<'_>]) {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, FileTensor::new(*dtype, shape.to_vec(), bytes).unwrap()));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    fs::write(path, safetensors::serialize(views.collect::<Vec<_>>(), Some(metadata)).unwrap()).unwrap();
}

#[test]
fn a_pytorch_model_is_imported_without_options() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("encoder.{}", "n".repeat(255));
    write_safetensors(
        &dir.path().join("model.safetensors"),
        &[
            ("conv1.weight", Dtype::BF16, &[2, 1, 1, 2], &[0x81, 0xFF, 0, 0, 0x80, 0x3F, 1, 2]),
            ("bn1.running_mean", Dtype::F32, &[2], &[0, 0, 128, 63, 0, 0, 192, 127]),
            ("bn1.num_batches_tracked", Dtype::I64, &[], &i64::MAX.to_le_bytes()),
            (&long, Dtype::BOOL, &[3], &[1, 0, 1]),
            ("scale", Dtype::F64, &[0], &[]),
        ],
    );
    check_output(dir.path(), &["import", "model.safetensors", "--to", "checkpoint", "-o", "model.ckpt"], 0);
    check_output(dir.path(), &["verify", "model.ckpt"], 0);
    let shown = json_output(dir.path(), &["inspect", "model.ckpt", "--json"]);
    let tensors = shown["series"][0]["checkpoints"][0]["tensors"].as_array().unwrap();
    let found = |object: &str, name: &str| tensors.iter().find(|t| t["object"] == object && t["name"] == name).unwrap();
    assert_eq!(found("bn1", "num_batches_tracked")["stats"]["min"].as_i64(), Some(i64::MAX));
    assert_eq!(found("bn1", "num_batches_tracked")["shape"], serde_json::json!([]));
    assert_eq!(found("conv1", "weight")["type"], "bf16");
    assert_eq!(found("encoder", &"n".repeat(255))["stats"]["true"].as_u64(), Some(2));
    assert_eq!(found("model", "scale")["type"], "f64");
    // The file that the tool exports contains the same tensors.
    check_output(dir.path(), &["export", "model.ckpt", "--to", "safetensors", "-o", "back.safetensors"], 0);
    let (original, back) =
        ["model", "back"].map(|name| fs::read(dir.path().join(format!("{name}.safetensors")))).into();
    let (original, back) = (original.unwrap(), back.unwrap());
    let (original, back) =
        (safetensors::SafeTensors::deserialize(&original), safetensors::SafeTensors::deserialize(&back));
    let back = back.unwrap();
    for (name, tensor) in original.unwrap().tensors() {
        let name = if name == "scale" { "model.scale".to_owned() } else { name };
        let other = back.tensor(&name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape(), tensor.data()), (other.dtype(), other.shape(), other.data()));
    }
}

#[test]
fn refusals_name_the_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("encoder.{}", "n".repeat(256));
    let refused: [(&str, &[FileEntry<'_>], &str); 5] = [
        (
            "f8",
            &[("m.w", Dtype::F8_E4M3, &[1], &[1])],
            "tensor m.w has the type F8_E4M3, which a checkpoint does not have",
        ),
        ("rank", &[("m.w", Dtype::U8, &[1; 7], &[1])], "tensor m.w has 7 dimensions; a checkpoint allows at most 6"),
        ("bool", &[("m.w", Dtype::BOOL, &[2], &[1, 2])], "tensor m.w has the type bool, but an element is neither"),
        ("long", &[(&long, Dtype::U8, &[1], &[1])], "has a name of 256 bytes; a checkpoint allows 1 to 255 bytes"),
        (
            "names",
            &[("a", Dtype::U8, &[1], &[1]), ("model.a", Dtype::U8, &[1], &[1])],
            "tensors a and model.a would both have the name model.a; use --object or --rename",
        ),
    ];
    for (file, tensors, message) in refused {
        write_safetensors(&dir.path().join(file), tensors);
        let text = check_output(dir.path(), &["import", file, "--to", "checkpoint", "-o", "x"], 2);
        assert!(text.contains(message), "{file}: {text}");
    }
    let texts = [
        (
            r#"{"tensors": {"m.w": {"type": "i8", "shape": [2], "data": [1, 128]}}}"#,
            "tensor m.w: element 1 is 128, not a i8",
        ),
        (r#"{"tensors": {"m.w": {"type": "f8", "shape": [1], "data": [1]}}}"#, "tensor m.w has the type \"f8\""),
        ("tensor,type,shape,index,value\nm.w,u64,1,0,-1\n", "line 2: element 0 of tensor m.w is \"-1\", not a u64"),
        ("tensor,type,shape,index,value\nm.w,f16,1,0,7e4\n", "line 2: element 0 of tensor m.w is \"7e4\", not a f16"),
    ];
    for (text, message) in texts {
        fs::write(dir.path().join("text"), text).unwrap();
        let text = check_output(dir.path(), &["import", "text", "--to", "checkpoint", "-o", "x"], 2);
        assert!(text.contains(message), "{text}");
    }
    // A tensor must have the type of the checkpoint that the file fills.
    write_checkpoint(&dir.path().join("all.ckpt"), 0);
    check_output(dir.path(), &["export", "all.ckpt", "--to", "json", "-o", "all.json"], 0);
    let text = fs::read_to_string(dir.path().join("all.json")).unwrap();
    let other = text.replacen("\"type\":\"i32\"", "\"type\":\"i64\"", 1);
    assert_ne!(other, text);
    fs::write(dir.path().join("other.json"), other).unwrap();
    let text = check_output(dir.path(), &["import", "other.json", "--to", "checkpoint", "-o", "x"], 2);
    assert!(text.contains("has the type i64, but the checkpoint to fill has i32"), "{text}");
}
