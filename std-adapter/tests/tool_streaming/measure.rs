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
#[test]
#[ignore = "needs minutes and 40 GB"]
fn measure_a_tensor_of_one_gibibyte() {
    let mebibytes = std::env::var("MEBIBYTES").map_or(1024, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_large(&dir.join("a.ckpt"), mebibytes, 0);
    write_large(&dir.join("b.ckpt"), mebibytes, 1);
    write_directory(&dir.join("run"), mebibytes);
    let mut buffer = vec![0; 128 * 1024];
    let mut read_and_sum = || {
        let (mut file, mut crc) = (File::open(dir.join("a.ckpt")).unwrap(), crc32fast::Hasher::new());
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => break crc.finalize(),
                count => crc.update(&buffer[..count]),
            }
        }
    };
    let read = fastest(&mut read_and_sum);
    // The tool reports success when its output is on the disk.
    let write = fastest(|| {
        let mut file = File::create(dir.join("copy")).unwrap();
        (0..mebibytes * 8).for_each(|_| file.write_all(&[7; 128 * 1024]).unwrap());
        file.sync_all().unwrap();
    });
    let twice = read * 2 + write;
    let [export_csv, export_json] = [true, false].map(|is_csv| fastest(|| write_text(dir, mebibytes, is_csv)));
    let [import_csv, import_json] = [true, false].map(|is_csv| fastest(|| parse_text(dir, mebibytes, is_csv)) + write);
    println!(
        "read and sum {read:.2?}, write {write:.2?}, write as CSV {export_csv:.2?}, write as JSON {export_json:.2?}"
    );
    println!("parse CSV and write {import_csv:.2?}, parse JSON and write {import_json:.2?}\n");
    println!("{:<44} {:>8} {:>9} {:>7} {:>7}", "command", "peak MiB", "time", "ratio", "budget");
    for (line, base, budget) in [
        ("verify a.ckpt", read, 1.5),
        ("inspect a.ckpt", read, 1.5),
        ("verify run", read, 1.5),
        ("inspect run", read, 1.5),
        ("diff a.ckpt a.ckpt", read * 2, 1.5),
        ("diff a.ckpt b.ckpt", read * 2, 1.5),
        ("export a.ckpt --force -o a.npz", twice, 1.5),
        ("export a.ckpt --force -o a.safetensors", twice, 1.5),
        ("export run --force -o run.npz", twice, 1.5),
        ("import a.npz --force -o c.ckpt", twice, 1.5),
        ("import a.safetensors --force -o c.ckpt", twice, 1.5),
        ("export a.ckpt --force -o a.csv", export_csv, 1.5),
        ("export a.ckpt --force -o a.json", export_json, 1.5),
        ("import a.csv --force -o c.ckpt", import_csv, 1.5),
        ("import a.json --force -o c.ckpt", import_json, 1.5),
    ] {
        let rounds = 3;
        let code = i32::from(line.ends_with("b.ckpt"));
        let runs: Vec<Finished> = (0..rounds).map(|_| run(dir, line, None)).collect();
        assert!(runs.iter().all(|run| run.code == Some(code)), "{line}");
        let (peak, time) =
            (runs.iter().map(|run| run.peak).max().unwrap(), runs.iter().map(|run| run.time).min().unwrap());
        let ratio = time.as_secs_f64() / base.as_secs_f64();
        println!("{line:<44} {:>8.1} {time:>9.2?} {ratio:>7.2} {budget:>7.2}", peak as f64 / 1024.0);
        assert!(peak <= LIMIT, "{line}: {peak} KiB");
    }
    let files = ten_thousand_checkpoints(&dir.join("many"));
    for line in ["inspect many", "verify many"] {
        let runs: Vec<Finished> = (0..3).map(|_| run(dir, line, None)).collect();
        let time = runs.iter().map(|run| run.time).min().unwrap();
        println!("{line:<44} {:>8.1} {time:>9.2?}   ({files} checkpoints)", runs[0].peak as f64 / 1024.0);
    }
}

/// Writes the numbers of [`Large`] as a program would that knows nothing of other types and formats, with the same
/// libraries as the tool: a line with the name, the index and the value in CSV, or the value and a comma in JSON.
fn write_text(dir: &Path, mebibytes: u32, is_csv: bool) {
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
}

/// Parses the file that [`write_text`] wrote.
fn parse_text(dir: &Path, mebibytes: u32, is_csv: bool) {
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
}

fn fastest<T>(mut run: impl FnMut() -> T) -> Duration {
    let time = |()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    [(); 3].map(time).into_iter().min().unwrap()
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
