//! The tool with files that are larger than the memory that it may use, and with input that has no end.
//!
//! The tests use tensors of 14 to 96 MiB. The measurements with a tensor of 1 GiB take minutes, and need 40 GB in the
//! directory of temporary files (`TMPDIR`):
//!
//! ```text
//! cargo test --release -p training-monitor-std --features tool --test tool_streaming -- --ignored --nocapture
//! ```

#![cfg(target_os = "linux")] // The memory of a process is read from /proc.

#[path = "tool_streaming/measure.rs"]
mod measure;
mod tool;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tool::run_tool;
use training_monitor::checkpoint::{
    Contents, ElementType, Header, Named, StateDict, TensorChunks, TensorUnavailable, TensorVisitor, encode_with,
    measure,
};
use training_monitor::embedded_io;
use training_monitor::store::{Store, StreamSpec};
use training_monitor_std::{Crc32Fast, Directory};

/// The memory that each command may use, in KiB.
const LIMIT: u64 = 64 * 1024;

/// A tensor of f32 that is not in memory.
struct Large {
    /// The number of elements.
    len: u32,
    /// A number that is added to every thousandth element.
    offset: u32,
}

/// The elements of a chunk.
fn elements(chunk: u32, offset: u32) -> impl Iterator<Item = f32> {
    (0..1024_u32).map(move |index| {
        // Numbers with about seven digits, as weights have them. The exponents vary.
        let bits = (chunk * 1024 + index).wrapping_mul(2_654_435_761);
        let number = f32::from_bits(0x3C00_0000 | bits >> 6 & 0x03FF_FFFF) - 0.25;
        if index % 1000 == 7 { number + offset as f32 } else { number }
    })
}

impl TensorChunks for Large {
    fn chunks(
        &mut self,
        receive: &mut dyn FnMut(&[u8]) -> Result<(), TensorUnavailable>,
    ) -> Result<(), TensorUnavailable> {
        let mut bytes = [0; 4096];
        for chunk in 0..self.len / 1024 {
            bytes.as_chunks_mut::<4>().0.iter_mut().zip(elements(chunk, self.offset)).for_each(|(to, element)| {
                *to = element.to_le_bytes();
            });
            receive(&bytes)?;
        }
        Ok(())
    }
}

impl StateDict for Large {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let sides = [self.len / 1024, 1024];
        visitor.visit_chunks("weight", ElementType::F32, &sides, self)
    }
}

/// The contents of a checkpoint whose elements are not checked.
const CONTENTS: Contents<'static> = Contents { allow_non_finite: true, ..Contents::new(1) };

/// Lets the encoder write to a file.
struct FileWriter(BufWriter<File>);

impl embedded_io::ErrorType for FileWriter {
    type Error = embedded_io::ErrorKind;
}

impl embedded_io::Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, embedded_io::ErrorKind> {
        self.0.write(bytes).map_err(other)
    }
    fn flush(&mut self) -> Result<(), embedded_io::ErrorKind> {
        self.0.flush().map_err(other)
    }
}

fn other(error: io::Error) -> embedded_io::ErrorKind {
    panic!("cannot write the file of the test: {error}")
}

/// Writes a checkpoint file with a tensor of `mebibytes` MiB.
fn write_large(path: &Path, mebibytes: u32, offset: u32) {
    let large = Large { len: mebibytes << 18, offset };
    let mut writer = FileWriter(BufWriter::new(File::create(path).unwrap()));
    encode_with::<Crc32Fast, _, _>(&mut writer, &CONTENTS, &mut Named::new("model", large)).unwrap();
}

/// The result of a command.
struct Finished {
    code: Option<i32>,
    /// The largest amount of memory that the process used, in KiB.
    peak: u64,
    time: Duration,
}

/// Runs the tool. `stdin` is the file that a pipe passes to its standard input.
fn run(dir: &Path, line: &str, stdin: Option<&str>) -> Finished {
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    command.args(line.split(' ')).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut pipe = stdin.map(|file| {
        Command::new("cat").arg(file).current_dir(dir).stdout(Stdio::piped()).spawn().expect("the test needs cat")
    });
    if let Some(pipe) = &mut pipe {
        command.stdin(pipe.stdout.take().unwrap());
    }
    let mut child = command.spawn().unwrap();
    // The command holds the end of the pipe. `cat` ends only when the tool and this process have closed it.
    drop(command);
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        // The value never decreases, and a process that has ended has none.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let time = start.elapsed();
    if let Some(mut pipe) = pipe {
        pipe.wait().unwrap();
    }
    Finished { code, peak, time }
}

