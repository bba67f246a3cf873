//! The output after a run: a text, and a JSON object for programs.

use crate::output::print_line;
use digits_workload::host::run::{Best, Summary};
use digits_workload::host::settings::{NONE, Settings};
use std::fmt::Display;
use std::path::Path;
use training_monitor::StopReason;

/// Prints the result of the run.
pub fn print_text(summary: &Summary, directory: &Path, chart: &Path) {
    let Summary { outcome, steps, step_seconds, seconds, checksum, best, was_finished, profile } = summary;
    match outcome.reason {
        StopReason::Interrupted => {
            print_line(format_args!("stopped by a signal; the state is saved, continue with --resume"));
        }
        StopReason::TimeLimit => {
            print_line(format_args!(
                "the time is used up; continue with --resume and a larger --time-limit, or `none`"
            ));
        }
        _ if *was_finished => print_line(format_args!("the run was already finished; no step was trained")),
        _ => (),
    }
    let microseconds = step_seconds / f64::from((*steps).max(1)) * 1e6;
    print_line(format_args!(
        "stopped       {:?}, after epoch {} (iteration {})",
        outcome.reason, outcome.epoch, outcome.iteration
    ));
    print_line(format_args!("training time {seconds:.2} s"));
    print_line(format_args!("step time     {microseconds:.1} µs on average over {steps} steps"));
    if !was_finished {
        print_line(format_args!("durations of this start in µs; `actions` are the saves of a handler:"));
        profile.lines().for_each(|line| print_line(format_args!("  {line}")));
    }
    match best {
        Some(Best { epoch, test }) => print_line(format_args!(
            "best          epoch {epoch}, {:.2} % of the test images correct, loss {:.4}",
            test.accuracy * 100.0,
            test.loss
        )),
        None if outcome.reason == StopReason::Interrupted => {
            print_line(format_args!("best          not evaluated, because the run continues"));
        }
        None => print_line(format_args!("best          no checkpoint, because no epoch has a finite validation loss")),
    }
    print_line(format_args!("checkpoints   {}", directory.display()));
    print_line(format_args!("chart         {}", chart.display()));
    print_line(format_args!("final weights {checksum:016x}"));
}

/// Prints the result and the settings as one line of JSON. A number that is NaN, infinite or unknown is `null`.
pub fn print_json(summary: &Summary, settings: &Settings) {
    let Summary { outcome, seconds, checksum, best, .. } = summary;
    let accuracy = number(best.map(|best| best.test.accuracy));
    let loss = number(best.map(|best| best.test.loss));
    let best_epoch = best.map_or_else(null, |best| best.epoch.to_string());
    let entry = |(name, value): (&str, String)| match (name, &*value) {
        (_, NONE) => format!("\"{name}\":null"),
        ("schedule" | "partition", value) => format!("\"{name}\":\"{value}\""),
        // A finite number or a boolean has the same text in JSON.
        (_, value) => format!("\"{name}\":{value}"),
    };
    let entries: Vec<String> = settings.entries().into_iter().map(entry).collect();
    print_line(format_args!(
        "{{\"accuracy\":{accuracy},\"loss\":{loss},\"best_epoch\":{best_epoch},\"reason\":\"{:?}\",\"epochs\":{},\
         \"iterations\":{},\"seconds\":{},\"seed\":{},\"final_weights\":\"{checksum:016x}\",\"settings\":{{{}}}}}",
        outcome.reason,
        outcome.epoch,
        outcome.iteration,
        number(Some(*seconds)),
        settings.seed,
        entries.join(",")
    ));
}

/// The shortest text that has the value of the number, or `null`.
fn number<T: Into<f64> + Copy + Display>(value: Option<T>) -> String {
    value.filter(|value| (*value).into().is_finite()).map_or_else(null, |value| value.to_string())
}

fn null() -> String {
    "null".to_owned()
}
