//! TensorBoard event files. One test decodes each record itself, another uses the reader of TensorBoard.

mod tool;

use std::fs;
use std::path::Path;
use tool::{check_output, python_with};
use training_monitor::{Outcome, StopReason};
use training_monitor_std::History;

const FILE: &str = "logs/run/events.out.tfevents.training-monitor";

/// A directory with the history of a run of three iterations. The loss of the second iteration is NaN.
fn create_run() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    fs::create_dir(&path).unwrap();
    let history = History::create(path.join("history.jsonl")).unwrap();
    history.record_iteration(1, 0.75, Some(0.5));
    history.record_iteration(2, f32::NAN, Some(0.25));
    history.record_iteration(300, 0.125, None);
    history.record_epoch(1, &[("accuracy", 0.9), ("val_loss", f64::INFINITY)]);
    history.record_stop(&Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 300 });
    history.flush().unwrap();
    let saved = r#"{"event":"saved","store":"best","step":1,"iteration":300,"score":-1.50,"bytes":900,"removed":null}"#;
    let text = fs::read_to_string(path.join("history.jsonl")).unwrap();
    fs::write(path.join("history.jsonl"), format!("{text}{saved}\n")).unwrap();
    dir
}

/// The expected events: step, tag, value.
const EXPECTED: [(u64, &str, f32); 8] = [
    (1, "train/loss", 0.75),
    (1, "train/seconds", 0.5),
    (2, "train/loss", f32::NAN),
    (2, "train/seconds", 0.25),
    (300, "train/loss", 0.125),
    (300, "metrics/accuracy", 0.9),
    (300, "metrics/val_loss", f32::NAN),
    (300, "checkpoints/best_score", -1.5),
];

/// The masked CRC-32C of the format, calculated bit by bit.
fn masked_checksum(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Returns the data of each record of an event file. Panics if a checksum is wrong.
fn records(mut file: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_first_chunk::<8>().unwrap();
        let (crc, rest) = rest.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*crc), masked_checksum(length));
        let (data, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let (crc, rest) = rest.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*crc), masked_checksum(data));
        records.push(data);
        file = rest;
    }
    records
}

/// The fields of a Protocol Buffers message: number, and the bytes of the value. A varint has eight bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let end = message.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let (bytes, rest) = message.split_at(end + 1);
        *message = rest;
        bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F))
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = message.split_at(length);
        fields.push((key >> 3, value.to_vec()));
        message = rest;
    }
    fields
}

#[test]
fn each_record_and_field_has_the_expected_value() {
    assert_eq!(masked_checksum(b"123456789"), 0xE306_9283_u32.rotate_right(15).wrapping_add(0xA282_EAD8));
    let dir = create_run();
    assert_eq!(check_output(dir.path(), &["plot", "run", "--tensorboard", "logs"], 0), format!("wrote {FILE}\n"));
    let file = fs::read(dir.path().join(FILE)).unwrap();
    let records = records(&file);
    let time = |data: &[u8]| f64::from_le_bytes(fields(data)[0].1[..].try_into().unwrap());
    assert_eq!(fields(records[0])[1], (3, b"brain.Event:2".to_vec()));
    assert_eq!(records.len(), 1 + EXPECTED.len());
    for (data, (step, tag, value)) in records[1..].iter().zip(EXPECTED) {
        let event = fields(data);
        assert_eq!(event.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(event[1].1, step.to_le_bytes());
        let summary = fields(&event[2].1);
        assert!(summary.len() == 1 && summary[0].0 == 1);
        let scalar = fields(&summary[0].1);
        assert_eq!(scalar[0], (1, tag.as_bytes().to_vec()));
        assert_eq!((scalar[1].0, &scalar[1].1[..]), (2, &value.to_le_bytes()[..]), "{tag}");
    }
    // The run ended at the modification time of its history. Its iterations took 0.75 seconds.
    let modified = fs::metadata(dir.path().join("run/history.jsonl")).unwrap().modified().unwrap();
    let end = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((time(records[8]) - end).abs() < 1e-3 && (time(records[8]) - time(records[0]) - 0.75).abs() < 1e-3);

    // A second call of the tool replaces the event file and does not add a second file. It also draws the requested
    // picture.
    fs::write(dir.path().join(FILE), b"an older file").unwrap();
    check_output(dir.path(), &["plot", "run", "--tensorboard", "logs", "-o", "run.svg"], 0);
    assert!(fs::read(dir.path().join(FILE)).unwrap() == file && dir.path().join("run.svg").exists());
    assert_eq!(fs::read_dir(dir.path().join("logs/run")).unwrap().count(), 1);
}

#[test]
fn runs_with_equal_names_have_separate_directories() {
    let dir = create_run();
    fs::create_dir_all(dir.path().join("old/run")).unwrap();
    fs::copy(dir.path().join("run/history.jsonl"), dir.path().join("old/run/history.jsonl")).unwrap();
    let printed = check_output(dir.path(), &["plot", "run", "--compare", "old/run", "--tensorboard", "logs"], 0);
    assert_eq!(printed, format!("wrote {FILE}\nwrote {}\n", FILE.replace("run", "old_run")));
}

#[test]
#[ignore = "needs Python with tensorboard"]
fn tensorboard_reads_the_file() {
    let module = "tensorboard.backend.event_processing.event_accumulator";
    let mut python = python_with(module, "tensorboard");
    let dir = create_run();
    check_output(dir.path(), &["plot", "run", "--tensorboard", "logs"], 0);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/read_events.py");
    let output = python.arg("-B").arg(script).arg(dir.path().join("logs/run")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let mut expected: Vec<String> =
        EXPECTED.iter().map(|(step, tag, value)| format!("{tag} {step} {:08x}", value.to_bits())).collect();
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
}
