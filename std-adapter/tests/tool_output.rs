//! The output files of the tool: what it replaces, what it refuses, and what it writes directly.

mod tool;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tool::{check_output, run_tool, train};
use training_monitor_std::{Directory, History};

/// The checkpoint from which the tests export.
const CHECKPOINT: &str = "run/latest_model_12.ckpt";

/// Creates a run with checkpoints and a history in the directory `run`.
fn run_directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let open = |prefix: &str| Directory::builder(dir.path().join("run"), prefix).require_empty(false).open().unwrap();
    train(open("best"), open("latest"));
    let history = History::create(dir.path().join("run/history.jsonl")).unwrap();
    (1..40).for_each(|iteration| history.record_iteration(iteration, 1.0 / iteration as f32, None));
    history.flush().unwrap();
    dir
}

/// Returns the names in a directory. A temporary file of the tool would be one of them.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Each command that writes a file. `OUT` is the file.
const COMMANDS: [&[&str]; 3] = [
    &["export", CHECKPOINT, "--to", "json", "-o", "OUT"],
    &["import", "weights.npz", "--to", "checkpoint", "-o", "OUT"],
    &["plot", "run", "--to", "svg", "-o", "OUT"],
];

/// Replaces `OUT` in the arguments of a command.
fn with_output<'a>(command: &[&'a str], output: &'a str) -> Vec<&'a str> {
    command.iter().map(|argument| if *argument == "OUT" { output } else { argument }).collect()
}

fn prepared() -> TempDir {
    let dir = run_directory();
    check_output(dir.path(), &["export", CHECKPOINT, "-o", "weights.npz"], 0);
    dir
}

#[test]
fn an_existing_file_is_replaced_only_with_force() {
    let dir = prepared();
    for command in COMMANDS {
        fs::write(dir.path().join("out"), "precious").unwrap();
        let error = check_output(dir.path(), &with_output(command, "out"), 2);
        assert_eq!(error, "error: out exists; use --force to replace it\n", "{command:?}");
        assert_eq!(fs::read(dir.path().join("out")).unwrap(), b"precious");
        check_output(dir.path(), &[&with_output(command, "out")[..], &["--force"]].concat(), 0);
        assert_ne!(fs::read(dir.path().join("out")).unwrap(), b"precious");
    }
    // The name that `export` chooses is protected, too.
    let export = ["export", CHECKPOINT, "--to", "csv"];
    check_output(dir.path(), &export, 0);
    assert!(check_output(dir.path(), &export, 2).contains("latest_model_12_12.csv exists"));
    assert_eq!(names(dir.path()), ["latest_model_12_12.csv", "out", "run", "weights.npz"]);
}

#[test]
fn an_input_is_never_the_output() {
    let dir = prepared();
    fs::hard_link(dir.path().join("run/history.jsonl"), dir.path().join("history")).unwrap();
    let checkpoint = fs::read(dir.path().join(CHECKPOINT)).unwrap();
    for (arguments, file) in [
        (&["export", CHECKPOINT, "--to", "npz", "-o", CHECKPOINT][..], CHECKPOINT),
        (&["export", CHECKPOINT, "--to", "npz", "-o", "run/../run/latest_model_12.ckpt"], CHECKPOINT),
        (&["import", "weights.npz", "--to", "checkpoint", "-o", "weights.npz"], "weights.npz"),
        (&["import", "weights.npz", "--template", CHECKPOINT, "-o", CHECKPOINT], CHECKPOINT),
        (&["plot", "run", "--to", "svg", "-o", "run/history.jsonl"], "run/history.jsonl"),
        (&["plot", "run", "--to", "svg", "-o", "history"], "history"),
    ] {
        let before = fs::read(dir.path().join(file)).unwrap();
        let error = check_output(dir.path(), &[arguments, &["--force"]].concat(), 2);
        assert!(error.contains("is also an input of the command"), "{arguments:?}\n{error}");
        assert_eq!(fs::read(dir.path().join(file)).unwrap(), before, "{arguments:?}");
    }
    assert_eq!(fs::read(dir.path().join(CHECKPOINT)).unwrap(), checkpoint);
}

