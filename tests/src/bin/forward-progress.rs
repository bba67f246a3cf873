//! Measures the forward progress of training whose power fails: see [`training_monitor_tests::forward_progress`].
//!
//! `cargo run --release --bin forward-progress -- [--seconds S] [--seed N] [--chart FILE]`
//!
//! `--chart` writes an SVG image. After the time `--seconds`, no further case is started. The last line of the output is
//! `N of M requirements hold`. The exit code is 1 if a requirement does not hold.

use std::process::ExitCode;
use std::time::Duration;
use training_monitor_tests::forward_progress::requirements::{Requirement, check};
use training_monitor_tests::forward_progress::run::run_for;
use training_monitor_tests::forward_progress::{chart, report};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut chart_file, mut arguments) = (60, 0, None, std::env::args().skip(1));
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        let number = || value.as_deref().and_then(|value| value.parse::<u64>().ok());
        match (argument.as_str(), number(), &value) {
            ("--seconds", Some(number), _) => seconds = number,
            ("--seed", Some(number), _) => seed = number,
            ("--chart", _, Some(file)) => chart_file = Some(file.clone()),
            _ => {
                eprintln!("usage: forward-progress [--seconds S] [--seed N] [--chart FILE]");
                return ExitCode::from(2);
            }
        }
    }
    let results = run_for(seed, Duration::from_secs(seconds));
    let mut text = String::new();
    report::write(&mut text, &results).expect("writing to a String does not fail");
    print!("{text}");
    if let Some(file) = chart_file
        && let Err(error) = std::fs::write(&file, chart::draw(&results.cases))
    {
        eprintln!("the chart {file} cannot be written: {error}");
        return ExitCode::from(2);
    }
    let all_cases = [results.cases, results.further].concat();
    println!("{} cases were simulated", all_cases.len());
    let requirements = check(&all_cases, &results.trainings);
    requirements.iter().for_each(|requirement| print!("{requirement}"));
    let held = requirements.iter().filter(|requirement| requirement.holds()).count();
    println!("{held} of {} requirements hold", requirements.len());
    ExitCode::from(u8::from(!requirements.iter().all(Requirement::holds)))
}
