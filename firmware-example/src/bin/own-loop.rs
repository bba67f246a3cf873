//! The handlers in a loop of one's own: no engine, no events, no closures.
//!
//! The state machines are asked where they are needed, and a checkpoint is written by hand: what a program does that has
//! its own idea of a training loop.

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
    use training_monitor::checkpoint::{self, Contents, Crc32, Header};
    use training_monitor::embedded_io::{self, ErrorKind};
    use training_monitor::{EarlyStopping, ModelCheckpoint, TerminateOnNan, Timer};

    type Small = Trainee<10, 16>;

    static TRAINEE: ConstStaticCell<Small> = ConstStaticCell::new(Small::new());

    /// Where a program would have its flash or its radio. This one takes everything and keeps nothing.
    struct Port;

    impl embedded_io::ErrorType for Port {
        type Error = ErrorKind;
    }

    impl embedded_io::Write for Port {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }

    /// Trains for at most three epochs; the loss of the best, or `None` for a network that was lost.
    fn train(trainee: &mut Small) -> Option<f32> {
        let mut guard = TerminateOnNan::new();
        let mut stopping = EarlyStopping::new(2).ok()?;
        let mut best = ModelCheckpoint::<2>::builder().scored().n_saved(2).build().ok()?;
        // The emulators have no clock worth reading: a tick is a step. A board reads its timer where this says `ticks`.
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
            // The evaluation is not training: its time does not count.
            timer.pause(ticks);
            let score = -trainee.evaluate(Split::Validation).loss;
            timer.resume(ticks);
            // What ranks is written first, and counts only once it is: a save that failed has changed nothing.
            if let Some(save) = best.update(Some(score)) {
                let header = Header { step: save.step, score: save.score, ..Header::default() };
                let contents = Contents { header, record: None, only: None, allow_non_finite: false };
                match checkpoint::encode::<Crc32, _, _>(&mut Port, &contents, trainee) {
                    Ok(encoded) => {
                        let gone = best.committed(save);
                        defmt::info!("saved {=u32}: {=u32} bytes, CRC {=u32:08x}", save.step, encoded.len, encoded.crc);
                        if let Some(gone) = gone {
                            defmt::info!("{=u32} can go", gone.step);
                        }
                    }
                    Err(error) => defmt::error!("{=u32} was not saved: {}", save.step, error),
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
    eprintln!("This program is for a board: `firmware-example/check` builds and runs it in emulators.");
}
