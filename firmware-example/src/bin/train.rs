//! The firmware that trains the network on a board, with all four handlers, checkpoints in flash, and a defmt log.
//!
//! After a reset or a power failure, the program resumes from the newest checkpoint. The network is 64-32-10 by
//! default. It is 64-10-10 on the Cortex-M0 and with the feature `small-network`.
//!
//! The desktop tool's command `watch` parses the log lines of this program. A change of their text must also change the
//! parser.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
#[path = "../board/log.rs"]
mod log;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board::{self, Flash};
    use digits_workload::boards::{BEST_SLOTS, LATEST_SLOTS, Region};
    use digits_workload::monitored::{self, Plan, RunObserver, Series, Summary};
    use digits_workload::train::{Metrics, Trainee};
    use embedded_storage::nor_flash::ReadNorFlash;
    use static_cell::ConstStaticCell;
    use training_monitor::engine::Resumed;
    use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointObserver};
    use training_monitor::log::{self, DefmtObserver};
    use training_monitor::store::flash::{RegionError, Slots};

    const HIDDEN: usize = if cfg!(any(target_abi = "eabi", feature = "small-network")) { 10 } else { 32 };
    /// Number of images per training step.
    const BATCH: usize = 16;

    /// The trainee is a static variable, because it is too large for the stack of the smallest board.
    static TRAINEE: ConstStaticCell<Trainee<HIDDEN, BATCH>> = ConstStaticCell::new(Trainee::new());

    /// Writes the events of the run to the log.
    struct RunLog {
        /// Erase count of each slot for the latest checkpoint, at the program start.
        latest: [u32; LATEST_SLOTS],
        /// Erase count of each slot for the best checkpoints, at the program start.
        best: [u32; BEST_SLOTS],
    }

    impl<E> RunObserver<E> for RunLog {
        fn on_start(&self, resumed: Option<Resumed>) {
            defmt::info!("network 64-{=usize}-10", HIDDEN);
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

    /// Runs the program. Returns the exit code: 0 if the run completed, 1 if it failed.
    fn program() -> i32 {
        let trainee = TRAINEE.take();
        match train(trainee) {
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

    fn train(trainee: &mut Trainee<HIDDEN, BATCH>) -> Result<Summary, Error> {
        let latest = slots::<LATEST_SLOTS>(Region::Latest)?;
        let best = slots::<BEST_SLOTS>(Region::Best)?;
        let log = RunLog { latest: latest.erases(), best: best.erases() };
        monitored::run(trainee, Plan::DEFAULT, latest, best, &log).map_err(|_| Error::Run)
    }

    /// Opens a flash region and divides it into `N` slots.
    fn slots<const N: usize>(region: Region) -> Result<Slots<Flash, N>, Error> {
        let flash = board::flash(region).map_err(|_| Error::NoFlash)?;
        let end = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        Slots::open(flash, 0..end).map_err(Error::Region)
    }

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        board::exit(program())
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        board::exit(101)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` builds it and runs it in emulators.");
}
