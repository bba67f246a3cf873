//! `watch` with the log of a device in its original form: defmt frames.

#[allow(dead_code)] // Only the format strings are used here.
#[path = "../src/tool/watch/lines.rs"]
mod lines;
mod tool;

use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tool::check_output;
use tool::device::{FRAMES, SYMBOLS, program};

/// Creates a directory with two files: the device program `train`, and the log `log` with the bytes `frames`.
fn device(frames: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train"), program(SYMBOLS)).unwrap();
    fs::write(dir.path().join("log"), frames).unwrap();
    dir
}

fn watch(dir: &Path) -> String {
    check_output(dir, &["watch", "log", "--elf", "train", "--once"], 0)
}

/// Returns the output of `watch` for a text log with the same lines as the defmt log.
fn watch_text_log() -> String {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-example/golden/64-32-10.log");
    fs::copy(golden, dir.path().join("log")).unwrap();
    check_output(dir.path(), &["watch", "log", "--once"], 0)
}

#[test]
fn the_table_of_log_lines_matches_the_firmware() {
    // Each symbol is a JSON object with a format string and the log level as its tag.
    let symbol = |line: &str| serde_json::from_str::<serde_json::Value>(line.splitn(3, ' ').nth(2)?).ok();
    let is_line = |symbol: &serde_json::Value| {
        symbol["crate_name"] == "training_monitor"
            && ["defmt_info", "defmt_warn", "defmt_error"].iter().any(|tag| symbol["tag"] == *tag)
    };
    // The firmware prints the lines with the functions of core's module `log`.
    let mut printed: Vec<String> = SYMBOLS
        .lines()
        .filter_map(symbol)
        .filter(is_line)
        .map(|symbol| symbol["data"].as_str().unwrap().to_owned())
        .collect();
    let mut known: Vec<&str> = lines::LOG_MODULE_LINES.iter().map(|line| line.format).collect();
    // The firmware logs neither iterations nor save intervals, so the linker removes these lines.
    known.retain(|format| ![training_monitor::log::ITERATION, training_monitor::log::SAVE_INTERVAL].contains(format));
    printed.sort_unstable();
    known.sort_unstable();
    assert_eq!(printed, known);
}

#[test]
fn frames_and_text_have_the_same_output() {
    let dir = device(FRAMES);
    let shown = watch(dir.path());
    assert!(shown.starts_with("INFO  network 64-32-10\nINFO  started a new run\n"), "{shown}");
    assert!(shown.contains("\nepoch 1  loss 0.28987  accuracy"), "{shown}");
    let end = "\nlatest: saved step 12, 19616 bytes, evicted step 11\nstopped: EarlyStopping, after epoch 12";
    assert!(shown.contains(end), "{shown}");
    // The tool interprets only some lines. It shows every other line with its log level. The text log has no levels, so
    // the test removes the levels before the comparison.
    assert_eq!(shown.replace("INFO  ", ""), watch_text_log());
}

#[test]
fn frames_can_arrive_in_pieces() {
    let dir = device(FRAMES);
    for piece in [1, 7] {
        let mut watch = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
        watch.args(["watch", "-", "--elf", "train"]).current_dir(dir.path());
        let mut watch = watch.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = watch.stdin.take().unwrap();
        FRAMES.chunks(piece).for_each(|bytes| stdin.write_all(bytes).unwrap());
        drop(stdin);
        let output = watch.wait_with_output().unwrap();
        assert!(output.status.success());
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.replace("INFO  ", ""), watch_text_log(), "pieces of {piece} bytes");
    }
}

#[test]
fn truncated_frames_are_reported_and_skipped() {
    let complete = watch(device(FRAMES).path());
    let lines: Vec<&str> = complete.lines().collect();
    // Power fails in the middle of the last frame, and the device starts again.
    let truncated = &FRAMES[..FRAMES.len() - 4];
    let shown = watch(device(&[truncated, FRAMES].concat()).path());
    let before = lines[..lines.len() - 1].join("\n");
    assert_eq!(shown, format!("{before}\n(a broken frame)\n{complete}"));
    // The tool starts to read at any byte. At most the first line is wrong, and no other line is lost.
    for start in 1..FRAMES.len() / 2 {
        let shown = watch(device(&FRAMES[start..]).path());
        let rest: Vec<&str> = shown.lines().filter(|line| *line != "(a broken frame)").collect();
        let wrong = rest.iter().filter(|line| !lines.contains(line)).count();
        assert!(wrong <= 1 && rest.len() + start / 4 >= lines.len() - 1, "from byte {start}:\n{shown}");
    }
}

#[test]
fn damaged_frames_never_crash_the_tool() {
    // Each byte is changed once, each by another amount. The decoder may report anything, but the tool must exit
    // normally.
    let mut damaged = FRAMES.to_vec();
    for index in 0..damaged.len() {
        damaged[index] = damaged[index].wrapping_add(1 + index as u8 % 251);
        if index % 8 == 7 {
            watch(device(&damaged).path());
        }
    }
}

#[test]
fn unsuitable_programs_and_logs_are_rejected() {
    let dir = device(FRAMES);
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("text", b"epoch 1: loss 0.5\n");
    write("empty", b"");
    write("silent", &Object::new(BinaryFormat::Elf, Architecture::Arm, Endianness::Little).write().unwrap());
    write("newer", &program(&SYMBOLS.replace("_defmt_version_ = 4", "_defmt_version_ = 99")));
    write("raw", &program(&SYMBOLS.replace("rzcobs", "raw")));
    for (log, elf, reason) in [
        ("log", "text", "text is not a program for a device (ELF)"),
        ("log", "absent", "cannot read absent"),
        ("log", "silent", "no section .defmt"),
        ("log", "newer", "version mismatch: firmware is using 99"),
        ("text", "train", "if it is text, omit --elf"),
        ("log", "raw", "a frame is broken"),
    ] {
        let error = check_output(dir.path(), &["watch", log, "--elf", elf, "--once"], 2);
        assert!(error.contains(reason), "{log} {elf}: {error}");
    }
    assert_eq!(check_output(dir.path(), &["watch", "empty", "--elf", "train", "--once"], 0), "");
    // Without `--elf`, the tool cannot decode defmt frames. It prints a hint to use this option.
    assert!(check_output(dir.path(), &["watch", "log", "--once", "--plain"], 0).contains("use --elf PROGRAM"));
}
