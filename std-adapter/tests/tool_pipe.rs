//! The tool with a standard output that accepts no data: a closed pipe, and a full disk.

#![cfg(unix)]

mod tool;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tool::{MemoryFlash, train};
use training_monitor::store::flash::Slots;
use training_monitor_std::{Directory, History};

/// Creates a run with its history, a run with a damaged checkpoint, a flash dump, and a device log.
fn create_files(dir: &Path) {
    for run in ["run", "damaged"] {
        let open = |prefix: &str| Directory::builder(dir.join(run), prefix).require_empty(false).open().unwrap();
        train(open("best"), open("latest"));
        let history = History::create(dir.join(run).join("history.jsonl")).unwrap();
        (1..40).for_each(|iteration| history.record_iteration(iteration, 1.0 / iteration as f32, None));
        history.record_epoch(1, &[("accuracy", 0.9)]);
        history.record_stop(&training_monitor::Outcome {
            reason: training_monitor::StopReason::MaxEpochs,
            epoch: 1,
            iteration: 40,
        });
        history.flush().unwrap();
    }
    let latest = dir.join("damaged/latest_model_12.ckpt");
    let mut bytes = fs::read(&latest).unwrap();
    bytes[100] ^= 1;
    fs::write(latest, bytes).unwrap();
    let mut flash = vec![0xFF; 4096];
    let slots = Slots::<_, 2>::open(MemoryFlash::<256>(&mut flash), 0..4096).unwrap();
    train(training_monitor::store::ram::Ram::<3, 512>::new(), slots);
    fs::write(dir.join("dump.bin"), flash).unwrap();
    fs::write(dir.join("device.log"), "INFO epoch 1: loss 0.5\nhello\n").unwrap();
}

/// Each command that prints to standard output, and its exit code if the pipe is closed. The answers of `verify` and
/// `diff` do not depend on whether their output is read.
const COMMANDS: [(&str, i32); 18] = [
    ("inspect run", 0),
    ("inspect run --json", 0),
    ("inspect dump.bin", 0),
    ("verify run dump.bin", 0),
    ("verify damaged run", 1),
    ("verify damaged --json", 1),
    ("export run --to npz -o run.npz", 0),
    ("export run --to csv -o -", 0),
    ("import run.npz --to checkpoint -o run.ckpt", 0),
    ("diff run run", 0),
    ("diff run run --step 1 --step-b 3 --series best", 1),
    ("diff run run --step 1 --step-b 3 --series best --json", 1),
    ("plot run", 0),
    ("plot run -o run.svg", 0),
    ("plot run --tensorboard logs", 0),
    ("watch run --plain --once", 0),
    ("watch device.log", 0),
    ("completions bash", 0),
];

fn run(dir: &Path, line: &str, stdout: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    let child = command.args(line.split(' ')).current_dir(dir).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_closed_pipe_ends_commands_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    create_files(dir.path());
    for (line, code) in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run(dir.path(), line, writer);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*error), (Some(code), ""), "{line}");
    }
    // A command that cannot print its result must still write its output file.
    for file in ["run.npz", "run.ckpt", "run.svg", "logs/run"] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /dev/full")]
fn a_full_disk_is_reported() {
    let full = File::options().write(true).open("/dev/full").expect("the test needs /dev/full");
    let dir = tempfile::tempdir().unwrap();
    create_files(dir.path());
    for (line, _) in COMMANDS {
        let output = run(dir.path(), line, full.try_clone().unwrap());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}\n{error}");
        assert!(error.starts_with("error: cannot write standard output: No space left"), "{line}\n{error}");
    }
}
