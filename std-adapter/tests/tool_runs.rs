//! `plot` and `watch` with histories and with device logs as text.

mod tool;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tool::{check_output, run_tool};
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
    assert!(
        both.contains("early stopping at 50") && both.contains("early stopping at 90") && both.contains("accuracy")
    );
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

/// Writes the lines of a history.
fn write_lines(path: &Path, lines: &[&str]) {
    let header = r#"{"schema":"training-monitor-history","version":1}"#;
    fs::write(path, format!("{header}\n{}\n", lines.join("\n"))).unwrap();
}

/// A loss or a metric beyond the range of f32 must not make the command endless.
#[test]
fn numbers_beyond_the_range_of_f32_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    write_lines(
        &dir.path().join("loss.jsonl"),
        &[
            r#"{"event":"iteration","iteration":1,"loss":3.5e38}"#,
            r#"{"event":"iteration","iteration":2,"loss":2.5}"#,
            r#"{"event":"epoch","epoch":1,"iteration":2,"metrics":{"val_loss":3.5e38,"a":1e308,"b":-1e308}}"#,
            r#"{"event":"epoch","epoch":2,"iteration":4,"metrics":{"val_loss":1,"a":-1e308,"b":1e-320}}"#,
        ],
    );
    write_lines(&dir.path().join("short.jsonl"), &[r#"{"event":"iteration","iteration":1,"loss":2.5}"#]);
    let compare = ["plot", "loss.jsonl", "--compare", "short.jsonl"];
    let text = check_output(dir.path(), &compare, 0);
    assert!(text.contains("training loss, 1 not finite") && text.contains("3.5e38"), "{text}");
    for file in ["both.svg", "both.png"] {
        check_output(dir.path(), &[&compare[..], &["-o", file]].concat(), 0);
    }
    assert!(fs::read_to_string(dir.path().join("both.svg")).unwrap().contains("1 not finite, marked by crosses"));
}

/// Both commands refuse a history of an unknown version with the same message.
#[test]
fn an_unknown_version_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{\"schema\":\"training-monitor-history\",\"version\":2}\n{\"event\":\"iteration\",\"iteration\":1}\n";
    fs::write(dir.path().join("history.jsonl"), text).unwrap();
    let expected = "history file history.jsonl has format version 2, but this program supports version 1";
    for arguments in [&["plot", "history.jsonl"][..], &["watch", "history.jsonl", "--plain", "--once"]] {
        let error = check_output(dir.path(), arguments, 2);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn each_run_of_a_file_is_drawn_with_its_own_end() {
    let dir = tempfile::tempdir().unwrap();
    write_history(&dir.path().join("run"), 3);
    let history = History::open(dir.path().join("run/history.jsonl")).unwrap();
    history.record_resume(None).unwrap();
    (1..=10).for_each(|iteration| history.record_iteration(iteration, 0.5, None));
    history.record_stop(&Outcome { reason: StopReason::NonFinite, epoch: 1, iteration: 10 });
    history.flush().unwrap();
    check_output(dir.path(), &["plot", "run", "-o", "run.svg"], 0);
    let svg = fs::read_to_string(dir.path().join("run.svg")).unwrap();
    for text in ["run (run 1)", "early stopping at 30", "run (run 2)", "non finite at 10"] {
        assert!(svg.contains(text), "{text}");
    }
    let text = check_output(dir.path(), &["watch", "run", "--plain", "--once"], 0);
    assert!(
        text.contains("stopped: EarlyStopping, after epoch 3 (iteration 30)\nstarted a new run\n")
            && text.ends_with("stopped: NonFinite, after epoch 1 (iteration 10)\n")
    );
}

#[test]
fn a_history_is_read_from_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    write_history(&dir.path().join("one"), 5);
    let mut plot = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    let file = fs::File::open(dir.path().join("one/history.jsonl")).unwrap();
    let output = plot.args(["plot", "-", "--to", "svg", "-o", "-"]).stdin(file).output().unwrap();
    let svg = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && svg.contains("standard input") && svg.contains("early stopping"), "{svg}");
}

/// Emoji are drawn with a font of the program. Characters that no font has become question marks, and a note names them.
#[test]
fn characters_without_a_font_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    write_history(&dir.path().join("one"), 5);
    let picture = |title: &str| {
        let file = format!("{}.png", title.len());
        let output = run_tool(dir.path(), &["plot", "one", "--title", title, "-o", &file, "--force"]);
        assert!(output.status.success());
        (fs::read(dir.path().join(file)).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (target, note) = picture("\u{1F3AF}");
    assert_eq!(note, "");
    assert_ne!(target, picture("\u{1F680}").0);
    // No font has this character, because it is not assigned.
    let (unassigned, note) = picture("\u{50000}");
    assert!(note.starts_with("note: no installed font has the characters \u{50000}, so"), "{note}");
    assert_eq!(unassigned, picture("?").0);
}

#[test]
fn the_profile_and_the_scalars_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    write_lines(
        &dir.path().join("history.jsonl"),
        &[
            r#"{"event":"scalars","iteration":1,"values":{"learning_rate":0.5,"gradient_norm":2.5}}"#,
            r#"{"event":"scalars","iteration":2,"values":{"learning_rate":0.25,"gradient_norm":1.5}}"#,
            concat!(
                r#"{"event":"profile","iteration":2,"parts":[{"name":"step\u001b[31m","count":2,"total":0.004,"#,
                r#""min":0.001,"max":0.003,"mean":0.002,"deviation":0.0014}]}"#
            ),
        ],
    );
    let text = check_output(dir.path(), &["plot", "."], 0);
    assert!(text.contains(" learning rate ") && text.contains(" gradient norm "), "{text}");
    let table: Vec<Vec<&str>> = text.lines().rev().take(2).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[1], ["total", "mean", "max", "count", "min"]);
    assert_eq!(table[0][1..], ["4", "ms", "2", "ms", "3", "ms", "2", "1", "ms"]);
    assert!(!text.contains('\x1b') && text.contains("step\u{fffd}[31m"));
    let status = check_output(dir.path(), &["watch", "history.jsonl", "--plain", "--once"], 0);
    assert_eq!(status, "");
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
fn a_run_that_has_not_started_is_awaited_and_missing_checkpoints_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = check_output(dir.path(), &["watch", "run", "--once"], 2);
    assert!(error.starts_with("error: cannot read run: "), "{error}");
    let mut watch = tool::tool_command(dir.path(), &["watch", "run", "--epochs", "4"]);
    let watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    write_history(&dir.path().join("run"), 2);
    let output = watch.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("(waiting for run, which does not exist yet)\n"), "{text}");
    assert!(text.contains("\nepoch 2/4 (iteration 20)  accuracy 0.75\nstopped: EarlyStopping"), "{text}");
    let error = check_output(dir.path(), &["watch", "run", "--checkpoints", "missing"], 2);
    assert!(error.starts_with("error: cannot read missing: "), "{error}");
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
