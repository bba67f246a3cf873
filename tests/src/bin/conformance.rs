//! Replays recorded traces of pytorch-ignite: `conformance FILE...`.
//!
//! Prints one line for each trace that the library does not reproduce, with the first difference. The last line is
//! `N passed, M failed`. Exit code 0: all traces passed; 1: a trace failed; 2: usage or I/O error.
//! The module `training_monitor_tests::conformance` replays the traces.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use training_monitor_tests::conformance;

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

/// Replays all files. Returns the number of failed traces, or a usage or I/O error.
fn run(arguments: Vec<OsString>) -> Result<usize, String> {
    let files = arguments.iter().filter(|argument| *argument != "--");
    if let Some(option) = files.clone().find(|argument| argument.to_string_lossy().starts_with('-')) {
        return Err(format!("conformance: unknown option {}\n{USAGE}", option.display()));
    }
    // Read all files first, so that an unreadable file is an error instead of a result for a part of the files.
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
    // The replay catches panics and reports each one in the line of its trace.
    panic::set_hook(Box::new(|_| ()));
    let mut out = io::stdout().lock();
    let (mut passed, mut failed) = (0, 0);
    for (file, text) in traces {
        for trace in conformance::run(&text) {
            match trace.result {
                Ok(()) => passed += 1,
                Err(failure) => {
                    failed += 1;
                    check_output(writeln!(out, "FAIL {} {}: {failure}", file.display(), trace.id))?;
                }
            }
        }
    }
    check_output(writeln!(out, "{passed} passed, {failed} failed"))?;
    Ok(failed)
}

fn check_output(result: io::Result<()>) -> Result<(), String> {
    result.map_err(|error| format!("conformance: cannot write the result: {error}"))
}
