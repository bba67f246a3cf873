//! Measures the code size of the saves that do not block the program.
//!
//! The environment variable `PART` selects a kind of save at compile time: `blocking`, `yielding`, `background` or
//! `pieces`. The program contains an engine, a step and a `ModelCheckpoint` with a store in flash. The difference to the
//! size of the program with `PART=blocking` is the size of the kind of save. The program is never executed. Its inputs
//! come from `black_box`, so the compiler cannot remove code for particular values.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "shared/size.rs"]
mod shared;

#[cfg(target_os = "none")]
mod firmware {
    // These crates provide the critical sections of `static_cell`.
    #[cfg(target_arch = "arm")]
    use cortex_m as _;
    #[cfg(target_arch = "riscv32")]
    use riscv as _;

    use super::shared::{Flash, any, is_same, loss, step};
    use core::hint::black_box;
    use embedded_storage::nor_flash::NorFlash;
    use static_cell::ConstStaticCell;
    use training_monitor::checkpoint::Named;
    use training_monitor::event::EpochCompleted;
    use training_monitor::handlers::model_checkpoint::{CheckpointHandler, SaveDecision, ScoreFunction};
    use training_monitor::store::flash::{Slots, YieldingNorFlash};
    use training_monitor::{Engine, Handler, ModelCheckpoint, State};

    static WEIGHTS: ConstStaticCell<[f32; 64]> = ConstStaticCell::new([0.0; 64]);
    static COPY: ConstStaticCell<[u8; 512]> = ConstStaticCell::new([0; 512]);

    type Model = Named<'static, &'static mut [f32; 64]>;
    type Score = fn(&State<f32>) -> f32;
    type Checkpoints<F> = CheckpointHandler<3, EpochCompleted, Slots<F, 4>, ScoreFunction<Score>>;

    const PART: &str = match option_env!("PART") {
        Some(part) => part,
        None => "blocking",
    };

    /// Returns true if `part` is the part that this build measures.
    const fn is_part(part: &str) -> bool {
        is_same(PART, part)
    }

    #[inline(never)]
    fn serve() {
        black_box(());
    }

    fn checkpoints<F: NorFlash>(flash: F) -> Option<Checkpoints<F>> {
        let score: Score = loss;
        let store = Slots::open(flash, 0..any()).ok()?;
        ModelCheckpoint::best_by(score).attach(EpochCompleted, store).ok()
    }

    fn run<H: Handler<Model, f32>>(model: &mut Model, handler: &mut H) {
        let mut engine = Engine::new(any());
        if engine.resume(model, handler).is_ok() {
            black_box(engine.run(model, 0..any(), handler, |model, batch, _| step(model, batch)).is_ok());
        }
    }

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        let mut model: Model = Named::new("model", WEIGHTS.take());
        if const { is_part("blocking") }
            && let Some(mut handler) = checkpoints(Flash)
        {
            run(&mut model, &mut handler);
        }
        if const { is_part("yielding") }
            && let Some(mut handler) = checkpoints(YieldingNorFlash::new(Flash, 256, serve))
        {
            run(&mut model, &mut handler);
        }
        if const { is_part("background") }
            && let Some(handler) = checkpoints(Flash)
        {
            run(&mut model, &mut handler.in_background(&mut COPY.take()[..]));
        }
        if const { is_part("pieces") }
            && let Some(mut handler) = checkpoints(Flash)
        {
            run(&mut model, &mut handler);
            let decision = SaveDecision { step: any(), score: None };
            let mut buffer = [0; 256];
            if let Ok(mut save) = handler.save_in_pieces(decision, any(), None, &mut model, &mut buffer) {
                while matches!(save.advance(), Ok(false)) {
                    serve();
                }
            }
        }
        loop {
            core::hint::spin_loop();
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` builds it.");
}
