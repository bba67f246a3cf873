//! The training run on a board: flash slots, log lines and exit code. The programs `train` and `quantized` differ only in
//! the trainee.
//!
//! The desktop tool's command `watch` parses the log lines. A change of their text must also change the parser.

use crate::board::{self, Flash};
use digits_workload::boards::{BEST_SLOTS, LATEST_SLOTS, Region};
use digits_workload::monitored::{self, Plan, RunObserver, Series, Summary};
use digits_workload::train::{Metrics, Training};
use embedded_storage::nor_flash::ReadNorFlash;
use training_monitor::engine::Resumed;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointObserver};
use training_monitor::log::{self, DefmtObserver};
use training_monitor::store::flash::{RegionError, Slots};

/// Number of hidden units: 10 on the Cortex-M0 and with the feature `small-network`.
pub const HIDDEN: usize = if cfg!(any(target_abi = "eabi", feature = "small-network")) { 10 } else { 32 };
/// Number of images per training step.
pub const BATCH: usize = 16;

/// Writes the events of the run to the log.
struct RunLog {
    /// Logs the name of the network.
    log_network: fn(),
    /// Erase count of each slot for the latest checkpoint, at the program start.
    latest: [u32; LATEST_SLOTS],
    /// Erase count of each slot for the best checkpoints, at the program start.
    best: [u32; BEST_SLOTS],
}

impl<E> RunObserver<E> for RunLog {
    fn on_start(&self, resumed: Option<Resumed>) {
        (self.log_network)();
        match resumed {
            None => log::started(),
            Some(run) => log::resumed(run.epoch, run.iteration, run.skipped),
        }
        log::erases("latest", &self.latest);
        log::erases("best", &self.best);
    }
    fn on_epoch(&self, epoch: u32, validation: Metrics, patience: u32) {
        log::epoch(epoch, validation.loss, validation.accuracy, patience);
    }
    fn on_checkpoint(&self, series: Series, event: &CheckpointEvent<'_, E>) {
        let series = match series {
            Series::Latest => "latest",
            Series::Best => "best",
        };
        DefmtObserver { series }.on_checkpoint_event(event);
    }
}

/// Trains `trainee`. Returns the exit code of the program: 0 if the run completed, 1 if it failed. `log_network` logs the
/// name of the network.
pub fn program(trainee: &mut impl Training, log_network: fn()) -> i32 {
    match train(trainee, log_network) {
        Ok(summary) => {
            log::stopped(summary.outcome.reason, summary.outcome.epoch);
            defmt::info!("{=u32} steps, the best is {=u32}", summary.steps, summary.best);
            defmt::info!("test: loss {=f32}, accuracy {=f32}", summary.test.loss, summary.test.accuracy);
            0
        }
        Err(error) => {
            defmt::error!("the run failed: {}", error);
            1
        }
    }
}

/// The reason why the program failed.
#[derive(defmt::Format)]
enum Error {
    /// The flash of the board cannot be opened.
    NoFlash,
    /// The flash region cannot be divided into slots.
    Region(RegionError),
    /// The run failed. The log contains the cause.
    Run,
}

fn train(trainee: &mut impl Training, log_network: fn()) -> Result<Summary, Error> {
    let latest = slots::<LATEST_SLOTS>(Region::Latest)?;
    let best = slots::<BEST_SLOTS>(Region::Best)?;
    let log = RunLog { log_network, latest: latest.erases(), best: best.erases() };
    monitored::run(trainee, Plan::DEFAULT, latest, best, &log).map_err(|_| Error::Run)
}

/// Opens a flash region and divides it into `N` slots.
fn slots<const N: usize>(region: Region) -> Result<Slots<Flash, N>, Error> {
    let flash = board::flash(region).map_err(|_| Error::NoFlash)?;
    let end = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
    Slots::open(flash, 0..end).map_err(Error::Region)
}
