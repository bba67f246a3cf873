//! The tool on the log of a device as it comes: defmt's frames.

mod tool;

use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tool::device::{FRAMES, TABLE, program};
use tool::says;

/// A directory with the program, and with `frames` as `log`.
fn device(frames: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train"), program(TABLE)).unwrap();
    fs::write(dir.path().join("log"), frames).unwrap();
    dir
}

fn watch(dir: &Path) -> String {
    says(dir, &["watch", "log", "--elf", "train", "--once"], 0)
}

/// What the tool makes of the same log as text.
fn as_text() -> String {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-example/golden/64-32-10.log");
    fs::copy(golden, dir.path().join("log")).unwrap();
    says(dir.path(), &["watch", "log", "--once"], 0)
}

#[test]
fn frames_say_what_the_text_says() {
    let dir = device(FRAMES);
    let told = watch(dir.path());
    assert!(told.starts_with("INFO  64-32-10, from the beginning\n"), "{told}");
    assert!(told.contains("\nepoch 1  loss 0.28987  accuracy"), "{told}");
    assert!(
        told.contains("\nlatest: saved step 12, 19576 bytes, in place of 11\nstopped: EarlyStopping, after epoch 12")
    );
    // Lines that mean nothing to the tool have their level; the others are the same.
    assert_eq!(told.replace("INFO  ", ""), as_text());
}

#[test]
fn frames_in_pieces_through_a_pipe() {
    let dir = device(FRAMES);
    for piece in [1, 7] {
        let mut watch = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
        watch.args(["watch", "-", "--elf", "train"]).current_dir(dir.path());
        let mut watch = watch.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut to = watch.stdin.take().unwrap();
        FRAMES.chunks(piece).for_each(|bytes| to.write_all(bytes).unwrap());
        drop(to);
        let output = watch.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap().replace("INFO  ", ""), as_text(), "{piece}");
    }
}

#[test]
fn a_stream_that_was_cut_or_joined_late() {
    let whole = watch(device(FRAMES).path());
    let lines: Vec<&str> = whole.lines().collect();
    // The power went in the middle of the last frame, and the device started again.
    let cut = &FRAMES[..FRAMES.len() - 4];
    let told = watch(device(&[cut, FRAMES].concat()).path());
    let before = lines[..lines.len() - 1].join("\n");
    assert_eq!(told, format!("{before}\n(a broken frame)\n{whole}"));
    // Joined anywhere: at most the first line is lost, and never is there one that the device did not send.
    for from in 1..FRAMES.len() / 2 {
        let told = watch(device(&FRAMES[from..]).path());
        let rest: Vec<&str> = told.lines().filter(|line| *line != "(a broken frame)").collect();
        let wrong = rest.iter().filter(|line| !lines.contains(line)).count();
        assert!(wrong <= 1 && rest.len() + from / 4 >= lines.len() - 1, "from byte {from}:\n{told}");
    }
}

#[test]
fn damaged_bytes_never_end_it() {
    // Every byte once, in another way each: whatever the decoder makes of it, the tool comes to the end.
    let mut damaged = FRAMES.to_vec();
    for at in 0..damaged.len() {
        damaged[at] = damaged[at].wrapping_add(1 + at as u8 % 251);
        if at % 8 == 7 {
            watch(device(&damaged).path());
        }
    }
}

#[test]
fn wrong_programs_and_wrong_logs() {
    let dir = device(FRAMES);
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("text", b"epoch 1: loss 0.5\n");
    write("empty", b"");
    write("silent", &Object::new(BinaryFormat::Elf, Architecture::Arm, Endianness::Little).write().unwrap());
    write("newer", &program(&TABLE.replace("_defmt_version_ = 4", "_defmt_version_ = 99")));
    write("raw", &program(&TABLE.replace("rzcobs", "raw")));
    let fails = |log: &str, elf: &str| says(dir.path(), &["watch", log, "--elf", elf, "--once"], 2);
    for (log, elf, why) in [
        ("log", "text", "text is not a device's program (ELF)"),
        ("log", "absent", "cannot read absent"),
        ("log", "silent", "no section .defmt"),
        ("log", "newer", "version mismatch: firmware is using 99"),
        ("text", "train", "leave --elf out"),
        ("log", "raw", "a frame is broken"),
    ] {
        let told = fails(log, elf);
        assert!(told.contains(why), "{log} {elf}: {told}");
    }
    assert_eq!(says(dir.path(), &["watch", "empty", "--elf", "train", "--once"], 0), "");
    // And frames without a program are told of, not shown as rubbish only.
    assert!(says(dir.path(), &["watch", "log", "--once", "--plain"], 0).contains("give --elf"));
}
