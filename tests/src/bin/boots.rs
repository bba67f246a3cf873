//! Simulates sequences of starts of a device: see [`training_monitor_tests::boots`].
//!
//! `cargo run --release --bin boots -- [--seconds S] [--seed N] [--replay LINE]`
//!
//! The last line of the output is `N passed, M failed`. The exit code is 1 if a sequence failed.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use training_monitor_tests::boots::cases::{Sequence, check};
use training_monitor_tests::boots::table::Summary;

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut arguments) = (40, 0, std::env::args().skip(1));
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        let number = || value.as_deref().and_then(|value| value.parse::<u64>().ok());
        match (argument.as_str(), number(), &value) {
            ("--seconds", Some(number), _) => seconds = number,
            ("--seed", Some(number), _) => seed = number,
            ("--replay", _, Some(line)) => return replay(line),
            _ => {
                eprintln!("usage: boots [--seconds S] [--seed N] [--replay LINE]");
                return ExitCode::from(2);
            }
        }
    }
    let start = Instant::now();
    let mut summary = Summary::new();
    summary.run_for(seed, Duration::from_secs(seconds));
    for (line, error) in &summary.failures {
        println!("{error}\n    --replay \"{line}\"");
    }
    let (sequences, time) = (summary.passed + summary.failed, start.elapsed().as_secs_f64());
    print!("{summary}");
    println!("{sequences} sequences in {time:.1} s, {:.0} per second", sequences as f64 / time);
    println!("{} passed, {} failed", summary.passed, summary.failed);
    ExitCode::from(u8::from(summary.failed > 0))
}

fn replay(line: &str) -> ExitCode {
    let result = line.parse::<Sequence>().and_then(|sequence| check(&sequence, true).map(|_| ()));
    match &result {
        Ok(()) => println!("1 passed, 0 failed"),
        Err(error) => println!("{error}\n0 passed, 1 failed"),
    }
    ExitCode::from(u8::from(result.is_err()))
}
