//! TensorBoard event files. One test decodes each record itself, another uses the reader of TensorBoard.

mod tool;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tool::{check_output, python_with};
use training_monitor::engine::Resumed;
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
    history.record_scalars(300, &[("learning_rate", 0.5)]);
    history.record_epoch(1, &[("accuracy", 0.9), ("val_loss", f64::INFINITY)]);
    history.record_stop(&Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 300 });
    history.flush().unwrap();
    let saved = r#"{"event":"saved","store":"best","step":1,"iteration":300,"score":-1.50,"bytes":900,"removed":null}"#;
    let text = fs::read_to_string(path.join("history.jsonl")).unwrap();
    fs::write(path.join("history.jsonl"), format!("{text}{saved}\n")).unwrap();
    dir
}

/// The expected events: step, tag, value.
const EXPECTED: [(u64, &str, f32); 9] = [
    (1, "train/loss", 0.75),
    (1, "train/seconds", 0.5),
    (2, "train/loss", f32::NAN),
    (2, "train/seconds", 0.25),
    (300, "train/loss", 0.125),
    (300, "train/learning_rate", 0.5),
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
    // The times are in the history. The last event has none, so it has the time of the previous one.
    let lines = History::read_timed(dir.path().join("run/history.jsonl")).unwrap();
    let times: Vec<f64> = lines.iter().filter_map(|line| line.time).collect();
    assert_eq!((time(records[0]), time(records[1]), time(records[9])), (times[0], times[0], times[5]));

    // A second call of the tool adds nothing. It also draws the requested picture.
    check_output(dir.path(), &["plot", "run", "--tensorboard", "logs", "-o", "run.svg"], 0);
    assert!(fs::read(dir.path().join(FILE)).unwrap() == file && dir.path().join("run.svg").exists());
    assert_eq!(fs::read_dir(dir.path().join("logs/run")).unwrap().count(), 1);
}

/// TensorBoard reads a growing file, but it does not notice that another file replaces it.
#[test]
fn an_event_file_is_continued_or_replaced() {
    let dir = create_run();
    let plot = || {
        check_output(dir.path(), &["plot", "run", "--tensorboard", "logs"], 0);
        fs::read(dir.path().join(FILE)).unwrap()
    };
    let first = plot();
    let inode = || fs::metadata(dir.path().join(FILE)).unwrap();
    #[cfg(unix)]
    let inode = || std::os::unix::fs::MetadataExt::ino(&inode());
    let before = inode();
    // A write of the event file was interrupted. The next call continues it.
    fs::write(dir.path().join(FILE), &first[..first.len() - 5]).unwrap();
    let mut text = fs::read_to_string(dir.path().join("run/history.jsonl")).unwrap();
    text.push_str("{\"event\":\"iteration\",\"iteration\":301,\"loss\":0.5,\"time\":1764195272.5}\n");
    fs::write(dir.path().join("run/history.jsonl"), &text).unwrap();
    let longer = plot();
    assert!(longer.len() > first.len() && longer.starts_with(&first));
    #[cfg(unix)]
    assert_eq!(inode(), before);
    // A file with other content is replaced.
    fs::write(dir.path().join(FILE), b"an older file").unwrap();
    assert!(plot() == longer);
}

/// The run is followed while it resumes from a checkpoint, until its end.
#[test]
fn a_run_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    fs::create_dir(&path).unwrap();
    let history = History::create(path.join("history.jsonl")).unwrap();
    (1..=3).for_each(|iteration| history.record_iteration(iteration, 0.5, None));
    history.flush().unwrap();
    let mut follow = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    let follow = follow.args(["plot", "run", "--tensorboard", "logs", "--follow"]).current_dir(dir.path());
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let file = dir.path().join(FILE);
    let wait = |records_expected: usize| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let bytes = fs::read(&file).unwrap_or_default();
            if bytes.len() > 40 && records(&bytes).len() == records_expected {
                return bytes;
            }
            assert!(Instant::now() < deadline, "{} bytes", bytes.len());
            sleep(Duration::from_millis(20));
        }
    };
    let first = wait(4);
    history.record_iteration(4, 0.25, None);
    history.flush().unwrap();
    let second = wait(5);
    assert!(second.starts_with(&first));
    // The run resumes from iteration 2.
    let (epoch, iteration) = (1, 2);
    let resumed = Resumed { epoch, iteration, skipped: 0, changed_epoch_length: None, changed_settings: None };
    history.record_resume(Some(resumed)).unwrap();
    history.record_iteration(3, 0.125, None);
    history.record_stop(&Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 3 });
    history.flush().unwrap();
    assert!(follow.wait().unwrap().success());
    let third = fs::read(&file).unwrap();
    assert!(third.starts_with(&second));
    // One record tells TensorBoard to discard the values from iteration 3 on, and one contains the new value.
    let new: Vec<Vec<(u64, Vec<u8>)>> = records(&third)[5..].iter().map(|record| fields(record)).collect();
    assert_eq!(new.len(), 2);
    assert_eq!((&new[0][1], &new[0][2]), (&(2, 3_u64.to_le_bytes().to_vec()), &(7, vec![0x08, 0x01])));
    assert_eq!(new[1][1], (2, 3_u64.to_le_bytes().to_vec()));
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
