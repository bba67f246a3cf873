//! The command line of the host simulation.
//!
//! The parser checks each value. [`Arguments::settings`] combines the values with the defaults, or with the settings of
//! the resumed run, and checks them together. All of this happens before the program changes a file.

use super::network::HIDDEN_SIZES;
use super::settings::{NONE, ScheduleKind, Settings, UsageError};
use crate::data::Split;
use crate::shard::Shard;
use clap::Parser;
use std::path::PathBuf;
use std::str::FromStr;

/// Largest value of `--n-saved`: the size of the table of best checkpoints.
pub const MAX_N_SAVED: u32 = 64;
/// Largest value of `--epochs`. The number of iterations then fits into 32 bits for every batch size.
const MAX_EPOCHS: i64 = 1_000_000;
/// Largest value of `--time-limit`, in seconds. Its number of nanoseconds fits into 64 bits.
const MAX_SECONDS: f64 = 1e9;
/// Smallest value of `--time-limit`, in seconds.
const MIN_SECONDS: f64 = 1e-3;

/// Train a small network on handwritten digits
///
/// The program writes checkpoints, a history and a chart to the output directory. If the process is killed, start it
/// again with --resume. The resumed run ends with the same weights as an uninterrupted run, bit for bit.
///
/// A checkpoint contains all settings. With --resume, an option that is not given has its value of the resumed run.
/// --epochs, --patience, --n-saved and --time-limit can then have other values. All other settings must be equal.
///
/// Exit code: 0 if the run ended or was stopped by a signal; 1 if it failed, or if the loss or a weight was NaN or
/// infinite; 2 if an option is invalid. Nothing has changed in the last case.
#[derive(Parser, Debug)]
#[command(name = "digits", version)]
pub struct Arguments {
    /// Maximum number of epochs, and the length of the schedule `cosine` [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=MAX_EPOCHS))]
    pub epochs: Option<u32>,
    /// Stop after this number of epochs without a lower validation loss [default: 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub patience: Option<u32>,
    /// Stop at the end of the epoch in which the training time exceeds this number of seconds, or `none`. The time of
    /// all starts of a run counts. The run continues with --resume and a larger limit [default: none]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub time_limit: Option<Limit<f64>>,
    /// Number of best checkpoints to keep [default: 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_N_SAVED)))]
    pub n_saved: Option<u32>,
    /// Seed of the initial weights and of the image order [default: 1]
    #[arg(long)]
    pub seed: Option<u32>,
    /// Number of hidden units [default: 32]
    #[arg(long, value_name = "UNITS", value_parser = parse_hidden)]
    pub hidden: Option<u32>,
    /// Number of images per training step [default: 16]
    #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(1..=i64::from(Split::Train.len())))]
    pub batch_size: Option<u32>,
    /// Learning rate after the warm-up, greater than 0 and at most 10 [default: 0.4]
    #[arg(long, value_name = "RATE", value_parser = parse_learning_rate, allow_negative_numbers = true)]
    pub learning_rate: Option<f32>,
    /// Fraction of the previous velocity that a step keeps, at least 0 and less than 1 [default: 0.5; with
    /// --quantized: 0]
    #[arg(long, value_name = "FRACTION", value_parser = parse_momentum, allow_negative_numbers = true)]
    pub momentum: Option<f32>,
    /// How the learning rate changes [default: cosine]
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleKind>,
    /// Scale the gradient of a batch so that its L2 norm is at most this number, or `none` [default: 1; with
    /// --quantized: none]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    pub clip: Option<Limit<f32>>,
    /// Train the network with 8-bit weights, without momentum and clipping. Its checkpoints have less than a quarter of
    /// the size
    #[arg(long)]
    pub quantized: bool,
    /// Output directory for checkpoints, history and chart. Without --resume, a directory that is not empty is renamed
    #[arg(long, default_value = "runs/digits")]
    pub directory: PathBuf,
    /// Resume from the newest checkpoint in the output directory, if there is one
    #[arg(long)]
    pub resume: bool,
    /// Replace the loss of this iteration with a NaN, to demonstrate TerminateOnNan
    #[arg(long, value_name = "ITERATION", value_parser = clap::value_parser!(u32).range(1..))]
    pub nan_at: Option<u32>,
    /// Print one JSON object with the result and the settings as the last line of standard output
    #[arg(long)]
    pub json: bool,
    /// Do not show the progress: a progress bar, or one line per epoch if standard error is no terminal
    #[arg(long)]
    pub quiet: bool,
    /// The CRC-32 of the initial weights, if they are not drawn from the seed. The Python package sets it.
    #[arg(skip)]
    pub initial_weights: Option<u32>,
    /// The training images, if they are not all of them. The Python package sets it.
    #[arg(skip)]
    pub partition: Option<Shard>,
}

/// A number, or `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit<T>(pub Option<T>);

impl FromStr for Limit<f32> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_limit(text, "`none`, or a number greater than 0", |norm: f32| norm > 0.0)
    }
}

impl FromStr for Limit<f64> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = format!("`none`, or a number of seconds from {MIN_SECONDS} to {MAX_SECONDS}");
        parse_limit(text, &expected, |seconds| (MIN_SECONDS..=MAX_SECONDS).contains(&seconds))
    }
}

