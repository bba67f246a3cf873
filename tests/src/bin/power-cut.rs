//! Cuts the power of the flash store: see [`training_monitor_tests::power_cut`].
//!
//! `cargo run --release --bin power-cut -- [--seconds S] [--seed N] [--replay LINE]`. Closes with `N passed, M failed`;
//! the exit code is 1 if anything failed.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use training_monitor_tests::power_cut::{self, Extent, Honest};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut arguments) = (30, 0, std::env::args().skip(1));
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        let number = || value.as_deref().and_then(|value| value.parse::<u64>().ok());
        match (argument.as_str(), number(), &value) {
            ("--seconds", Some(number), _) => seconds = number,
            ("--seed", Some(number), _) => seed = number,
            ("--replay", _, Some(line)) => return replay(line),
            _ => {
                eprintln!("usage: power-cut [--seconds S] [--seed N] [--replay LINE]");
                return ExitCode::from(2);
            }
        }
    }
    let start = Instant::now();
    let extent = if seconds < 3600 { Extent::Full } else { Extent::Thorough };
    let verdict = power_cut::judge::<Honest>(extent, seed, Duration::from_secs(seconds));
    for (line, why) in &verdict.failures {
        println!("{why}\n    --replay \"{line}\"");
    }
    let (cases, time) = (verdict.passed + verdict.failed, start.elapsed().as_secs_f64());
    println!("{cases} cases in {time:.1} s, {:.0} a second", cases as f64 / time);
    println!("{} passed, {} failed", verdict.passed, verdict.failed);
    ExitCode::from(u8::from(verdict.failed > 0))
}

fn replay(line: &str) -> ExitCode {
    let result = power_cut::replay::<Honest>(line);
    match &result {
        Ok(()) => println!("1 passed, 0 failed"),
        Err(why) => println!("{why}\n0 passed, 1 failed"),
    }
    ExitCode::from(u8::from(result.is_err()))
}