#[test]
fn the_ending_selects_the_format_and_an_option_overrides_it() {
    let dir = run_directory();
    let start = |file: &str| fs::read(dir.path().join(file)).unwrap()[..4].to_vec();
    for (arguments, file, magic) in [
        (&["export", CHECKPOINT, "-o", "a.npz"][..], "a.npz", b"PK\x03\x04"),
        (&["export", CHECKPOINT, "-o", "a.CSV"], "a.CSV", b"tens"),
        (&["export", CHECKPOINT, "-o", "b.npz", "--to", "csv"], "b.npz", b"tens"),
        (&["import", "a.npz", "-o", "a.ckpt"], "a.ckpt", b"TMCK"),
        (&["import", "a.npz", "-o", "b.bin", "--to", "checkpoint"], "b.bin", b"TMCK"),
        (&["plot", "run", "-o", "a.svg"], "a.svg", b"<svg"),
        (&["plot", "run", "-o", "a.png"], "a.png", b"\x89PNG"),
        (&["plot", "run", "-o", "a.txt", "--to", "png"], "a.txt", b"\x89PNG"),
    ] {
        check_output(dir.path(), arguments, 0);
        assert_eq!(start(file), magic, "{arguments:?}");
    }
    check_output(dir.path(), &["import", "a.npz", "-o", "a.img", "--slots", "2", "--slot-size", "1K"], 0);
    assert_eq!(fs::read(dir.path().join("a.img")).unwrap().len(), 2048);
    for arguments in [
        &["export", CHECKPOINT, "-o", "x.txt"][..],
        &["export", CHECKPOINT],
        &["export", CHECKPOINT, "-o", "-"],
        &["import", "a.npz", "-o", "x"],
        &["plot", "run", "-o", "x.jpg"],
    ] {
        let error = check_output(dir.path(), arguments, 2);
        assert!(error.contains("is unknown: use --to, or a file with the ending ."), "{arguments:?}\n{error}");
    }
}

