//! `plot` and `watch` with histories and with device logs as text.

mod tool;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tool::check_output;
use training_monitor::{Outcome, StopReason};
use training_monitor_std::History;

/// Writes the history of a run with `epochs` epochs of ten iterations. The loss of iteration 7 is NaN.
fn write_history(path: &Path, epochs: u32) {
    fs::create_dir_all(path).unwrap();
    let history = History::create(path.join("history.jsonl")).unwrap();
    for epoch in 1..=epochs {
        for iteration in (epoch - 1) * 10 + 1..=epoch * 10 {
            let loss = if iteration == 7 { f32::NAN } else { 1.0 / iteration as f32 };
            history.record_iteration(iteration, loss, Some(1e-3));
        }
        history.record_epoch(epoch, &[("accuracy", 1.0 - 0.5 / f64::from(epoch))]);
    }
    history.record_stop(&Outcome { reason: StopReason::EarlyStopping, epoch: epochs, iteration: epochs * 10 });
    history.flush().unwrap();
}

#[test]
fn pictures_of_one_run_and_of_two_runs() {
    let dir = tempfile::tempdir().unwrap();
    write_history(&dir.path().join("one"), 5);
    write_history(&dir.path().join("two"), 9);
    let picture = |arguments: &[&str], file: &str| {
        check_output(dir.path(), &[&["plot", "one"], arguments, &["-o", file]].concat(), 0);
        fs::read(dir.path().join(file)).unwrap()
    };
    let one = String::from_utf8(picture(&["--title", "a < b"], "one.svg")).unwrap();
    assert!(one.contains("a &lt; b") && one.contains("accuracy") && one.contains("early stopping"));
    let both = String::from_utf8(picture(&["--compare", "two"], "both.svg")).unwrap();
    assert!(both.contains("EarlyStopping at 50") && both.contains("EarlyStopping at 90") && both.contains("accuracy"));
    assert!(!both.contains("NaN"));
    for (width, file) in [("800", "small.png"), ("1600", "large.png")] {
        let png = picture(&["--compare", "two", "--width", width], file);
        assert!(png.starts_with(b"\x89PNG"));
        let wide = u32::from_be_bytes(*png[16..].first_chunk().unwrap());
        assert_eq!(wide.to_string(), width);
    }
    let text = check_output(dir.path(), &["plot", "one", "--terminal"], 0);
    assert!(text.contains("training loss") && text.contains("accuracy") && !text.contains('\x1b'), "{text}");
    assert!(text.chars().any(|c| ('\u{2801}'..='\u{28FF}').contains(&c)), "{text}");
}

#[test]
fn a_complete_history_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    write_history(&dir.path().join("run"), 2);
    let text = check_output(dir.path(), &["watch", "run", "--plain"], 0);
    let expected = [
        "iteration 7: the loss is not finite",
        "epoch 1 (iteration 10)  accuracy 0.5",
        "epoch 2 (iteration 20)  accuracy 0.75",
        "stopped: EarlyStopping, after epoch 2 (iteration 20)",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_growing_history_is_followed_until_the_run_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path).unwrap();
    history.record_epoch(1, &[("accuracy", 0.5)]);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    let watch = watch.arg("watch").arg(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    history.record_epoch(2, &[("accuracy", 0.75)]);
    history.record_stop(&Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 0 });
    history.flush().unwrap();
    // `watch` exits by itself soon after the history contains the end of the run.
    let output = watch.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.ends_with("stopped: MaxEpochs, after epoch 2 (iteration 0)\n"), "{text}");
}

#[test]
fn a_device_log_is_read_from_standard_input() {
    let mut watch = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    let mut watch = watch.args(["watch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // A logger for terminals adds escape sequences for colours to its lines. The tool must ignore these sequences.
    let log = b"\x1b[32mINFO\x1b[39m  started a new run\r\n\
        \x1b[32mINFO\x1b[39m  epoch 1: loss 0.3, accuracy 0.9\r\n\
        \x1b[32mINFO\x1b[0m  best: saved step 1, 19580 bytes\r\n\
        ERROR latest: step 1 was not saved\r\n\
        INFO  NonFinite after epoch 1\r\n";
    watch.stdin.take().unwrap().write_all(log).unwrap();
    let output = watch.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = [
        "INFO  started a new run",
        "epoch 1  loss 0.3  accuracy 0.9",
        "best: saved step 1, 19580 bytes",
        "latest: cannot save step 1: see the log of the device",
        "stopped: NonFinite, after epoch 1",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}
