//! Fuzzes on stable Rust: `cargo run --release --bin fuzz -- [--seconds S] [--seed N] [TARGET...]`, S for each target.
//!
//! Prints executions and their rate for each target and closes with `N passed, M failed`, counting targets. What fails is
//! kept in a file and printed as the command that runs it again, which is `--replay TARGET FILE`. The exit code is 1
//! if anything failed, 2 if there was nothing to run. The targets are in [`training_monitor_tests::fuzz`].

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;
use training_monitor_tests::fuzz::runner::{self, Verdict};
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

fn named(name: &str) -> Result<Target, String> {
    target(name).ok_or_else(|| format!("fuzz: no target is called {name}; `fuzz --list` tells them all\n{USAGE}"))
}

/// How many targets failed.
fn run(arguments: &[String]) -> Result<usize, String> {
    let (mut seconds, mut seed, mut targets) = (10.0, 0, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("fuzz: {argument} takes a value\n{USAGE}"));
        match argument.as_str() {
            "--list" => {
                TARGETS.iter().for_each(|target| println!("{}", target.name));
                return Ok(0);
            }
            "--replay" => return replay(&named(value()?)?, value()?),
            "--seconds" => {
                let text = value()?;
                let number = text.parse().ok().filter(|seconds: &f64| (0.0..1e6).contains(seconds));
                seconds = number.ok_or_else(|| format!("fuzz: {text} is no number of seconds"))?;
            }
            "--seed" => {
                let text = value()?;
                seed = text.parse().map_err(|_| format!("fuzz: {text} is no seed"))?;
            }
            option if option.starts_with('-') => return Err(format!("fuzz: unknown option {option}\n{USAGE}")),
            name => targets.push(named(name)?),
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    let mut failed = 0;
    println!("seed {seed}, {seconds} s a target");
    for target in &targets {
        let time = Duration::from_secs_f64(seconds);
        let verdict =
            runner::run(target, seed, u64::MAX, time).map_err(|error| format!("fuzz: the corpus: {error}"))?;
        failed += usize::from(tell(target, &verdict));
    }
    println!("{} passed, {failed} failed", targets.len() - failed);
    Ok(failed)
}

/// Prints what came out of a target; whether it failed.
fn tell(target: &Target, verdict: &Verdict) -> bool {
    let rate = verdict.executions as f64 / verdict.time.as_secs_f64().max(1e-9);
    println!("{:18} {:>12} executions {rate:>12.0} exec/s", target.name, verdict.executions);
    let Some(failure) = &verdict.failure else { return false };
    println!("FAIL {}: {}", target.name, failure.why);
    match runner::keep(target, &failure.data) {
        Ok(line) => println!("    {line}"),
        Err(error) => println!("    {} bytes that could not be kept ({error}): {:?}", failure.data.len(), failure.data),
    }
    true
}

fn replay(target: &Target, file: &str) -> Result<usize, String> {
    let data = fs::read(file).map_err(|error| format!("fuzz: {file}: {error}"))?;
    match runner::attempt(target, &data) {
        Ok(()) => {
            println!("1 passed, 0 failed");
            Ok(0)
        }
        Err(why) => {
            println!("FAIL {}: {why}\n0 passed, 1 failed", target.name);
            Ok(1)
        }
    }
}
