//! Cuts the power of the flash store: see [`training_monitor_tests::power_cut`].
//!
//! `cargo run --release --bin power-cut -- [--seconds S] [--seed N] [--thorough] [--geometry WxE] [--replay LINE]`. Closes
//! with `N passed, M failed`; the exit code is 1 if anything failed. `--thorough` leaves less out and takes long;
//! `--geometry 32x256` has it look at one only, of granules of 32 and erase blocks of 256 bytes.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use training_monitor_tests::power_cut::{self, Extent, GEOMETRIES, Geometry, Honest};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut arguments) = (30, 0, std::env::args().skip(1));
    let (mut extent, mut geometries) = (Extent::Full, GEOMETRIES.to_vec());
    while let Some(argument) = arguments.next() {
        if argument == "--thorough" {
            extent = Extent::Thorough;
            continue;
        }
        let value = arguments.next();
        let number = || value.as_deref().and_then(|value| value.parse::<u64>().ok());
        match (argument.as_str(), number(), &value) {
            ("--seconds", Some(number), _) => seconds = number,
            ("--seed", Some(number), _) => seed = number,
            ("--geometry", _, Some(name)) if known(name).is_some() => geometries = known(name).into_iter().collect(),
            ("--replay", _, Some(line)) => return replay(line),
            _ => {
                eprintln!("usage: power-cut [--seconds S] [--seed N] [--thorough] [--geometry WxE] [--replay LINE]");
                return ExitCode::from(2);
            }
        }
    }
    let start = Instant::now();
    let verdict = power_cut::judge::<Honest>(extent, &geometries, seed, Duration::from_secs(seconds));
    for (line, why) in &verdict.failures {
        println!("{why}\n    --replay \"{line}\"");
    }
    let (cases, time) = (verdict.passed + verdict.failed, start.elapsed().as_secs_f64());
    println!("{cases} cases in {time:.1} s, {:.0} a second", cases as f64 / time);
    println!("{} passed, {} failed", verdict.passed, verdict.failed);
    ExitCode::from(u8::from(verdict.failed > 0))
}

/// A geometry that is built in.
fn known(name: &str) -> Option<Geometry> {
    GEOMETRIES.iter().copied().find(|(write, erase, _)| format!("{write}x{erase}") == name)
}

fn replay(line: &str) -> ExitCode {
    let result = power_cut::replay::<Honest>(line);
    match &result {
        Ok(()) => println!("1 passed, 0 failed"),
        Err(why) => println!("{why}\n0 passed, 1 failed"),
    }
    ExitCode::from(u8::from(result.is_err()))
}
