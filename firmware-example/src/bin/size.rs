//! Measures the code size of the parts of the monitor.
//!
//! The environment variable `PART` selects one part at compile time. `PART=nothing` builds the same model, step and
//! runtime without the monitor. The difference of the two program sizes is the size of the part. The program is never
//! executed. Its inputs come from `black_box`, so the compiler cannot remove code for particular values.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "shared/size.rs"]
mod shared;

#[cfg(target_os = "none")]
#[path = "size/in_c.rs"]
mod in_c;

#[cfg(target_os = "none")]
mod firmware {
    // `static_cell` needs a critical section on processors without atomic instructions. These crates provide it.
    #[cfg(target_arch = "arm")]
    use cortex_m as _;
    #[cfg(target_arch = "riscv32")]
    use riscv as _;

    use super::in_c;
    use super::shared::{Flash, any, is_same, loss, step};
    use core::convert::Infallible;
    use core::hint::black_box;
    use static_cell::ConstStaticCell;
    use training_monitor::checkpoint::{self, Contents, Crc32, Header, Named, SeriesId};
    use training_monitor::embedded_io::{self, Read, Write};
    use training_monitor::event::{EpochCompleted, IterationCompleted};
    use training_monitor::finite::all_finite;
    use training_monitor::handlers::model_checkpoint::SaveDecision;
    use training_monitor::handlers::model_checkpoint::ranking::{Order, RankedCheckpoint, Ranking};
    use training_monitor::store::flash::Slots;
    use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
    use training_monitor::{EarlyStopping, Engine, Handler, ModelCheckpoint, State, TerminateOnNan, Timer};

    static WEIGHTS: ConstStaticCell<[f32; 64]> = ConstStaticCell::new([0.0; 64]);

    pub type Model<'a> = Named<'a, &'a mut [f32; 64]>;

    const PART: &str = match option_env!("PART") {
        Some(part) => part,
        None => "nothing",
    };

