//! Measures the commands with large tensors.

use super::tool::Model;
use super::{Finished, LIMIT, elements, run, write_directory, write_large};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use training_monitor::checkpoint::{Contents, Header, Named, encode};

/// Prints the memory and the time of each command with a tensor of 1 GiB, or of the number of MiB in the environment
/// variable `MEBIBYTES`. Each time is divided by that of a loop that does the same work once, with buffers of the same size.
///
/// Commands and loops run alternately, and the shortest time of each is taken, because the speed of a machine changes
/// while other programs run. With a file system in memory as `TMPDIR`, the ratio does not depend on the disk.
#[test]
#[ignore = "needs minutes and 40 GB"]
fn measure_a_tensor_of_one_gibibyte() {
    let mebibytes = std::env::var("MEBIBYTES").map_or(1024, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_large(&dir.join("a.ckpt"), mebibytes, 0);
    write_large(&dir.join("b.ckpt"), mebibytes, 1);
    write_directory(&dir.join("run"), mebibytes);
    let read = || read_and_sum(&dir.join("a.ckpt"));
    let read_both = || read_and_sum(&dir.join("a.ckpt")) + read_and_sum(&dir.join("b.ckpt"));
    let copy = || read_and_sum(&dir.join("a.ckpt")) + read_and_sum(&dir.join("a.ckpt")) + write(dir, mebibytes);
    let format_csv = || write_text(dir, mebibytes, true);
    let format_json = || write_text(dir, mebibytes, false);
    let parse_csv = || parse_text(dir, mebibytes, true) + write(dir, mebibytes);
    let parse_json = || parse_text(dir, mebibytes, false) + write(dir, mebibytes);
    println!("{:<44} {:>8} {:>9} {:>9} {:>7} {:>7}", "command", "peak MiB", "time", "loop", "ratio", "budget");
    let commands: [(&str, &dyn Fn() -> Duration); 15] = [
        ("verify a.ckpt", &read),
        ("inspect a.ckpt", &read),
        ("verify run", &read),
        ("inspect run", &read),
        ("diff a.ckpt a.ckpt", &read_both),
        ("diff a.ckpt b.ckpt", &read_both),
        ("export a.ckpt --force -o a.npz", &copy),
        ("export a.ckpt --force -o a.safetensors", &copy),
        ("export run --force -o run.npz", &copy),
        ("import a.npz --force -o c.ckpt", &copy),
        ("import a.safetensors --force -o c.ckpt", &copy),
        ("export a.ckpt --force -o a.csv", &format_csv),
        ("export a.ckpt --force -o a.json", &format_json),
        ("import a.csv --force -o c.ckpt", &parse_csv),
        ("import a.json --force -o c.ckpt", &parse_json),
    ];
    for (line, work) in commands {
        let code = i32::from(line.ends_with("b.ckpt"));
        let converts_text = line.contains(".csv") || line.contains(".json");
        let (mut peak, mut time, mut base) = (0, Duration::MAX, Duration::MAX);
        for _ in 0..if converts_text { 3 } else { 7 } {
            base = base.min(work());
            let finished = run(dir, line, None);
            assert_eq!(finished.code, Some(code), "{line}");
            (peak, time) = (peak.max(finished.peak), time.min(finished.time));
        }
        let ratio = time.as_secs_f64() / base.as_secs_f64();
        println!("{line:<44} {:>8.1} {time:>9.2?} {base:>9.2?} {ratio:>7.2} {:>7.2}", peak as f64 / 1024.0, 1.5);
        assert!(peak <= LIMIT, "{line}: {peak} KiB");
    }
    let files = ten_thousand_checkpoints(&dir.join("many"));
    for line in ["inspect many", "verify many"] {
        let runs: Vec<Finished> = (0..3).map(|_| run(dir, line, None)).collect();
        let time = runs.iter().map(|run| run.time).min().unwrap();
        println!("{line:<44} {:>8.1} {time:>9.2?}   ({files} checkpoints)", runs[0].peak as f64 / 1024.0);
    }
}

/// Reads a file and computes its checksum. Returns the time, like the functions below.
fn read_and_sum(path: &Path) -> Duration {
    let start = Instant::now();
    let mut buffer = vec![0; 128 * 1024];
    let (mut file, mut crc) = (File::open(path).unwrap(), crc32fast::Hasher::new());
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            count => crc.update(&buffer[..count]),
        }
    }
    std::hint::black_box(crc.finalize());
    start.elapsed()
}

/// Writes a file and waits for the disk, because the tool reports success when its output is on the disk.
fn write(dir: &Path, mebibytes: u32) -> Duration {
    let start = Instant::now();
    let mut file = File::create(dir.join("copy")).unwrap();
    (0..mebibytes * 8).for_each(|_| file.write_all(&[7; 128 * 1024]).unwrap());
    file.sync_all().unwrap();
    start.elapsed()
}

/// Writes the numbers of [`Large`] as a program would that knows nothing of other types and formats, with the same
/// libraries as the tool: a line with the name, the index and the value in CSV, or the value and a comma in JSON.
fn write_text(dir: &Path, mebibytes: u32, is_csv: bool) -> Duration {
    let start = Instant::now();
    let mut file = File::create(dir.join(if is_csv { "copy.csv" } else { "copy.json" })).unwrap();
    let mut text = Vec::new();
    for chunk in 0..mebibytes << 8 {
        text.clear();
        for (index, element) in (chunk * 1024..).zip(elements(chunk, 0)) {
            if is_csv {
                text.extend_from_slice(b"model.weight,f32,65536x1024,");
                text.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
                text.push(b',');
                text.extend_from_slice(zmij::Buffer::new().format_finite(element).as_bytes());
                text.push(b'\n');
            } else {
                text.extend_from_slice(zmij::Buffer::new().format_finite(f64::from(element)).as_bytes());
                text.push(b',');
            }
        }
        file.write_all(&text).unwrap();
    }
    file.sync_all().unwrap();
    start.elapsed()
}

/// Parses the file that [`write_text`] wrote.
fn parse_text(dir: &Path, mebibytes: u32, is_csv: bool) -> Duration {
    let start = Instant::now();
    let (name, end) = if is_csv { ("copy.csv", b'\n') } else { ("copy.json", b',') };
    let mut file = BufReader::with_capacity(128 * 1024, File::open(dir.join(name)).unwrap());
    let (mut text, mut count, mut sum) = (Vec::new(), 0_u32, 0.0);
    while file.read_until(end, &mut text).unwrap() > 0 {
        let line = std::str::from_utf8(&text[..text.len() - 1]).unwrap();
        let value = if is_csv {
            let (index, value) = line[28..].split_once(',').unwrap();
            assert_eq!(index.parse(), Ok(count));
            value
        } else {
            line
        };
        sum += value.parse::<f32>().unwrap();
        count += 1;
        text.clear();
    }
    assert!(count == mebibytes << 18 && sum != 0.0, "{count} {sum}");
    start.elapsed()
}

/// Writes a directory with ten thousand checkpoints.
fn ten_thousand_checkpoints(path: &Path) -> u32 {
    fs::create_dir(path).unwrap();
    for step in 1..=10_000 {
        let header = Header { step, sequence: step, iteration: step, save_id: step, ..Header::default() };
        let contents = Contents { header, single_object: Some("model"), ..Contents::new(step) };
        let mut bytes = vec![0; 512];
        let encoded = encode(&mut &mut bytes[..], &contents, &mut Named::new("model", Model::new())).unwrap();
        fs::write(path.join(format!("latest_model_{step}.ckpt")), &bytes[..encoded.len as usize]).unwrap();
    }
    10_000
}
