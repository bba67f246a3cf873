//! The settings of a run, and their texts in the metadata of each checkpoint.
//!
//! A resumed run reads its settings from a checkpoint, so it continues with the same ones. No other file contains them:
//! a checkpoint is committed as a whole, and therefore never disagrees with its settings.

use super::network::HIDDEN_SIZES;
use crate::data::Split;
use crate::shard::Shard;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Display};
use std::path::Path;
use std::str::FromStr;
use training_monitor::checkpoint::{Inspect, Tensor, inspect_with};
use training_monitor::store::Store;
use training_monitor_std::directory::OpenError;
use training_monitor_std::{Crc32Fast, Directory};

/// How the learning rate changes during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleKind {
    /// The learning rate does not change
    Constant,
    /// A linear warm-up during 1/20 of all steps, then half a cosine wave down to 1/100 of the learning rate
    Cosine,
    /// Half of the learning rate after 2 epochs without a lower validation loss
    Plateau,
}

impl ScheduleKind {
    /// The name on the command line and in the metadata.
    pub const fn name(self) -> &'static str {
        match self {
            ScheduleKind::Constant => "constant",
            ScheduleKind::Cosine => "cosine",
            ScheduleKind::Plateau => "plateau",
        }
    }
}

/// The settings of a run. [`Settings::entries`] lists them as texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Number of images per training step.
    pub batch_size: u32,
    /// Largest L2 norm of the mean gradient of a batch.
    pub clip: Option<f32>,
    /// Maximum number of epochs.
    pub epochs: u32,
    /// Number of hidden units.
    pub hidden: u32,
    /// The CRC-32 of the initial weights. `None` if they are drawn from the seed.
    pub initial_weights: Option<u32>,
    /// Learning rate after the warm-up.
    pub learning_rate: f32,
    /// Fraction of the previous velocity that a step keeps.
    pub momentum: f32,
    /// Number of best checkpoints that are kept.
    pub n_saved: u32,
    /// The training images of this run. `None` for all of them.
    pub partition: Option<Shard>,
    /// The run stops after this number of consecutive epochs without a lower validation loss.
    pub patience: u32,
    /// Whether the network has 8-bit weights.
    pub quantized: bool,
    /// How the learning rate changes.
    pub schedule: ScheduleKind,
    /// The number of epochs after which the schedule `cosine` reaches its final value. It is the value of `epochs` at
    /// the start of the run. A larger maximum number of epochs in a resumed run does not change the schedule.
    pub schedule_epochs: u32,
    /// Seed of the initial weights and of the image order.
    pub seed: u32,
    /// Largest training time in seconds.
    pub time_limit: Option<f64>,
}

impl Settings {
    /// The settings of a run without options.
    pub const fn defaults(quantized: bool) -> Self {
        let (momentum, clip) = if quantized { (0.0, None) } else { (0.5, Some(1.0)) };
        Settings {
            batch_size: 16,
            clip,
            epochs: 30,
            hidden: 32,
            initial_weights: None,
            learning_rate: 0.4,
            momentum,
            n_saved: 3,
            partition: None,
            patience: 5,
            quantized,
            schedule: ScheduleKind::Cosine,
            schedule_epochs: 30,
            seed: 1,
            time_limit: None,
        }
    }

    /// Returns whether a resumed run can have another value of this setting.
    pub fn can_change(name: &str) -> bool {
        ["epochs", "n_saved", "patience", "time_limit"].contains(&name)
    }