    /// Returns true if `part` is the part that this build measures.
    const fn is_part(part: &str) -> bool {
        is_same(PART, part)
    }

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        let mut model: Model<'_> = Named::new("model", WEIGHTS.take());
        loop {
            if const { is_part("nothing") } {
                black_box(step(&mut model, any()));
            }
            if const { is_part("scan") } {
                black_box((step(&mut model, any()), all_finite(&model[..])));
            }
            if const { is_part("ranking") } {
                ranking(&mut model);
            }
            if const { is_part("early-stopping") } {
                stopping(&mut model);
            }
            if const { is_part("timer") } {
                timer(&mut model);
            }
            if const { is_part("encode") } {
                encode(&mut model);
            }
            if const { is_part("decode") } {
                decode(&mut model);
            }
            if const { is_part("encode-and-decode") } {
                encode(&mut model);
                decode(&mut model);
            }
            if const { is_part("machines") } {
                policies_and_codec(&mut model, &mut OpaqueDevice);
            }
            if const { is_part("machines-with-flash-slots") }
                && let Ok(mut slots) = Slots::<_, 4>::open(Flash, 0..any())
            {
                policies_and_codec(&mut model, &mut slots);
            }
            if const { is_part("scan-any-length") } {
                black_box((step(&mut model, any()), all_finite(black_box(&model[..]))));
            }
            if const { is_part("early-stopping-any-settings") } {
                in_c::stopping_with_any_settings(&mut model);
            }
            if const { is_part("save-and-load") } {
                in_c::save_and_load(&mut model);
            }
            if const { is_part("save-and-load-any-settings") } {
                in_c::save_and_load_with_any_settings(&mut model);
            }
            if const { is_part("everything") } {
                in_c::everything(&mut model);
            }
            if const { is_part("one-series") || is_part("two-series") || is_part("two-series-of-two-types") } {
                series(&mut model);
            }
            if const { is_part("four-handlers-and-engine") } {
                run(&mut model, OpaqueDevice);
            }
            if const { is_part("with-flash-slots") }
                && let Ok(slots) = Slots::<_, 4>::open(Flash, 0..any())
            {
                run(&mut model, slots);
            }
        }
    }

    /// One series of checkpoints, or two. The types of two series are equal, or differ in the size of the ranking.
    fn series(model: &mut Model<'_>) {
        let score: fn(&State<f32>) -> f32 = loss;
        let Ok(first) = ModelCheckpoint::<3>::best_by(score).attach(EpochCompleted, OpaqueDevice);
        if const { is_part("one-series") } {
            return train(model, &mut (first,));
        }
        if const { is_part("two-series") } {
            let Ok(second) = ModelCheckpoint::<3>::best_by(score).attach(EpochCompleted, OpaqueDevice);
            return train(model, &mut (first, second));
        }
        let Ok(second) = ModelCheckpoint::<2>::best_by(score).attach(EpochCompleted, OpaqueDevice);
        train(model, &mut (first, second));
    }

    fn train<'a, H: Handler<Model<'a>, f32>>(model: &mut Model<'a>, handlers: &mut H) {
        let mut engine = Engine::new(10);
        if engine.resume(model, handlers).is_ok() {
            black_box(engine.run(model, 0..100, handlers, |model, batch, _| step(model, batch)).is_ok());
        }
    }

    fn ranking(model: &mut Model<'_>) {
        let mut ranking = Ranking::<3>::new(3, Order::Score, false);
        loop {
            let entry = RankedCheckpoint::new(any(), Some(step(model, any())));
            if ranking.accepts(&entry) {
                black_box(ranking.insert(entry));
            }
            black_box(ranking.best());
        }
    }

    fn stopping(model: &mut Model<'_>) {
        if let Ok(mut stopping) = EarlyStopping::new(3) {
            while !stopping.update(step(model, any())) {}
        }
    }

    fn timer(model: &mut Model<'_>) {
        let mut timer = Timer::new(any());
        loop {
            timer.resume(any());
            black_box(step(model, any()));
            timer.pause(any());
            timer.step();
            black_box(timer.seconds(any(), 1000));
        }
    }

    fn encode(model: &mut Model<'_>) {
        black_box(step(model, any()));
        let header =
            Header { step: any(), sequence: any(), iteration: any(), score: any(), run: any(), ..Header::default() };
        let contents = Contents { header, ..Contents::new(0) };
        black_box(checkpoint::encode(&mut OpaqueDevice, &contents, model).is_ok());
    }

    fn decode(model: &mut Model<'_>) {
        black_box(step(model, any()));
        let mut scratch = [0; 64];
        let mut loader = checkpoint::Loader::new(model, &mut scratch);
        if loader.verify::<Crc32, _>(&mut OpaqueDevice, None).is_ok() && loader.check_complete::<Infallible>().is_ok() {
            black_box(loader.load::<Crc32, _>(&mut OpaqueDevice).is_ok());
        }
    }

    /// The part `machines`: all policies, the encoder and the decoder in a custom loop, without the engine.
    fn policies_and_codec<S: Store>(model: &mut Model<'_>, store: &mut S) {
        let Ok(mut stopping) = EarlyStopping::new(3) else { return };
        let mut best = ModelCheckpoint::<3>::by_score();
        let mut guard = TerminateOnNan::new();
        let mut timer = Timer::new(any());
        let mut index = 0;
        while let Ok(Some(meta)) = store.checkpoint(index) {
            best.restore_entry(SaveDecision { step: meta.step, score: meta.score });
            index += 1;
        }
        if let Some(latest) = best.latest() {
            load_step(model, store, latest.step);
        }
        loop {
            timer.resume(any());
            let loss = step(model, any());
            timer.pause(any());
            timer.step();
            if guard.check(&loss) || guard.check(model.as_slice()) {
                break;
            }
            if let Some(save) = best.update(Some(-loss))
                && write(model, store, save)
                && let Some(evicted) = best.record_commit(save)
            {
                black_box(store.remove(evicted.step).is_ok());
            }
            if stopping.update(-loss) {
                break;
            }
        }
        black_box(timer.seconds(any(), 1000));
        if let Some(best) = best.best() {
            load_step(model, store, best.step);
        }
    }

    fn write<S: Store>(model: &mut Model<'_>, store: &mut S, save: SaveDecision) -> bool {
        let header = Header {
            step: save.step,
            sequence: save.step,
            iteration: any(),
            score: save.score,
            run: any(),
            ..Header::default()
        };
        let contents = Contents { header, allow_non_finite: true, ..Contents::new(0) };
        let Ok(len) = checkpoint::measure(&contents, model) else { return false };
        let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len };
        let Ok(mut writer) = store.create(&spec) else { return false };
        let encoded = checkpoint::encode_with::<S::Checksum, _, _>(&mut writer, &contents, model);
        drop(writer);
        encoded.is_ok_and(|encoded| store.commit(&header, &encoded).is_ok())
    }

    #[inline(never)]
    fn load_step<S: Store>(model: &mut Model<'_>, store: &mut S, step: u32) -> bool {
        let mut scratch = [0; 64];
        let mut loader = checkpoint::Loader::new(model, &mut scratch);
        let Ok(mut reader) = store.open(step, 0) else { return false };
        if loader.verify::<S::Checksum, _>(&mut reader, None).is_err() || loader.check_complete::<Infallible>().is_err()
        {
            return false;
        }
        drop(reader);
        let Ok(mut reader) = store.open(step, 0) else { return false };
        loader.load::<S::Checksum, _>(&mut reader).is_ok()
    }

    /// A complete run, as in an application: resumes, trains with all four handlers, and loads the best weights.
    fn run<S: Store>(model: &mut Model<'_>, store: S) {
        let Ok(stopping) = EarlyStopping::new(3) else { return };
        let Ok(best) = ModelCheckpoint::<3>::best_by(|state| loss(state)).attach(EpochCompleted, store) else { return };
        let mut handlers = (
            TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
            stopping.attach(EpochCompleted, |state| loss(state)),
            Timer::new(any()).attach(any::<u64>).step(IterationCompleted),
            best,
        );
        let mut engine = Engine::new(10);
        if engine.resume(model, &mut handlers).is_ok() {
            black_box(engine.run(model, 0..100, &mut handlers, |model, batch, _| step(model, batch)).is_ok());
            black_box(handlers.3.load_best(model).is_ok());
        }
    }

    /// A user-defined device that acts as a stream and as a store. `black_box` hides its behavior from the compiler, so
    /// its own code is negligible and the compiler cannot simplify the callers.
    struct OpaqueDevice;

    impl embedded_io::ErrorType for OpaqueDevice {
        type Error = Infallible;
    }

    impl Write for OpaqueDevice {
        #[inline(never)]
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            black_box(bytes.as_ptr());
            Ok(any())
        }
        fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl Read for OpaqueDevice {
        #[inline(never)]
        fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
            black_box(bytes.as_ptr());
            Ok(any())
        }
    }

    impl Store for OpaqueDevice {
        type Error = Infallible;
        type Writer<'a> = OpaqueDevice;
        type Reader<'a> = OpaqueDevice;
        type Checksum = Crc32;

        fn create(&mut self, _: &StreamSpec<'_>) -> Result<OpaqueDevice, Infallible> {
            Ok(OpaqueDevice)
        }
        fn commit(&mut self, _: &Header<'_>, _: &checkpoint::Encoded) -> Result<(), Infallible> {
            Ok(())
        }
        #[inline(never)]
        fn checkpoint(&mut self, _: u32) -> Result<Option<CheckpointMeta>, Infallible> {
            let series = SeriesId { rule: any(), model: any() };
            let meta =
                CheckpointMeta { sequence: any(), step: any(), run: any(), iteration: any(), score: any(), series };
            Ok(any::<bool>().then_some(meta))
        }
        #[inline(never)]
        fn stream_count(&mut self, _: u32) -> Result<u32, Infallible> {
            Ok(any())
        }
        fn open(&mut self, _: u32, _: u32) -> Result<OpaqueDevice, Infallible> {
            Ok(OpaqueDevice)
        }
        fn remove(&mut self, _: u32) -> Result<(), Infallible> {
            Ok(())
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` builds it for three boards.");
}