/// Runs the tool and checks its exit code and its memory.
fn check(dir: &Path, line: &str, stdin: Option<&str>, code: i32) {
    let finished = run(dir, line, stdin);
    assert_eq!(finished.code, Some(code), "{line}");
    assert!(finished.peak <= LIMIT, "{line}: {} KiB", finished.peak);
    // Only a process that ends at once can escape the measurement.
    assert!(finished.peak > 0 || finished.time < Duration::from_millis(100), "{line}: {:?}", finished.time);
}

#[test]
fn binary_files_are_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_large(&dir.join("a.ckpt"), 96, 0);
    write_large(&dir.join("b.ckpt"), 96, 1);
    for line in ["verify a.ckpt", "inspect a.ckpt", "inspect a.ckpt --json", "diff a.ckpt a.ckpt"] {
        check(dir, line, None, 0);
    }
    check(dir, "diff a.ckpt b.ckpt", None, 1);
    // Two elements of each chunk differ.
    let found = tool::json_output(dir, &["diff", "a.ckpt", "b.ckpt", "--json"]);
    let change = &found["items"][0]["change"];
    assert_eq!((change["changed"].as_u64(), change["elements"].as_u64()), (Some(96 << 9), Some(96 << 18)), "{found}");
    check(dir, "diff a.ckpt b.ckpt --atol 1.01", None, 0);
    for format in ["npz", "safetensors"] {
        check(dir, &format!("export a.ckpt -o a.{format}"), None, 0);
        check(dir, &format!("import a.{format} --force -o back.ckpt"), None, 0);
        assert!(same_bytes(&dir.join("a.ckpt"), &dir.join("back.ckpt")), "{format}");
        check(dir, &format!("diff a.ckpt a.{format}"), None, 0);
        // The same from a pipe.
        check(dir, "import - --force -o back.ckpt", Some(&format!("a.{format}")), 0);
        assert!(same_bytes(&dir.join("a.ckpt"), &dir.join("back.ckpt")), "{format}");
    }
    check(dir, "import a.npz --cast f16 --template a.ckpt -o x.ckpt", None, 2);
    check(dir, "verify -", Some("a.ckpt"), 0);
    check(dir, "export - -o piped.npz", Some("a.ckpt"), 0);
    assert!(same_bytes(&dir.join("a.npz"), &dir.join("piped.npz")));
}

#[test]
fn text_files_are_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_large(&dir.join("a.ckpt"), 32, 0);
    for format in ["csv", "json"] {
        check(dir, &format!("export a.ckpt -o a.{format}"), None, 0);
        check(dir, &format!("import a.{format} --template a.ckpt --force -o back.ckpt"), None, 0);
        assert!(same_bytes(&dir.join("a.ckpt"), &dir.join("back.ckpt")), "{format}");
    }
    check(dir, "diff a.csv a.json", None, 0);
}

#[test]
fn directories_are_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_directory(&dir.join("run"), 96);
    for line in ["verify run", "inspect run", "inspect run --json", "export run -o run.npz", "diff run run.npz"] {
        check(dir, line, None, 0);
    }
}

/// Saves a checkpoint with a tensor of `mebibytes` MiB in a directory.
fn write_directory(path: &Path, mebibytes: u32) {
    let mut directory = Directory::builder(path, "latest").durable(false).open().unwrap();
    let mut large = Named::new("model", Large { len: mebibytes << 18, offset: 0 });
    let header = Header { step: 1, sequence: 1, save_id: 9, ..Header::default() };
    let contents = Contents { header, single_object: Some("model"), ..CONTENTS };
    let len = measure(&contents, &mut large).unwrap();
    let spec = StreamSpec { header, object: Some("model"), stream_index: 0, stream_count: 1, len };
    let encoded = encode_with::<Crc32Fast, _, _>(&mut directory.create(&spec).unwrap(), &contents, &mut large).unwrap();
    directory.commit(&header, &encoded).unwrap();
}

