//! The command line of the host simulation.

use clap::Parser;
use std::path::PathBuf;

/// Trains a small network on handwritten digits under ModelCheckpoint, EarlyStopping, Timer and TerminateOnNan.
///
/// Checkpoints, history and chart go to a directory. Kill it at any moment and start it again with --resume: it ends with
/// the same weights, bit for bit.
#[derive(Parser, Debug)]
#[command(name = "digits", version)]
pub struct Arguments {
    /// Epochs at most
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Epochs without a lower validation loss before the run stops
    #[arg(long, default_value_t = 5)]
    pub patience: u32,
    /// How many of the best checkpoints are kept, up to 64
    #[arg(long, default_value_t = 3)]
    pub n_saved: u32,
    /// Picks the first weights and the order of the images
    #[arg(long, default_value_t = 1)]
    pub seed: u32,
    /// Where checkpoints, history and chart go
    #[arg(long, default_value = "runs/digits")]
    pub directory: PathBuf,
    /// Go on from the newest checkpoint in the directory, if there is one
    #[arg(long)]
    pub resume: bool,
    /// Replace the output of this iteration by a NaN, to see the guard work
    #[arg(long, value_name = "ITERATION")]
    pub nan_at: Option<u32>,
    /// Only the summary; without a terminal there is no progress bar in any case
    #[arg(long)]
    pub quiet: bool,
}
