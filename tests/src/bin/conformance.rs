//! Replays recorded traces of pytorch-ignite: `conformance FILE...`.
//!
//! Prints a line for each trace that the library does not reproduce, with the first difference, and closes with the
//! number of traces that passed and failed. Exit code 0: all passed; 1: some failed; 2: nothing to judge.
//! What is judged and how is the business of `training_monitor_tests::conformance`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use training_monitor_tests::conformance::judge;

const USAGE: &str = "usage: conformance FILE...\n\
    Replays trace files (JSON lines, see tests/traces/README.md) and reports each trace that differs.";

fn main() -> ExitCode {
    match run(env::args_os().skip(1).collect()) {
        Ok(failed) => ExitCode::from(u8::from(failed > 0)),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// Judges all files; how many traces failed, or why there is nothing to judge.
fn run(arguments: Vec<OsString>) -> Result<usize, String> {
    let files = arguments.iter().filter(|argument| *argument != "--");
    if let Some(option) = files.clone().find(|argument| argument.to_string_lossy().starts_with('-')) {
        return Err(format!("conformance: unknown option {}\n{USAGE}", option.display()));
    }
    // All are read before any is judged: a result over some of them would look like one over all.
    let mut traces = Vec::new();
    for file in files {
        let text = fs::read(file).map_err(|error| format!("conformance: {}: {error}", file.display()))?;
        if text.trim_ascii().is_empty() {
            return Err(format!("conformance: {}: no traces in this file", file.display()));
        }
        traces.push((file, text));
    }
    if traces.is_empty() {
        return Err(USAGE.into());
    }
    // A panic is a verdict here, told on its trace's own line.
    panic::set_hook(Box::new(|_| ()));
    let mut out = io::stdout().lock();
    let (mut passed, mut failed) = (0, 0);
    for (file, text) in traces {
        for verdict in judge(&text) {
            match verdict.result {
                Ok(()) => passed += 1,
                Err(failure) => {
                    failed += 1;
                    tell(writeln!(out, "FAIL {} {}: {failure}", file.display(), verdict.id))?;
                }
            }
        }
    }
    tell(writeln!(out, "{passed} passed, {failed} failed"))?;
    Ok(failed)
}

fn tell(written: io::Result<()>) -> Result<(), String> {
    written.map_err(|error| format!("conformance: the result could not be written: {error}"))
}
