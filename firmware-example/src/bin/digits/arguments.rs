//! The command line of the host simulation.

use clap::Parser;
use std::path::PathBuf;

/// Train a small network on handwritten digits with ModelCheckpoint, EarlyStopping, Timer and TerminateOnNan
///
/// The program writes checkpoints, a history and a chart to the output directory. If the process is killed, start it
/// again with --resume. The resumed run ends with the same weights as an uninterrupted run, bit for bit.
#[derive(Parser, Debug)]
#[command(name = "digits", version)]
pub struct Arguments {
    /// Maximum number of epochs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Stop after this number of epochs without a lower validation loss
    #[arg(long, default_value_t = 5)]
    pub patience: u32,
    /// Number of best checkpoints to keep, 1 to 64
    #[arg(long, default_value_t = 3)]
    pub n_saved: u32,
    /// Seed of the initial weights and of the image order
    #[arg(long, default_value_t = 1)]
    pub seed: u32,
    /// Output directory for checkpoints, history and chart. Without --resume, a directory that is not empty is renamed
    #[arg(long, default_value = "runs/digits")]
    pub directory: PathBuf,
    /// Resume from the newest checkpoint in the output directory, if there is one
    #[arg(long)]
    pub resume: bool,
    /// Train the network with 8-bit weights. Its checkpoints have less than a quarter of the size
    #[arg(long)]
    pub quantized: bool,
    /// Replace the loss of this iteration with a NaN, to demonstrate TerminateOnNan
    #[arg(long, value_name = "ITERATION")]
    pub nan_at: Option<u32>,
    /// Do not show a progress bar. If standard error is not a terminal, there is no progress bar either
    #[arg(long)]
    pub quiet: bool,
}
