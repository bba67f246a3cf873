//! Fuzzes on stable Rust: `cargo run --release --bin fuzz -- [--seconds S] [--seed N] [TARGET...]` runs each target for
//! S seconds.
//!
//! Prints the number of executions and their rate for each target. The last line is `N passed, M failed`, where N and M
//! are numbers of targets. A failing input is saved to a file, and the program prints the command `--replay TARGET
//! FILE` that runs it again. The exit code is 1 if a target failed and 2 after a usage or I/O error. The targets are in
//! [`training_monitor_tests::fuzz`].

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;
use training_monitor_tests::fuzz::runner::{self, Summary};
use training_monitor_tests::fuzz::{TARGETS, Target, target};

const USAGE: &str =
    "usage: fuzz [--seconds S] [--seed N] [TARGET...]\n       fuzz --replay TARGET FILE\n       fuzz --list";

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(failed) => ExitCode::from(u8::from(failed > 0)),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn find_target(name: &str) -> Result<Target, String> {
    target(name).ok_or_else(|| format!("fuzz: unknown target {name}; `fuzz --list` lists all targets\n{USAGE}"))
}

/// Runs the program with the given arguments. Returns the number of failed targets.
fn run(arguments: &[String]) -> Result<usize, String> {
    let (mut seconds, mut seed, mut targets) = (10.0, 0, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("fuzz: {argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--list" => {
                TARGETS.iter().for_each(|target| println!("{}", target.name));
                return Ok(0);
            }
            "--replay" => return replay(&find_target(value()?)?, value()?),
            "--seconds" => {
                let text = value()?;
                let number = text.parse().ok().filter(|seconds: &f64| (0.0..1e6).contains(seconds));
                seconds = number.ok_or_else(|| format!("fuzz: --seconds: {text} is not a number from 0 to 1000000"))?;
            }
            "--seed" => {
                let text = value()?;
                seed = text.parse().map_err(|_| format!("fuzz: --seed: {text} is not an unsigned integer"))?;
            }
            option if option.starts_with('-') => return Err(format!("fuzz: unknown option {option}\n{USAGE}")),
            name => targets.push(find_target(name)?),
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    let mut failed = 0;
    println!("seed {seed}, {seconds} s per target");
    for target in &targets {
        let time = Duration::from_secs_f64(seconds);
        let summary = runner::run(target, seed, u64::MAX, time)
            .map_err(|error| format!("fuzz: cannot read the corpus: {error}"))?;
        failed += usize::from(report(target, &summary));
    }
    println!("{} passed, {failed} failed", targets.len() - failed);
    Ok(failed)
}

/// Prints the result of a target. Returns whether it failed.
fn report(target: &Target, summary: &Summary) -> bool {
    let rate = summary.executions as f64 / summary.time.as_secs_f64().max(1e-9);
    println!("{:18} {:>12} executions {rate:>12.0} exec/s", target.name, summary.executions);
    let Some(failure) = &summary.failure else { return false };
    println!("FAIL {}: {}", target.name, failure.message);
    match runner::save_input(target, &failure.data) {
        Ok(line) => println!("    {line}"),
        Err(error) => {
            println!("    cannot save the input ({error}); its {} bytes: {:?}", failure.data.len(), failure.data)
        }
    }
    true
}

fn replay(target: &Target, file: &str) -> Result<usize, String> {
    let data = fs::read(file).map_err(|error| format!("fuzz: {file}: {error}"))?;
    match runner::execute(target, &data) {
        Ok(()) => {
            println!("1 passed, 0 failed");
            Ok(0)
        }
        Err(message) => {
            println!("FAIL {}: {message}\n0 passed, 1 failed", target.name);
            Ok(1)
        }
    }
}
