//! The command line tool `training-monitor`. The module `tool` of the library contains its code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(training_monitor_std::tool::run(std::env::args_os()))
}
