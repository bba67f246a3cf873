//! Checks the flash store and the store in byte-addressable memory under simulated power failures:
//! see [`training_monitor_tests::power_failure`].
//!
//! `cargo run --release --bin power-failure -- [--in-pieces] [--seconds S] [--seed N] [--thorough] [--geometry WxE]
//! [--replay LINE]`
//!
//! With `--in-pieces`, the store in flash saves in pieces. The last line of the output is `N passed, M failed`. The exit code is 1 if a case failed. `--thorough` covers more
//! cases and takes long. `--geometry 32x256` covers one geometry only: a write size of 32 bytes and an erase size of
//! 256 bytes. An erase size of 0 stands for byte-addressable memory: `--geometry 64x0` is an EEPROM with pages of 64 bytes.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use training_monitor_tests::power_failure::{self, Extent, GEOMETRIES, Geometry, SavesInPieces, Unmodified};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut arguments) = (30, 0, std::env::args().skip(1));
    let mut in_pieces = false;
    let (mut extent, mut geometries) = (Extent::Full, GEOMETRIES.to_vec());
    while let Some(argument) = arguments.next() {
        if argument == "--thorough" {
            extent = Extent::Thorough;
            continue;
        }
        if argument == "--in-pieces" {
            in_pieces = true;
            continue;
        }
        let value = arguments.next();
        let number = || value.as_deref().and_then(|value| value.parse::<u64>().ok());
        match (argument.as_str(), number(), &value) {
            ("--seconds", Some(number), _) => seconds = number,
            ("--seed", Some(number), _) => seed = number,
            ("--geometry", _, Some(name)) if geometry(name).is_some() => {
                geometries = geometry(name).into_iter().collect();
            }
            ("--replay", _, Some(line)) => return replay(line, in_pieces),
            _ => {
                eprintln!(
                    "usage: power-failure [--in-pieces] [--seconds S] [--seed N] [--thorough] [--geometry WxE] [--replay LINE]"
                );
                return ExitCode::from(2);
            }
        }
    }
    let start = Instant::now();
    let time = Duration::from_secs(seconds);
    let summary = if in_pieces {
        power_failure::run::<SavesInPieces>(extent, &geometries, seed, time)
    } else {
        power_failure::run::<Unmodified>(extent, &geometries, seed, time)
    };
    for (line, error) in &summary.failed_cases {
        println!("{error}\n    --replay \"{line}\"");
    }
    let (cases, time) = (summary.passed + summary.failed, start.elapsed().as_secs_f64());
    println!("{cases} cases in {time:.1} s, {:.0} per second", cases as f64 / time);
    println!("{} passed, {} failed", summary.passed, summary.failed);
    ExitCode::from(u8::from(summary.failed > 0))
}

/// Returns the supported geometry with this name, for example `32x256`.
fn geometry(name: &str) -> Option<Geometry> {
    GEOMETRIES.iter().copied().find(|(write, erase, _)| format!("{write}x{erase}") == name)
}

fn replay(line: &str, in_pieces: bool) -> ExitCode {
    let result = if in_pieces {
        power_failure::replay::<SavesInPieces>(line)
    } else {
        power_failure::replay::<Unmodified>(line)
    };
    match &result {
        Ok(()) => println!("1 passed, 0 failed"),
        Err(error) => println!("{error}\n0 passed, 1 failed"),
    }
    ExitCode::from(u8::from(result.is_err()))
}