fn parse_limit<T>(text: &str, expected: &str, is_valid: impl Fn(T) -> bool) -> Result<Limit<T>, String>
where
    T: FromStr + Copy + Into<f64>,
{
    if text == "none" { Ok(Limit(None)) } else { parse_number(text, expected, is_valid).map(|n| Limit(Some(n))) }
}

/// Parses a finite number. The error message consists of the text `expected`.
fn parse_number<T>(text: &str, expected: &str, is_valid: impl Fn(T) -> bool) -> Result<T, String>
where
    T: FromStr + Copy + Into<f64>,
{
    let number = text.parse().ok().filter(|number: &T| (*number).into().is_finite() && is_valid(*number));
    number.ok_or_else(|| format!("expected {expected}"))
}

fn parse_learning_rate(text: &str) -> Result<f32, String> {
    parse_number(text, "a number greater than 0 and at most 10", |rate: f32| rate > 0.0 && rate <= 10.0)
}

fn parse_momentum(text: &str) -> Result<f32, String> {
    parse_number(text, "a number that is at least 0 and less than 1", |momentum: f32| (0.0..1.0).contains(&momentum))
}

fn parse_hidden(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|hidden| HIDDEN_SIZES.contains(hidden)).ok_or_else(|| {
        let sizes: Vec<String> = HIDDEN_SIZES.iter().map(u32::to_string).collect();
        format!("this program contains the networks with {} hidden units", sizes.join(", "))
    })
}

impl Arguments {
    /// Returns the settings of the run, and a note for each one that differs from the resumed run. `earlier` contains
    /// the settings of the resumed run.
    ///
    /// # Errors
    /// Returns an error if an option cannot be combined with another one, or if it cannot change in a resumed run.
    pub fn settings(&self, earlier: Option<Settings>) -> Result<(Settings, Vec<String>), UsageError> {
        let base = earlier.unwrap_or_else(|| Settings::defaults(self.quantized));
        let mut settings = Settings {
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            clip: self.clip.map_or(base.clip, |limit| limit.0),
            epochs: self.epochs.unwrap_or(base.epochs),
            hidden: self.hidden.unwrap_or(base.hidden),
            initial_weights: self.initial_weights.or(base.initial_weights),
            learning_rate: self.learning_rate.unwrap_or(base.learning_rate),
            momentum: self.momentum.unwrap_or(base.momentum),
            n_saved: self.n_saved.unwrap_or(base.n_saved),
            partition: self.partition.or(base.partition),
            patience: self.patience.unwrap_or(base.patience),
            quantized: self.quantized || base.quantized,
            schedule: self.schedule.unwrap_or(base.schedule),
            schedule_epochs: base.schedule_epochs,
            seed: self.seed.unwrap_or(base.seed),
            time_limit: self.time_limit.map_or(base.time_limit, |limit| limit.0),
        };
        if settings.quantized {
            self.check_quantized()?;
        }
        match earlier {
            Some(earlier) => Ok((settings, self.compare(&settings, &earlier)?)),
            None => {
                settings.schedule_epochs = settings.epochs;
                Ok((settings, Vec::new()))
            }
        }
    }

    fn check_quantized(&self) -> Result<(), UsageError> {
        let refuse = |option: &str, value: String, possible: &str| {
            let text =
                format!("{option} {value} cannot be used with 8-bit weights (--quantized); possible: {possible}");
            Err(UsageError(text))
        };
        match (self.momentum, self.clip) {
            (Some(momentum), _) if momentum != 0.0 => refuse("--momentum", momentum.to_string(), "0"),
            (_, Some(Limit(Some(norm)))) => refuse("--clip", norm.to_string(), "none"),
            _ => Ok(()),
        }
    }

    /// Compares the settings with those of the resumed run.
    fn compare(&self, settings: &Settings, earlier: &Settings) -> Result<Vec<String>, UsageError> {
        let mut notes = Vec::new();
        let earlier = earlier.entries();
        for (name, value) in settings.entries() {
            // Some settings have an entry only in some runs. No option removes an entry.
            let old = earlier.iter().find(|(earlier, _)| *earlier == name).map_or(NONE, |(_, old)| old);
            if value == old {
                continue;
            }
            let option = match name {
                // The Python package has these settings.
                "initial_weights" => "initial weights with the CRC-32".to_owned(),
                "partition" => "partition".to_owned(),
                _ => format!("--{}", name.replace('_', "-")),
            };
            if !Settings::can_change(name) {
                return Err(UsageError(format!(
                    "{option} {value} cannot be used to resume the run in {}, which has the value {old}; omit the \
                     option, or start a new run without --resume",
                    self.directory.display()
                )));
            }
            notes.push(format!("{option} {value} replaces the value {old} of the resumed run"));
            if name == "epochs" && settings.schedule == ScheduleKind::Cosine {
                let end = settings.schedule_epochs;
                notes
                    .push(format!("the schedule `cosine` is unchanged, and reaches its final value after epoch {end}"));
            }
        }
        Ok(notes)
    }
}
