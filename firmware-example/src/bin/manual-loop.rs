//! A custom training loop without the engine: no events and no handler closures.
//!
//! The loop calls the policies (early stopping, NaN check, timer, checkpoint ranking) directly and encodes the
//! checkpoints itself. Programs with an existing training loop can use the crate in this way.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
#[path = "../board/log.rs"]
mod log;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board;
    use digits_workload::data::Split;
    use digits_workload::train::{Hyper, Trainee};
    use static_cell::ConstStaticCell;
    use training_monitor::checkpoint::{self, Contents};
    use training_monitor::embedded_io::{self, ErrorKind};
    use training_monitor::{EarlyStopping, ModelCheckpoint, TerminateOnNan, Timer};

    type Small = Trainee<10, 16>;

    static TRAINEE: ConstStaticCell<Small> = ConstStaticCell::new(Small::new());

    /// A writer that discards all bytes. A real program writes to its flash or its radio instead.
    struct NullWriter;

    impl embedded_io::ErrorType for NullWriter {
        type Error = ErrorKind;
    }

    impl embedded_io::Write for NullWriter {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }

    /// Trains for at most three epochs. Returns the loss of the best checkpoint, or `None` if the loss became NaN or
    /// infinite.
    fn train(trainee: &mut Small) -> Option<f32> {
        let mut guard = TerminateOnNan::new();
        let mut stopping = EarlyStopping::new(2).ok()?;
        let mut best = ModelCheckpoint::<2>::by_score();
        // The emulators have no usable real-time clock, so one tick is one training step. A program for a real board
        // reads its hardware timer instead of `ticks`.
        let mut ticks = 0_u64;
        let mut timer = Timer::new(ticks);

        for epoch in 1..=3 {
            for offset in 0..Small::BATCHES {
                let loss = trainee.step(epoch, offset);
                ticks += 1;
                timer.step();
                if guard.check(&loss) {
                    return None;
                }
            }
            // The timer measures training only, so it is paused during the evaluation.
            timer.pause(ticks);
            let score = -trainee.evaluate(Split::Validation).loss;
            timer.resume(ticks);
            // `update` only decides whether to save. `record_commit` updates the ranking after the write, so a failed
            // write leaves the ranking unchanged.
            if let Some(decision) = best.update(Some(score)) {
                let mut contents = Contents::new(decision.step);
                contents.header.score = decision.score;
                match checkpoint::encode(&mut NullWriter, &contents, trainee) {
                    Ok(encoded) => {
                        let evicted = best.record_commit(decision);
                        defmt::info!(
                            "saved {=u32}: {=u32} bytes, CRC {=u32:08x}",
                            decision.step,
                            encoded.len,
                            encoded.crc
                        );
                        if let Some(evicted) = evicted {
                            defmt::info!("evicted {=u32}", evicted.step);
                        }
                    }
                    Err(error) => defmt::error!("{=u32} was not saved: {}", decision.step, error),
                }
            }
            if stopping.update(score) {
                break;
            }
        }
        timer.pause(ticks);
        defmt::info!("{=u64} ticks in {=u32} steps", timer.total(), timer.step_count());
        best.best().and_then(|best| best.score()).map(|score| -score)
    }

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        let trainee = TRAINEE.take();
        trainee.init(1, Hyper::default());
        match train(trainee) {
            Some(loss) => {
                defmt::info!("the best loss is {=f32}", loss);
                board::exit(0)
            }
            None => board::exit(1),
        }
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
