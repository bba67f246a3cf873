//! Files that violate a rule of the format which the core crate cannot check without memory. The tool and `Directory`
//! refuse the same files.

mod tool;

use std::fs;
use tool::{check_output, json_output};
use training_monitor::checkpoint::{
    Checksum, Contents, Crc32, DecodeError, ObjectVisitor, Objects, StateDict, TensorVisitor, encode,
};
use training_monitor_std::{Directory, InspectError, inspect};

/// An object with two tensors, an object without tensors, and a value.
struct Model;

struct Net;

impl StateDict for Net {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("tensor_a", &mut [1.0_f32; 2])?;
        visitor.tensor("tensor_b", &mut [2_i8; 3])
    }
}

struct Nothing;

impl StateDict for Nothing {
    fn tensors<V: TensorVisitor>(&mut self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
}

impl Objects for Model {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("object_a", &mut Net)?;
        visitor.state_dict("object_b", &mut Nothing)?;
        visitor.value("object_c", &mut 7_u32)
    }
}

fn encoded(single_object: Option<&str>) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let contents = Contents { single_object, ..Contents::new(1) };
    let encoded = encode(&mut &mut bytes[..], &contents, &mut Model).unwrap();
    bytes.truncate(encoded.len as usize);
    bytes
}

/// Replaces the last occurrence of a name by another name of the same length, and repairs the checksum.
fn rename(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let place = bytes.windows(from.len()).rposition(|window| window == from.as_bytes()).unwrap();
    bytes[place..][..to.len()].copy_from_slice(to.as_bytes());
    let (content, checksum) = bytes.split_last_chunk_mut::<4>().unwrap();
    let mut crc = Crc32::default();
    crc.update(content);
    *checksum = crc.value().to_le_bytes();
    bytes
}

/// A checkpoint that ends within a name.
fn truncated_in(name: &str) -> Vec<u8> {
    let mut bytes = encoded(None);
    let place = bytes.windows(name.len()).rposition(|window| window == name.as_bytes()).unwrap();
    bytes.truncate(place + 1);
    bytes
}

/// The name of a file, its bytes, and the reason why they are no valid checkpoint.
fn invalid_files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let one = || encoded(Some("object_a"));
    vec![
        (
            "tensors",
            rename(encoded(None), "tensor_b", "tensor_a"),
            "object `object_a` of the checkpoint contains tensor `tensor_a` twice",
        ),
        ("objects", rename(encoded(None), "object_b", "object_a"), "the checkpoint contains object `object_a` twice"),
        ("value", rename(encoded(None), "object_c", "object_b"), "the checkpoint contains object `object_b` twice"),
        ("list", rename(one(), "object_c", "object_b"), "the checkpoint contains object `object_b` twice"),
        (
            "unlisted",
            rename(one(), "object_a", "object_x"),
            "the checkpoint contains object `object_x`, which is not in its list of objects",
        ),
        (
            "tensor name",
            rename(encoded(None), "tensor_b", "tensor/b"),
            "the checkpoint is malformed in or after `object_a.tensor_a`",
        ),
        (
            "object name",
            rename(encoded(None), "object_c", "object/c"),
            "the checkpoint is malformed in or after `object_b`",
        ),
        ("truncated", truncated_in("tensor_b"), "the checkpoint is truncated in or after `object_a.tensor_a`"),
        ("longer", [encoded(None), vec![0; 3]].concat(), "3 bytes follow the end of the checkpoint"),
    ]
}

#[test]
fn the_tool_refuses_duplicate_names_and_unlisted_objects() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("all", encoded(None)), ("one", encoded(Some("object_b")))] {
        fs::write(dir.path().join(name), bytes).unwrap();
        check_output(dir.path(), &["verify", name], 0);
    }
    for (name, bytes, reason) in invalid_files() {
        fs::write(dir.path().join(name), &bytes).unwrap();
        let text = check_output(dir.path(), &["verify", name], 1);
        assert!(text.contains(reason), "{name}: {text}");
        let shown = json_output(dir.path(), &["inspect", name, "--json"]);
        assert_eq!(shown["leftovers"][0]["state"], "damaged", "{name}");
        let error = inspect(&mut &bytes[..], &mut [0; 64], &mut ()).unwrap_err();
        assert_eq!(error.to_string(), reason, "{name}");
    }
    let truncated = inspect(&mut &encoded(None)[..20], &mut [0; 64], &mut ());
    assert_eq!(truncated, Err(InspectError::Decode(DecodeError::Truncated)));
}

#[test]
fn a_directory_and_the_tool_refuse_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    for (index, (_, bytes, _)) in invalid_files().into_iter().enumerate() {
        fs::write(dir.path().join(format!("best_object_a_{index}.ckpt")), bytes).unwrap();
    }
    let directory = Directory::builder(dir.path(), "best").require_empty(false).open().unwrap();
    let incomplete = directory.incomplete().count();
    let shown = json_output(dir.path(), &["inspect", ".", "--json"]);
    let damaged = shown["leftovers"].as_array().unwrap().iter().filter(|item| item["state"] == "damaged").count();
    assert_eq!((incomplete, damaged), (invalid_files().len(), invalid_files().len()), "{shown:#}");
}

#[test]
fn objects_without_tensors_survive_export_and_import() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("all", encoded(None)), ("one", encoded(Some("object_b")))] {
        fs::write(dir.path().join(name), &bytes).unwrap();
        check_output(dir.path(), &["export", name, "--to", "safetensors", "-o", "file", "--force"], 0);
        check_output(dir.path(), &["import", "file", "--to", "checkpoint", "-o", "back", "--force"], 0);
        assert!(fs::read(dir.path().join("back")).unwrap() == bytes, "{name}");
    }
}