    /// The names and the values of the settings. The names are in ascending order, as metadata must be. `initial_weights`
    /// and `partition`, which the command line does not have, are listed only if they have a value.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let some = |name, value: Option<String>| value.map(|value| (name, value));
        [
            Some(("batch_size", self.batch_size.to_string())),
            Some(("clip", optional(self.clip))),
            Some(("epochs", self.epochs.to_string())),
            Some(("hidden", self.hidden.to_string())),
            some("initial_weights", self.initial_weights.map(|crc| crc.to_string())),
            Some(("learning_rate", self.learning_rate.to_string())),
            Some(("momentum", self.momentum.to_string())),
            Some(("n_saved", self.n_saved.to_string())),
            some("partition", self.partition.map(|shard| shard.to_string())),
            Some(("patience", self.patience.to_string())),
            Some(("quantized", self.quantized.to_string())),
            Some(("schedule", self.schedule.name().to_owned())),
            Some(("schedule_epochs", self.schedule_epochs.to_string())),
            Some(("seed", self.seed.to_string())),
            Some(("time_limit", optional(self.time_limit))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Parses the texts of [`Settings::entries`]. Returns the name of the first setting that is missing or invalid: the
    /// metadata can be those of another program.
    fn parse(entries: &BTreeMap<String, String>) -> Result<Self, &'static str> {
        let entries = Entries(entries);
        let schedule: String = entries.get("schedule", |_| true)?;
        Ok(Settings {
            batch_size: entries.get("batch_size", |images| (1..=Split::Train.len()).contains(images))?,
            clip: entries.get_optional("clip", |norm: &f32| norm.is_finite() && *norm > 0.0)?,
            epochs: entries.get("epochs", |epochs| *epochs > 0)?,
            hidden: entries.get("hidden", |hidden| HIDDEN_SIZES.contains(hidden))?,
            initial_weights: entries.get_if_present("initial_weights")?,
            learning_rate: entries.get("learning_rate", |rate: &f32| rate.is_finite())?,
            momentum: entries.get("momentum", |momentum: &f32| momentum.is_finite())?,
            n_saved: entries.get("n_saved", |n_saved| *n_saved > 0)?,
            partition: entries.get_if_present("partition")?,
            patience: entries.get("patience", |patience| *patience > 0)?,
            quantized: entries.get("quantized", |_| true)?,
            schedule: ScheduleKind::from_str(&schedule, false).map_err(|_| "schedule")?,
            schedule_epochs: entries.get("schedule_epochs", |epochs| *epochs > 0)?,
            seed: entries.get("seed", |_| true)?,
            time_limit: entries.get_optional("time_limit", |seconds: &f64| seconds.is_finite() && *seconds > 0.0)?,
        })
    }

    /// The metadata of each checkpoint. The texts are never freed; the program calls this method once for each series.
    pub fn metadata(&self) -> &'static [(&'static str, &'static [u8])] {
        let leak = |(name, value): (&'static str, String)| (name, &*value.into_bytes().leak());
        self.entries().into_iter().map(leak).collect::<Vec<_>>().leak()
    }

    /// Reads the settings of the run in `directory` from its newest readable checkpoint. Returns `None` if there is no
    /// readable checkpoint. Changes no file.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read, or if the checkpoint is from another program.
    pub fn read(directory: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        for prefix in ["latest", "best"] {
            let mut store = match Directory::builder(directory, prefix).open_read_only() {
                Err(OpenError::NotFound { .. }) => return Ok(None),
                store => store?,
            };
            let mut sequences = Vec::new();
            while let Some(meta) = store.checkpoint(u32::try_from(sequences.len())?)? {
                sequences.push(meta.sequence);
            }
            sequences.sort_unstable();
            for sequence in sequences.into_iter().rev() {
                let Ok(mut reader) = store.open(sequence, 0) else { continue };
                let mut metadata = Metadata::default();
                if inspect_with::<Crc32Fast, _, _>(&mut reader, &mut [0; 512], &mut metadata).is_ok() {
                    let found = Self::parse(&metadata.entries).map(Some);
                    return found.map_err(|name| {
                        let text = format!(
                            "cannot resume the run in {}: the newest checkpoint `{prefix}` has no valid setting `{name}`, \
                             so it is from another version of this program or from another program; start a new run \
                             without --resume",
                            directory.display()
                        );
                        UsageError(text).into()
                    });
                }
            }
        }
        Ok(None)
    }
}

/// The text of an optional setting without a value.
pub const NONE: &str = "none";

fn optional<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

/// The texts of all settings, by name.
struct Entries<'a>(&'a BTreeMap<String, String>);

impl Entries<'_> {
    fn get<T: FromStr>(&self, name: &'static str, is_valid: impl Fn(&T) -> bool) -> Result<T, &'static str> {
        self.0.get(name).and_then(|text| text.parse().ok()).filter(is_valid).ok_or(name)
    }

    /// Parses the text of a setting that is listed only if it has a value.
    fn get_if_present<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, &'static str> {
        if self.0.contains_key(name) { self.get(name, |_| true).map(Some) } else { Ok(None) }
    }

    fn get_optional<T: FromStr>(
        &self,
        name: &'static str,
        is_valid: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, &'static str> {
        if self.0.get(name).is_some_and(|text| text == NONE) { Ok(None) } else { self.get(name, is_valid).map(Some) }
    }
}

/// An invalid combination of options, or a contradiction to the resumed run. The program ends with the exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Collects the metadata of a checkpoint.
#[derive(Default)]
struct Metadata {
    entries: BTreeMap<String, String>,
    /// The name of the metadata whose bytes follow. `None` for other contents.
    current: Option<String>,
}

impl Inspect for Metadata {
    fn metadata(&mut self, name: &str, _: u32) {
        self.current = Some(name.to_owned());
        self.entries.insert(name.to_owned(), String::new());
    }
    fn state_dict(&mut self, _: &str, _: u32) {
        self.current = None;
    }
    fn tensor(&mut self, _: Tensor<'_>) {
        self.current = None;
    }
    fn value(&mut self, _: &str, _: u32) {
        self.current = None;
    }
    fn payload(&mut self, bytes: &[u8]) {
        if let Some(text) = self.current.as_ref().and_then(|name| self.entries.get_mut(name)) {
            text.push_str(&String::from_utf8_lossy(bytes));
        }
    }
}
