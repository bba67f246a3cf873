//! The firmware that trains the network while its power fails again and again, with an `AdaptiveInterval` between saves.
//!
//! Time is simulated, so a run has the same result each time: an iteration takes 100 ms, and the flash operations take the
//! times of data sheets. When the power fails, the program ends with the exit code [`POWER_FAILED`], and the emulator is
//! started again. The state of the power supply is in the file `supply` on the emulator's host. Without this file, the
//! power does not fail.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
#[path = "../board/log.rs"]
mod log;
#[cfg(target_os = "none")]
#[path = "failing-power/supply.rs"]
mod supply;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board::{self, Console};
    use crate::supply::{Device, TimedFlash};
    use core::fmt::Write;
    use digits_workload::boards::{LATEST_SLOTS, Region};
    use digits_workload::train::{Trainee, Training};
    use embedded_storage::nor_flash::ReadNorFlash;
    use static_cell::ConstStaticCell;
    use training_monitor::event::IterationCompleted;
    use training_monitor::run_record::RestoreError;
    use training_monitor::store::flash::Slots;
    use training_monitor::{AdaptiveInterval, Engine, ModelCheckpoint};

    /// The network of the smallest board, so that all boards end with the same weights.
    type Network = Trainee<10, 16>;
    const EPOCHS: u32 = 10;
    /// The time of an iteration in microseconds.
    const ITERATION: u64 = 100_000;

    static TRAINEE: ConstStaticCell<Network> = ConstStaticCell::new(Trainee::new());

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        let device = Device::start();
        let code = match train(TRAINEE.take(), &device) {
            Ok(()) => 0,
            Err(message) => {
                let _ = writeln!(Console, "{message}");
                1
            }
        };
        board::exit(code)
    }

    fn train(network: &mut Network, device: &Device) -> Result<(), &'static str> {
        Training::init(network, 1);
        let flash = TimedFlash::new(board::flash(Region::Latest).map_err(|_| "the flash cannot be opened")?, device);
        let end = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        let store = Slots::<_, LATEST_SLOTS>::open(flash, 0..end).map_err(|_| "the flash has no room for the slots")?;
        let checkpoint = ModelCheckpoint::<1>::every(1).map_err(|_| "every 1")?;
        let checkpoint = checkpoint.attach(IterationCompleted, store).map_err(|_| "the slots cannot be listed")?;
        // The run takes minutes, so its erases do not matter for the life of the flash.
        let interval = AdaptiveInterval::new().with_max_overhead(0.035).map_err(|_| "the maximum overhead")?;
        let interval = interval.with_continuous_clock();
        let mut handler = interval.attach(IterationCompleted, || device.now(), checkpoint);

        let mut engine = Engine::new(EPOCHS);
        match engine.resume(network, &mut handler) {
            // The first save of the device was interrupted.
            Ok(_) | Err(RestoreError::NoneLoadable { .. }) => (),
            Err(_) => return Err("the run cannot be resumed"),
        }
        let resumed_at = engine.state().iteration();
        let _ = writeln!(Console, "start at {} ms, iteration {resumed_at}", device.now() / 1000);
        let outcome = engine.run(network, 0..Network::BATCHES, &mut handler, |network: &mut Network, _, state| {
            device.begin_iteration();
            let loss = network.step(state.epoch(), state.offset());
            device.end_iteration(ITERATION);
            loss
        });
        let outcome = outcome.map_err(|_| "a save failed")?;
        device.report(outcome.iteration);
        let _ = writeln!(Console, "checksum {:016x}", Training::checksum(network));
        Ok(())
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