#[test]
fn a_hyphen_is_standard_output_and_standard_input() {
    let dir = prepared();
    for command in COMMANDS {
        check_output(dir.path(), &with_output(command, "file"), 0);
        let output = run_tool(dir.path(), &with_output(command, "-"));
        assert_eq!(output.stderr, b"", "{command:?}");
        assert_eq!(output.stdout, fs::read(dir.path().join("file")).unwrap(), "{command:?}");
        fs::remove_file(dir.path().join("file")).unwrap();
    }
    let mut import = tool::tool_command(dir.path(), &["import", "-", "-o", "piped.ckpt"]);
    let output = import.stdin(File::open(dir.path().join("weights.npz")).unwrap()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(dir.path().join("piped.ckpt")).unwrap(), fs::read(dir.path().join(CHECKPOINT)).unwrap());
    // Other commands read standard input, too.
    let piped = |arguments: &[&str], file: &str| {
        let mut command = tool::tool_command(dir.path(), arguments);
        let output = command.stdin(File::open(dir.path().join(file)).unwrap()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(piped(&["inspect", "-"], CHECKPOINT).contains("model.fc.weight"));
    assert!(piped(&["verify", "-"], CHECKPOINT).contains("intact -: 1 checkpoint"));
    assert!(piped(&["diff", "-", CHECKPOINT], CHECKPOINT).contains("no difference"));
    assert!(piped(&["export", "-", "--to", "csv"], CHECKPOINT).contains("checkpoint_12.csv"));
    if cfg!(unix) {
        assert!(piped(&["plot", "-"], "run/history.jsonl").contains("training loss"));
    }
    // The input is recognized although its name is a hyphen.
    let mut import =
        tool::tool_command(dir.path(), &["import", "-", "--to", "checkpoint", "-o", "weights.npz", "--force"]);
    let output = import.stdin(File::open(dir.path().join("weights.npz")).unwrap()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("also an input"), "{output:?}");
}

#[test]
fn a_failed_command_leaves_no_file() {
    let dir = prepared();
    let before = names(dir.path());
    fs::write(dir.path().join("bad.csv"), "tensor,type,shape,index,value\nm.w,f32,1,7,0\n").unwrap();
    check_output(dir.path(), &["import", "bad.csv", "-o", "bad.ckpt"], 2);
    let error = check_output(dir.path(), &["export", CHECKPOINT, "-o", "missing/out.npz"], 2);
    assert!(error.starts_with("error: cannot write missing/out.npz: "), "{error}");
    assert_eq!(error.matches("missing/out.npz").count(), 1, "{error}");
    let error = check_output(dir.path(), &["export", CHECKPOINT, "--to", "npz", "-o", "run"], 2);
    assert!(error.starts_with("error: cannot write run: "), "{error}");
    fs::remove_file(dir.path().join("bad.csv")).unwrap();
    assert_eq!(names(dir.path()), before);
}

/// Links, devices, FIFOs and descriptors of Unix.
#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn the_target_of_a_link_is_replaced_and_the_link_stays() {
        let dir = prepared();
        fs::create_dir(dir.path().join("disk")).unwrap();
        // A chain of relative links, and a link whose target does not exist yet.
        symlink("disk/first", dir.path().join("link")).unwrap();
        symlink("second", dir.path().join("disk/first")).unwrap();
        for command in COMMANDS {
            check_output(dir.path(), &with_output(command, "link"), 0);
            let written = fs::read(dir.path().join("disk/second")).unwrap();
            assert!(dir.path().join("link").is_symlink() && dir.path().join("disk/first").is_symlink());
            assert!(check_output(dir.path(), &with_output(command, "link"), 2).contains("link exists"));
            fs::write(dir.path().join("disk/second"), "old").unwrap();
            check_output(dir.path(), &[&with_output(command, "link")[..], &["--force"]].concat(), 0);
            assert_eq!(fs::read(dir.path().join("disk/second")).unwrap(), written);
            fs::remove_file(dir.path().join("disk/second")).unwrap();
        }
        assert_eq!(names(&dir.path().join("disk")), ["first"]);
        symlink("loop", dir.path().join("loop")).unwrap();
        let error = check_output(dir.path(), &["export", CHECKPOINT, "--to", "npz", "-o", "loop"], 2);
        assert!(error.starts_with("error: cannot write loop: "), "{error}");
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions() {
        let dir = prepared();
        let out = dir.path().join("out.csv");
        let mode = || fs::metadata(&out).unwrap().permissions().mode() & 0o777;
        fs::write(&out, "").unwrap();
        let default = mode();
        check_output(dir.path(), &["export", CHECKPOINT, "-o", "out.csv", "--force"], 0);
        assert_eq!(mode(), default);
        fs::set_permissions(&out, fs::Permissions::from_mode(0o640)).unwrap();
        check_output(dir.path(), &["export", CHECKPOINT, "-o", "out.csv", "--force"], 0);
        assert_eq!(mode(), 0o640);
        fs::remove_file(&out).unwrap();
        check_output(dir.path(), &["export", CHECKPOINT, "-o", "out.csv"], 0);
        assert_eq!(mode(), default, "a new file has the mode that other programs give it");
    }

    #[test]
    fn a_device_stays_a_device() {
        let dir = prepared();
        for command in COMMANDS {
            let text = check_output(dir.path(), &with_output(command, "/dev/null"), 0);
            assert_eq!(text, "", "{command:?}");
            assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device(), "{command:?}");
            check_output(dir.path(), &[&with_output(command, "/dev/null")[..], &["--force"]].concat(), 0);
            assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device(), "{command:?}");
        }
    }

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "needs /dev/full")]
    fn a_full_disk_is_reported() {
        let dir = prepared();
        for command in COMMANDS {
            let error = check_output(dir.path(), &with_output(command, "/dev/full"), 2);
            assert!(error.starts_with("error: cannot write /dev/full: No space left"), "{command:?}\n{error}");
        }
    }

    #[test]
    fn a_fifo_receives_the_bytes_and_stays_a_fifo() {
        let dir = prepared();
        let fifo = dir.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for command in COMMANDS {
            let reader = std::thread::spawn({
                let fifo = fifo.clone();
                move || fs::read(fifo).unwrap()
            });
            check_output(dir.path(), &with_output(command, "fifo"), 0);
            check_output(dir.path(), &with_output(command, "file"), 0);
            assert_eq!(reader.join().unwrap(), fs::read(dir.path().join("file")).unwrap(), "{command:?}");
            assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
            fs::remove_file(dir.path().join("file")).unwrap();
        }
    }

    #[test]
    fn a_signal_removes_the_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        // The conversion to text takes long enough for a signal.
        let header = r#"{"model.w":{"dtype":"F32","shape":[4194304],"data_offsets":[0,16777216]}}"#;
        let elements = 0.1_f32.to_le_bytes().repeat(1 << 22);
        let file = [&header.len().to_le_bytes()[..], header.as_bytes(), &elements].concat();
        fs::write(dir.path().join("large.safetensors"), file).unwrap();
        check_output(dir.path(), &["import", "large.safetensors", "-o", "large.ckpt"], 0);
        fs::remove_file(dir.path().join("large.safetensors")).unwrap();
        for (signal, number) in [("-INT", 2), ("-TERM", 15)] {
            let mut child =
                tool::tool_command(dir.path(), &["export", "large.ckpt", "-o", "large.json"]).spawn().unwrap();
            while !names(dir.path()).iter().any(|name| name.ends_with(".tmp")) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            assert_eq!(child.wait().unwrap().signal(), Some(number));
            assert_eq!(names(dir.path()), ["large.ckpt"]);
        }
    }

    /// A shell passes `>(gzip)` as `/dev/fd/63`, and a redirected file as the target of `/dev/stdout`.
    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "needs the descriptors of Linux")]
    fn descriptors_of_a_shell_are_written_directly() {
        let dir = prepared();
        check_output(dir.path(), &["export", CHECKPOINT, "-o", "expected.csv"], 0);
        let expected = fs::read_to_string(dir.path().join("expected.csv")).unwrap();
        let tool = env!("CARGO_BIN_EXE_training-monitor");
        for (output, redirection) in
            [("/dev/fd/3", "3>&1 | cat > out"), ("/dev/stdout", "> out"), ("/dev/fd/3", "3>> out")]
        {
            let line = format!("{tool} export {CHECKPOINT} --to csv -o {output} {redirection}");
            let shell = Command::new("sh").args(["-c", &line]).current_dir(dir.path()).output().unwrap();
            assert!(shell.status.success() && shell.stderr.is_empty(), "{line}\n{shell:?}");
        }
        // The last line appends to the output of the line before.
        let out = fs::read_to_string(dir.path().join("out")).unwrap();
        assert_eq!(out, format!("{expected}{expected}"));
    }
}

/// The tool once asked the program `tput` for the width of a terminal that does not exist.
#[test]
#[cfg(unix)]
fn a_command_without_a_terminal_starts_no_program() {
    use std::os::unix::fs::PermissionsExt;
    let dir = run_directory();
    let program = dir.path().join("tput");
    fs::write(&program, "#!/bin/sh\n: >started\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in [&["inspect", "run"][..], &["verify", "run"], &["diff", CHECKPOINT, CHECKPOINT], &["plot", "run"]]
    {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
        tool.args(arguments).current_dir(dir.path()).env("PATH", dir.path());
        let output = tool.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        assert!(!dir.path().join("started").exists(), "{arguments:?}");
    }
}