#[test]
fn flash_dumps_are_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_large(&dir.join("a.ckpt"), 14, 0);
    check(dir, "import a.ckpt -o dump.bin --slots 17 --slot-size 15M", None, 0);
    check(dir, "import a.ckpt -o new.bin --into dump.bin", None, 0);
    assert_eq!(fs::metadata(dir.join("new.bin")).unwrap().len(), (17 * 15) << 20);
    for line in ["verify new.bin", "inspect new.bin --json", "export new.bin -o a.npz", "diff a.ckpt new.bin"] {
        check(dir, line, None, 0);
    }
    check(dir, "verify -", Some("new.bin"), 0);
}

#[test]
fn columns_and_compressed_arrays_are_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Two arrays of 96 MiB: one in column-major order, and one that is compressed and in big-endian byte order.
    let mut zip = zip::ZipWriter::new(File::create(dir.join("a.npz")).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (name, method, descriptor, columns) in [
        ("rows", zip::CompressionMethod::STORE, "<f4", "True"),
        ("big", zip::CompressionMethod::Deflated, ">f4", "False"),
    ] {
        zip.start_file(format!("m.{name}.npy"), options.compression_method(method)).unwrap();
        let text = format!("{{'descr': '{descriptor}', 'fortran_order': {columns}, 'shape': (6144, 4096)}}\n");
        zip.write_all(&[b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat())
            .unwrap();
        // The element in row r and column c is r % 4096. A column-major file contains one column after the other.
        for run in 0..6144_u32 * 4096 / 1024 {
            let element = |index: u32| match name {
                "rows" => ((run * 1024 + index) % 6144 % 4096) as f32,
                _ => ((run * 1024 + index) / 4096 % 4096) as f32,
            };
            let bytes = |index| if name == "big" { element(index).to_be_bytes() } else { element(index).to_le_bytes() };
            let chunk: Vec<u8> = (0..1024).flat_map(bytes).collect();
            zip.write_all(&chunk).unwrap();
        }
    }
    zip.finish().unwrap();
    check(dir, "import a.npz -o a.ckpt", None, 0);
    check(dir, "import a.npz -o b.ckpt --skip m.rows --rename m.big=m.rows", None, 0);
    // Both arrays contain the same numbers.
    let found = tool::json_output(dir, &["diff", "a.ckpt", "b.ckpt", "--json"]);
    let item =
        |name: &str| found["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone();
    assert_eq!(item("m.rows")["change"]["changed"], 0, "{found}");
    assert_eq!(item("m.rows")["change"]["elements"], 6144 * 4096);
    assert_eq!(item("m.big")["only_in"], "first");
}

/// A device without an end is refused at its first bytes. A pipe that begins like a flash dump is refused when it has
/// passed 64 MiB without a commit record.
#[test]
fn endless_input_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_large(&dir.join("a.ckpt"), 1, 0);
    for line in [
        "verify /dev/zero",
        "inspect /dev/zero",
        "diff a.ckpt /dev/zero",
        "diff /dev/urandom a.ckpt",
        "export /dev/zero -o x.npz",
        "import /dev/zero -o x.ckpt",
        "import a.ckpt --template /dev/zero -o x.ckpt",
        "import a.ckpt --into /dev/zero -o x.bin",
    ] {
        check(dir, line, None, 2);
        let output = run_tool(dir, &line.split(' ').collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("it is a device without an end"), "{line}: {error}");
    }
    check(dir, "verify -", Some("/dev/zero"), 2);
    check(dir, "import - -o x.ckpt", Some("/dev/zero"), 2);
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
}

fn same_bytes(a: &Path, b: &Path) -> bool {
    let (mut a, mut b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let (mut a_bytes, mut b_bytes) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = a.read(&mut a_bytes).unwrap();
        if count == 0 {
            return b.read(&mut b_bytes).unwrap() == 0;
        }
        if b.read_exact(&mut b_bytes[..count]).is_err() || a_bytes[..count] != b_bytes[..count] {
            return false;
        }
    }
}
