//! Event files of TensorBoard: read record by record here, and by TensorBoard's own reader where it is installed.

mod tool;

use std::fs;
use std::path::Path;
use tool::{python_with, says};
use training_monitor::{Outcome, StopReason};
use training_monitor_std::History;

const FILE: &str = "logs/run/events.out.tfevents.training-monitor";

/// A directory with the history of a run of three iterations, one of them without a loss.
fn run() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    fs::create_dir(&path).unwrap();
    let history = History::create(path.join("history.jsonl")).unwrap();
    history.iteration(1, 0.75, Some(0.5));
    history.iteration(2, f32::NAN, Some(0.25));
    history.iteration(300, 0.125, None);
    history.epoch(1, &[("accuracy", 0.9), ("val_loss", f64::INFINITY)]);
    history.stopped(&Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 300 });
    history.flush().unwrap();
    let saved = r#"{"event":"saved","store":"best","step":1,"iteration":300,"score":-1.50,"bytes":900,"removed":null}"#;
    let text = fs::read_to_string(path.join("history.jsonl")).unwrap();
    fs::write(path.join("history.jsonl"), format!("{text}{saved}\n")).unwrap();
    dir
}

/// What the file must hold: step, tag, value.
const EVENTS: [(u64, &str, f32); 8] = [
    (1, "train/loss", 0.75),
    (1, "train/seconds", 0.5),
    (2, "train/loss", f32::NAN),
    (2, "train/seconds", 0.25),
    (300, "train/loss", 0.125),
    (300, "metrics/accuracy", 0.9),
    (300, "metrics/val_loss", f32::NAN),
    (300, "checkpoints/best_score", -1.5),
];

/// CRC-32C bit by bit, turned and shifted as the format wants it.
fn masked(bytes: &[u8]) -> u32 {
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

/// The data of each record, after its checksums were looked at.
fn records(mut file: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_first_chunk::<8>().unwrap();
        let (crc, rest) = rest.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*crc), masked(length));
        let (data, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let (crc, rest) = rest.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*crc), masked(data));
        records.push(data);
        file = rest;
    }
    records
}

/// The fields of a message of protobuf: number, and the bytes of the value; those of a varint as eight.
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
fn every_record_and_every_field() {
    assert_eq!(masked(b"123456789"), 0xE306_9283_u32.rotate_right(15).wrapping_add(0xA282_EAD8));
    let dir = run();
    assert_eq!(says(dir.path(), &["plot", "run", "--tensorboard", "logs"], 0), format!("{FILE}\n"));
    let file = fs::read(dir.path().join(FILE)).unwrap();
    let records = records(&file);
    let time = |data: &[u8]| f64::from_le_bytes(fields(data)[0].1[..].try_into().unwrap());
    assert_eq!(fields(records[0])[1], (3, b"brain.Event:2".to_vec()));
    assert_eq!(records.len(), 1 + EVENTS.len());
    for (data, (step, tag, value)) in records[1..].iter().zip(EVENTS) {
        let event = fields(data);
        assert_eq!(event.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(event[1].1, step.to_le_bytes());
        let summary = fields(&event[2].1);
        assert!(summary.len() == 1 && summary[0].0 == 1);
        let scalar = fields(&summary[0].1);
        assert_eq!(scalar[0], (1, tag.as_bytes().to_vec()));
        assert_eq!((scalar[1].0, &scalar[1].1[..]), (2, &value.to_le_bytes()[..]), "{tag}");
    }
    // The run ended when its history was last written, three quarters of a second after it began.
    let modified = fs::metadata(dir.path().join("run/history.jsonl")).unwrap().modified().unwrap();
    let end = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((time(records[8]) - end).abs() < 1e-3 && (time(records[8]) - time(records[0]) - 0.75).abs() < 1e-3);

    // Written again it is one file, not two; and a picture is drawn as well if it is asked for.
    fs::write(dir.path().join(FILE), b"of an earlier day").unwrap();
    says(dir.path(), &["plot", "run", "--tensorboard", "logs", "-o", "run.svg"], 0);
    assert!(fs::read(dir.path().join(FILE)).unwrap() == file && dir.path().join("run.svg").exists());
    assert_eq!(fs::read_dir(dir.path().join("logs/run")).unwrap().count(), 1);
}

#[test]
fn runs_of_one_name_do_not_meet() {
    let dir = run();
    fs::create_dir_all(dir.path().join("old/run")).unwrap();
    fs::copy(dir.path().join("run/history.jsonl"), dir.path().join("old/run/history.jsonl")).unwrap();
    let told = says(dir.path(), &["plot", "run", "--compare", "old/run", "--tensorboard", "logs"], 0);
    assert_eq!(told, format!("{FILE}\n{}\n", FILE.replace("run", "old_run")));
}

#[test]
fn tensorboards_own_reader_reads_it() {
    let module = "tensorboard.backend.event_processing.event_accumulator";
    let Some(mut python) = python_with(module, "tensorboard") else { return };
    let dir = run();
    says(dir.path(), &["plot", "run", "--tensorboard", "logs"], 0);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/read_events.py");
    let output = python.arg("-B").arg(script).arg(dir.path().join("logs/run")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut told: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let mut wanted: Vec<String> =
        EVENTS.iter().map(|(step, tag, value)| format!("{tag} {step} {:08x}", value.to_bits())).collect();
    told.sort();
    wanted.sort();
    assert_eq!(told, wanted);
}
