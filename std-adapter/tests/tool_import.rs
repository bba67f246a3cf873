//! Import of files that other programs wrote, and of files that are damaged on purpose.

mod tool;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tool::{check_output, json_output, run_tool, train};
use training_monitor::checkpoint::Crc32;
use training_monitor::store::CheckpointMeta;
use training_monitor::store::flash::layout::{CommitRecord, seal_bytes};
use training_monitor_std::Directory;

/// Writes a safetensors file with tensors of f32 that have one dimension.
fn write_safetensors(path: &Path, tensors: &[(&str, &[f32])]) {
    let bytes = |elements: &[f32]| elements.iter().flat_map(|element| element.to_le_bytes()).collect::<Vec<_>>();
    let tensors: Vec<_> = tensors.iter().map(|(name, elements)| (*name, elements.len(), bytes(elements))).collect();
    let views =
        tensors.iter().map(|(name, len, bytes)| (*name, TensorView::new(Dtype::F32, vec![*len], bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Returns the names and the first elements of all tensors, as the export to JSON shows them.
fn tensors(dir: &Path, file: &str) -> serde_json::Value {
    check_output(dir, &["export", file, "--force", "-o", "tensors.json"], 0);
    serde_json::from_slice::<serde_json::Value>(&fs::read(dir.join("tensors.json")).unwrap()).unwrap()["tensors"].take()
}

fn is_fast<T>(run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    result
}

#[test]
fn tensors_are_skipped_renamed_and_cast() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_safetensors(&dir.join("a"), &[("head", &[1.5]), ("m.bias", &[0.1, 2.0]), ("m.steps", &[3.0])]);
    let import = ["import", "a", "--force", "-o", "a.ckpt"];
    let run = |options: &[&str], code| check_output(dir, &[&import[..], options].concat(), code);
    run(&["--skip", "h*", "--rename", "m.bias=net.fc.bias", "--cast", "m.b*=f64", "--cast", "m.steps=i32"], 0);
    let found = tensors(dir, "a.ckpt");
    assert_eq!(found.as_object().unwrap().len(), 2, "{found}");
    assert_eq!(found["net.fc.bias"]["type"], "f64");
    assert_eq!(found["net.fc.bias"]["data"][0].as_f64(), Some(f64::from(0.1_f32)));
    assert_eq!((found["m.steps"]["type"].as_str(), found["m.steps"]["data"][0].as_i64()), (Some("i32"), Some(3)));
    run(&["--cast", "f16"], 0);
    assert_eq!(tensors(dir, "a.ckpt")["model.head"]["type"], "f16");
    // The checkpoint keeps the tensors that are skipped.
    run(&[], 0);
    write_safetensors(&dir.join("a"), &[("head", &[7.5]), ("m.bias", &[9.0, 9.0]), ("other", &[4.0])]);
    let fill = ["import", "a", "--template", "a.ckpt", "-o", "b.ckpt", "--skip", "m.*", "--rename", "other=m.steps"];
    check_output(dir, &fill, 0);
    let found = tensors(dir, "b.ckpt");
    assert_eq!((found["model.head"]["data"][0].as_f64(), found["m.steps"]["data"][0].as_f64()), (Some(7.5), Some(4.0)));
    assert_eq!(found["m.bias"]["data"][1].as_f64(), Some(2.0));
    // The same options apply to a checkpoint.
    let fill = ["import", "b.ckpt", "--template", "a.ckpt", "-o", "c.ckpt", "--skip", "m.*"];
    check_output(dir, &fill, 0);
    assert_eq!(tensors(dir, "c.ckpt")["m.steps"]["data"][0].as_f64(), Some(3.0));

    for (options, message) in [
        (&["--cast", "m.bias=i8", "--rename", "head=m.head"][..], ""),
        (&["--cast", "head=i8"], "element 0 of tensor head is 7.5, which i8 cannot contain"),
        (&["--cast", "f8"], "\"f8\" is not an element type; the types are f32, f64,"),
        (&["--cast", "x*=f64"], "--cast x*: no tensor has such a name"),
        (&["--skip", "fc.*"], "--skip fc.*: no tensor has such a name"),
        (&["--rename", "a=b"], "--rename a=b: no tensor has the name a"),
        (&["--rename", "other=m.bias"], "tensors m.bias and m.bias would both have the name m.bias"),
        (
            &["--template", "c.ckpt", "--skip", "other", "--cast", "m.bias=f64"],
            "has the type f64, but the checkpoint to fill has f32; use --cast m.bias=f32",
        ),
    ] {
        let error = run(options, if message.is_empty() { 0 } else { 2 });
        assert!(error.contains(message), "{options:?}: {error}");
    }
}

#[test]
fn shapes_that_differ_from_the_metadata_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let open = |prefix: &str| Directory::builder(dir.join("run"), prefix).open().unwrap();
    train(open("best"), open("latest"));
    check_output(dir, &["export", "run", "-o", "a.json"], 0);
    let text = fs::read_to_string(dir.join("a.json")).unwrap();
    fs::write(dir.join("b.json"), text.replace(r#""shape":[2,3]"#, r#""shape":[3,2]"#)).unwrap();
    let error = check_output(dir, &["import", "b.json", "-o", "b.ckpt"], 2);
    let expected = "tensor model.fc.weight has the shape [3, 2], but the checkpoint to fill has [2, 3]";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn numbers_that_overflow_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let import = |file: &str, text: &str, message: &str| {
        fs::write(dir.join(file), text).unwrap();
        let error = check_output(dir, &["import", file, "-o", "x.ckpt"], 2);
        assert!(error.contains(message), "{file}: {error}");
    };
    for number in ["1e39", "1e400"] {
        import(
            "a.csv",
            &format!("tensor,type,shape,index,value\nm.w,f32,2,0,1\nm.w,f32,2,1,{number}\n"),
            &format!("line 3: element 1 of tensor m.w is \"{number}\", not a f32"),
        );
        import(
            "a.json",
            &format!(r#"{{"tensors": {{"m.w": {{"shape": [2], "data": [1, {number}]}}}}}}"#),
            "tensor m.w: element 1 is ",
        );
    }
    write_safetensors(&dir.join("a"), &[("m.w", &[1.0])]);
    for (score, message) in [("1e50", "whose largest value is 3.4028235e38"), ("NaN", "not NaN"), ("one", "invalid")] {
        let error = check_output(dir, &["import", "a", "-o", "x.ckpt", "--score", score], 2);
        assert!(error.contains(message), "{score}: {error}");
    }
    check_output(dir, &["import", "a", "-o", "x.ckpt", "--score", "-inf"], 0);
}

#[test]
fn non_finite_weights_give_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut elements = vec![1.0; 5000];
    write_safetensors(&dir.join("finite"), &[("m.w", &elements)]);
    let output = run_tool(dir, &["import", "finite", "-o", "finite.ckpt"]);
    assert!(output.status.success() && output.stderr.is_empty());
    (elements[4321], elements[4400]) = (f32::NAN, f32::INFINITY);
    write_safetensors(&dir.join("nan"), &[("m.bias", &[0.0]), ("m.w", &elements)]);
    let expected = "warning: tensor m.w has 1 NaN and 1 infinite elements; the first is element 4321\n";
    for (input, output) in [("nan", "nan.ckpt"), ("nan.ckpt", "again.ckpt")] {
        let found = run_tool(dir, &["import", input, "-o", output]);
        assert_eq!((found.status.code(), &*String::from_utf8_lossy(&found.stderr)), (Some(0), expected), "{input}");
    }
}

#[test]
fn csv_keeps_tensors_without_elements() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text =
        "tensor,type,shape,index,value\nm.none,f32,0x4,,\nm.one,f32,,0,1.5\n\"m.a,\"\"b\",i8,1,0,-1\nm.last,u8,0,,\n";
    fs::write(dir.join("a.csv"), text).unwrap();
    check_output(dir, &["import", "a.csv", "-o", "a.ckpt"], 0);
    check_output(dir, &["export", "a.ckpt", "-o", "b.csv"], 0);
    assert_eq!(fs::read_to_string(dir.join("b.csv")).unwrap(), text);
    for (line, message) in [
        ("m.w,f32,1x1x1x1x1x1x1,0,1", "tensor m.w has 7 dimensions; a checkpoint allows at most 6"),
        ("m.none,f32,1,0,1", "the file contains tensor m.none twice"),
        ("m.last,u16,0,,", "line 6: tensor m.last has the types u8 and u16"),
        ("m.last,u8,1,0,1", "line 6: tensor m.last has the shapes 0 and 1"),
        ("m.w,f32,2,0,1", "tensor m.w has the shape [2], which does not match its 1 element"),
    ] {
        fs::write(dir.join("bad.csv"), format!("{text}{line}\n")).unwrap();
        let error = check_output(dir, &["import", "bad.csv", "-o", "x.ckpt"], 2);
        assert!(error.contains(message), "{line}: {error}");
    }
    // A file without line breaks.
    fs::write(dir.join("bad.csv"), format!("{text}m.w,{}", "x".repeat(1 << 20))).unwrap();
    let error = check_output(dir, &["import", "bad.csv", "-o", "x.ckpt"], 2);
    assert!(error.contains("a line has more than 4096 bytes"), "{error}");
}

/// The fields of a JSON tensor can have any order, and the type can be omitted.
#[test]
fn json_fields_can_have_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = r#" {"other": [1, {"a": []}], "tensors": {
        "m.i": {"data": [18446744073709551615], "shape": [1], "type": "u64", "note": "x"},
        "m.f": {"shape": [2], "data": [0.5, "NaN"]},
        "m.n": {"data": [], "type": "bool", "shape": [0]}}}"#;
    fs::write(dir.join("a.json"), text).unwrap();
    let output = run_tool(dir, &["import", "a.json", "-o", "a.ckpt"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = tensors(dir, "a.ckpt");
    assert_eq!(found["m.i"]["data"][0].as_u64(), Some(u64::MAX));
    assert_eq!((found["m.f"]["data"][1].as_str(), found["m.n"]["type"].as_str()), (Some("NaN"), Some("bool")));
    for (from, to, message) in [
        (
            r#""m.f": {"shape": [2], "data": [0.5, "NaN"]"#,
            r#""m.i": {"shape": [1], "data": [1]"#,
            "contains tensor m.i twice",
        ),
        ("0.5", "[0.5]", "tensor m.f: element 0: "),
        ("0.5", "{\"a\": 1}", "tensor m.f: element 0: "),
        (r#""shape": [2], "#, "", "tensor m.f: missing field `shape`"),
        ("tensors", "x", "not a JSON file of tensors: missing field `tensors`"),
        (r#""note""#, r#""data": [], "note""#, "tensor m.i has two fields `data`"),
        ("[0]}}}", "[0]}}} x", "Unexpected char: 'x' near byte 2"),
        ("[0]}}}", "[0]}}", "a curly bracket to end the object near byte 242"),
        // Numbers of a form that JSON does not have.
        ("0.5", "0.5, 01", "tensor m.f: "),
        ("0.5", "0.5, .5", "tensor m.f: "),
        ("0.5", "0.5, 1.", "tensor m.f: "),
        ("[1, {", "[1, 2, 03, {", "near byte"),
        ("[1, {", "[{\"a\": 1, 2}, {", "near byte"),
        (r#""shape": [2]"#, r#""shape": [2.5]"#, "tensor m.f: invalid type: floating point `2.5`, expected u64"),
        (r#""shape": [2]"#, r#""shape": 2"#, "tensor m.f: invalid type"),
    ] {
        fs::write(dir.join("bad.json"), text.replacen(from, to, 1)).unwrap();
        let error = check_output(dir, &["import", "bad.json", "-o", "x.ckpt"], 2);
        assert!(error.contains(message), "{to}: {error}");
    }
}

/// Writes an npz file with one array without elements, whose header is `header`.
fn write_npz(path: &Path, header: &str) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    zip.start_file("m.t.npy", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&[b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat())
        .unwrap();
    zip.finish().unwrap();
}

#[test]
fn headers_of_numpy_are_checked_in_linear_time() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (many, few) = ("[".repeat(30_000), "[".repeat(20));
    let header = |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}");
    for (header, message) in [
        (header("'<f4'", &format!("({few},)")), "tensor m.t: the header"),
        (header("'<f4'", &format!("({many},)")), "tensor m.t: the header"),
        (header("[('a', '<f4')]", "(0,)"), "tensor m.t has the type [('a', '<f4')], which a checkpoint does not have"),
        (header("'<c8'", "(0,)"), "tensor m.t has the type <c8, which a checkpoint does not have"),
        (header("'|O'", "(0,)"), "tensor m.t has the type |O"),
        (header("'<f4'", "(1, 1, 1, 1, 1, 1, 1)"), "tensor m.t has 7 dimensions"),
        (header("'<f4'", "(3,)"), "tensor m.t has the shape [3], which does not match its 0 elements"),
    ] {
        write_npz(&dir.join("a.npz"), &header);
        let error = is_fast(|| check_output(dir, &["import", "a.npz", "-o", "x.ckpt"], 2));
        assert!(error.contains(message), "{header:.99}: {error}");
    }
    write_npz(&dir.join("a.npz"), &header("'>f4'", "(0, 7)"));
    check_output(dir, &["import", "a.npz", "-o", "x.ckpt"], 0);
}

/// A program that loads all arrays of an npz file gets only tensors.
#[test]
fn an_npz_file_lists_only_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let open = |prefix: &str| Directory::builder(dir.join("run"), prefix).open().unwrap();
    train(open("best"), open("latest"));
    check_output(dir, &["export", "run", "--series", "latest", "-o", "a.npz"], 0);
    let archive = zip::ZipArchive::new(fs::File::open(dir.join("a.npz")).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(names, ["model.fc.weight.npy", "model.fc.bias.npy"]);
    assert!(String::from_utf8_lossy(archive.comment()).starts_with("training_monitor{\"step\":12"));
    check_output(dir, &["import", "a.npz", "-o", "a.ckpt"], 0);
    check_output(dir, &["diff", "run", "a.ckpt", "--series", "latest", "--newest-b", "--series-b", "a.ckpt"], 0);
}

#[test]
fn damaged_tensor_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_safetensors(&dir.join("a.safetensors"), &[("m.w", &[1.0, 2.0]), ("m.b", &[3.0])]);
    check_output(dir, &["import", "a.safetensors", "-o", "a.ckpt"], 0);
    check_output(dir, &["export", "a.ckpt", "-o", "a.npz"], 0);
    for file in ["a.safetensors", "a.npz"] {
        let bytes = fs::read(dir.join(file)).unwrap();
        for len in 9..bytes.len() {
            fs::write(dir.join("bad"), &bytes[..len]).unwrap();
            check_output(dir, &["import", "bad", "--to", "checkpoint", "-o", "x.ckpt"], 2);
        }
        fs::write(dir.join("bad"), [&bytes[..], b"more"].concat()).unwrap();
        if file == "a.safetensors" {
            let error = check_output(dir, &["import", "bad", "--to", "checkpoint", "-o", "x.ckpt"], 2);
            assert!(error.contains("4 bytes follow the last tensor"), "{error}");
        }
    }
    // A changed element of an npz file does not match the checksum of its member.
    let mut bytes = fs::read(dir.join("a.npz")).unwrap();
    let place = bytes.windows(4).position(|window| window == 2.0_f32.to_le_bytes()).unwrap();
    bytes[place] ^= 1;
    fs::write(dir.join("bad"), &bytes).unwrap();
    let error = check_output(dir, &["import", "bad", "--to", "checkpoint", "-o", "x.ckpt"], 2);
    assert!(error.contains("tensor m.w: ") && error.contains("checksum"), "{error}");
    let header = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &[0; 4]].concat();
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    for (text, message) in [
        (format!(r#"{{"m.w":{entry},"m.w":{entry}}}"#), "tensor m.w starts at 0, not at 4"),
        (
            format!(r#"{{"m.w":{}}}"#, entry.replace("F32", "C64")),
            "tensor m.w has the type C64, which a checkpoint does",
        ),
        (
            format!(r#"{{"m.w":{}}}"#, entry.replace("[1]", "[2]")),
            "tensor m.w has the shape [2], which does not match its 1",
        ),
        (format!(r#"{{"m.w":{}}}"#, entry.replace("[0,4]", "[4,0]")), "tensor m.w has the shape"),
        (format!(r#"{{"m.w":{}}}"#, entry.replace("[0,4]", "[4,8]")), "tensor m.w starts at 4, not at 0"),
        (r#"{"m.w":{"dtype":"F32"}}"#.to_owned(), "tensor m.w has the description"),
    ] {
        fs::write(dir.join("bad"), header(&text)).unwrap();
        let error = check_output(dir, &["import", "bad", "--to", "checkpoint", "-o", "x.ckpt"], 2);
        assert!(error.contains(message), "{text}: {error}");
    }
    // The length of the header is larger than the file and than the memory.
    fs::write(dir.join("bad"), [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    check_output(dir, &["import", "bad", "--to", "checkpoint", "-o", "x.ckpt"], 2);
}

#[test]
fn flash_images_of_impossible_sizes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_safetensors(&dir.join("a"), &[("m.w", &[1.0])]);
    let image = |slots: &str, size: &str| {
        is_fast(|| check_output(dir, &["import", "a", "-o", "x.bin", "--slots", slots, "--slot-size", size], 2))
    };
    assert!(image("4294967295", "4K").contains("4294967295 is not in 2..=256"));
    assert!(image("200", "4K").contains("--slots 200: from 2 to 17 slots are supported"));
    assert!(image("2", "0xffffffffffffffff").contains("the region is larger than 4 GiB"));
    assert!(image("2", "1000M").contains("cannot write the flash image"));
    assert!(!dir.join("x.bin").exists());
    // The last byte of the dump is missing.
    check_output(dir, &["import", "a", "-o", "dump.bin", "--slots", "3", "--slot-size", "256"], 0);
    let bytes = fs::read(dir.join("dump.bin")).unwrap();
    fs::write(dir.join("short.bin"), &bytes[..bytes.len() - 1]).unwrap();
    let error = check_output(dir, &["import", "a", "-o", "x.bin", "--into", "short.bin"], 2);
    assert!(error.contains("the region 0x0..0x300 ends after the end of the dump, which has 767 bytes"), "{error}");
    // The missing slot is reported, and the checkpoint in the first slot is shown.
    let found = json_output(dir, &["inspect", "short.bin", "--json"]);
    assert_eq!(
        (found["series"][0]["checkpoints"][0]["step"].as_u64(), found["intact"].as_bool()),
        (Some(1), Some(false))
    );
    assert_eq!(found["leftovers"][1]["reason"], "the dump of 767 bytes ends before the end of the slot");
}

/// A commit record whose checksum is correct.
fn record(index: u8, size: u32, len: u32) -> [u8; 64] {
    let meta = CheckpointMeta::from(&training_monitor::checkpoint::Header::default());
    let record = CommitRecord { meta, index, last: 255, size, len, erases: 1, total_erases: 4, durable: 0, failed: 0 };
    record.to_bytes::<Crc32>()
}

/// A dump that is full of commit records is read in linear time.
#[test]
fn dumps_full_of_commit_records_do_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    const LEN: usize = 4 << 20;
    let verify = |bytes: &[u8], code| {
        fs::write(dir.join("dump.bin"), bytes).unwrap();
        is_fast(|| check_output(dir, &["verify", "dump.bin"], code))
    };
    // Each record is damaged. The seal of every second one is complete, so this one was committed.
    let mut damaged = record(0, 4096, 4000);
    let seal = seal_bytes(&damaged);
    damaged[20] ^= 1;
    let mut slot = [damaged, [0; 64]].concat();
    verify(&slot.repeat(LEN / 128), 0);
    slot[64..68].copy_from_slice(&seal);
    let found = verify(&slot.repeat(LEN / 128), 1);
    assert!(found.contains("32512 more damaged commit records are not listed"), "{found:.2000}");
    // Each record belongs to another region, and each stream extends to the end of the dump.
    let mut bytes: Vec<u8> =
        (0..LEN / 64).flat_map(|place| record(0, 0xFF_FFFF, (LEN - place * 64).saturating_sub(96) as u32)).collect();
    let error = verify(&bytes, 2);
    assert!(error.contains("commit records of more than 32 regions; use --region and --slots"), "{error}");
    // The records of one region, with blank slots between them.
    bytes.fill(0xFF);
    for index in 0..=255_usize {
        bytes[index * (LEN / 256)..][..64].copy_from_slice(&record(index as u8, (LEN / 256) as u32, 4096));
    }
    verify(&bytes, 0);
    // A checkpoint can contain a tensor with the bytes of commit records.
    let elements: Vec<f32> =
        record(3, 512, 100).repeat(100).as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    write_safetensors(&dir.join("a"), &[("m.w", &elements)]);
    check_output(dir, &["import", "a", "-o", "records.bin", "--slots", "2", "--slot-size", "8K"], 0);
    let found = json_output(dir, &["inspect", "records.bin", "--json"]);
    assert_eq!((found["series"].as_array().map(Vec::len), found["intact"].as_bool()), (Some(1), Some(true)), "{found}");
}
