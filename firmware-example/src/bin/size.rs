//! How much code the monitor is. Built once for each part, named by the environment variable `PART`; the difference to
//! `PART=nothing`, which has the same weights, the same step and the same runtime, is the part.
//!
//! It is never run, and does what the part does with what the compiler cannot know.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod firmware {
    // For its critical section, which is how a Cortex-M0 hands out a static once.
    #[cfg(target_arch = "arm")]
    use cortex_m as _;
    #[cfg(target_arch = "riscv32")]
    use riscv as _;

    use core::convert::Infallible;
    use core::hint::black_box;
    use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
    use static_cell::ConstStaticCell;
    use training_monitor::checkpoint::{self, Contents, Crc32, Header, One};
    use training_monitor::embedded_io::{self, Read, Write};
    use training_monitor::event::{Completed, EpochCompleted, IterationCompleted, Never, Started};
    use training_monitor::finite::all_finite;
    use training_monitor::handlers::model_checkpoint::Save;
    use training_monitor::ranking::{Entry, Order, Ranking};
    use training_monitor::store::slots::Slots;
    use training_monitor::store::{Opening, Store, Stored};
    use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, TerminateOnNan, Timer};

    static WEIGHTS: ConstStaticCell<[f32; 64]> = ConstStaticCell::new([0.0; 64]);

    type Model<'a> = One<'a, &'a mut [f32; 64]>;

    const PART: &str = match option_env!("PART") {
        Some(part) => part,
        None => "nothing",
    };

    /// Whether this is the part that is built.
    const fn is(part: &str) -> bool {
        let (a, b) = (PART.as_bytes(), part.as_bytes());
        let mut at = 0;
        while at < a.len() && at < b.len() && a[at] == b[at] {
            at += 1;
        }
        at == a.len() && at == b.len()
    }

    /// What the compiler does not know.
    fn any<T: Default>() -> T {
        black_box(T::default())
    }

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        let mut model: Model<'_> = One("model", WEIGHTS.take());
        loop {
            if const { is("nothing") } {
                black_box(step(&mut model, any()));
            }
            if const { is("scan") } {
                black_box((step(&mut model, any()), all_finite(model.1)));
            }
            if const { is("ranking") } {
                ranking(&mut model);
            }
            if const { is("early-stopping") } {
                stopping(&mut model);
            }
            if const { is("timer") } {
                timer(&mut model);
            }
            if const { is("encode") } {
                encode(&mut model);
            }
            if const { is("decode") } {
                decode(&mut model);
            }
            if const { is("encode-and-decode") } {
                encode(&mut model);
                decode(&mut model);
            }
            if const { is("machines") } {
                machines(&mut model, &mut Port);
            }
            if const { is("machines-with-flash-slots") }
                && let Ok(mut slots) = Slots::<_, 4>::open(Flash, 0..any())
            {
                machines(&mut model, &mut slots);
            }
            if const { is("four-handlers-and-engine") } {
                run(&mut model, Port);
            }
            if const { is("with-flash-slots") }
                && let Ok(slots) = Slots::<_, 4>::open(Flash, 0..any())
            {
                run(&mut model, slots);
            }
        }
    }

    #[inline(never)]
    fn step(model: &mut Model<'_>, batch: u32) -> f32 {
        let mut loss = 0.0;
        for weight in model.1.iter_mut() {
            *weight = black_box(f32::from_bits(0x3F00_0000 | batch));
            loss += *weight;
        }
        loss
    }

    fn ranking(model: &mut Model<'_>) {
        let mut ranking = Ranking::<3>::new(3, Order::Score, false);
        loop {
            let entry = Entry::new(any(), Some(step(model, any())));
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
        let header = Header { step: any(), sequence: any(), iteration: any(), score: any(), score_name: None };
        let contents = Contents { header, record: None, only: None, allow_non_finite: false };
        black_box(checkpoint::encode::<Crc32, _, _>(&mut Port, &contents, model).is_ok());
    }

    fn decode(model: &mut Model<'_>) {
        black_box(step(model, any()));
        let mut scratch = [0; 64];
        let mut loader = checkpoint::Loader::new(model, &mut scratch);
        if loader.verify::<Crc32, _>(&mut Port, None).is_ok() && loader.verified::<Infallible>().is_ok() {
            black_box(loader.load::<Crc32, _>(&mut Port).is_ok());
        }
    }

    /// Everything that decides and everything that reads and writes, in a loop of the program's own, without the engine.
    fn machines<S: Store>(model: &mut Model<'_>, store: &mut S) {
        let Ok(mut stopping) = EarlyStopping::new(3) else { return };
        let Ok(mut best) = ModelCheckpoint::<3>::builder().scored().n_saved(3).build() else { return };
        let mut guard = TerminateOnNan::new();
        let mut timer = Timer::new(any());
        let mut index = 0;
        while let Ok(Some(stored)) = store.stored(index) {
            best.found(Save { step: stored.step, score: stored.score });
            index += 1;
        }
        if let Some(latest) = best.latest() {
            restore(model, store, latest.step);
        }
        loop {
            timer.resume(any());
            let loss = step(model, any());
            timer.pause(any());
            timer.step();
            if guard.check(&loss) || guard.check(model.1.as_slice()) {
                break;
            }
            if let Some(save) = best.update(Some(-loss))
                && write(model, store, save)
                && let Some(gone) = best.committed(save)
            {
                black_box(store.remove(gone.step).is_ok());
            }
            if stopping.update(-loss) {
                break;
            }
        }
        black_box(timer.seconds(any(), 1000));
        if let Some(best) = best.best() {
            restore(model, store, best.step);
        }
    }

    fn write<S: Store>(model: &Model<'_>, store: &mut S, save: Save) -> bool {
        let header =
            Header { step: save.step, sequence: save.step, iteration: any(), score: save.score, score_name: None };
        let contents = Contents { header, record: None, only: None, allow_non_finite: true };
        let Ok(len) = checkpoint::measure::<S::Error, _>(&contents, model) else { return false };
        let opening = Opening { header, object: None, part: 0, parts: 1, len };
        let Ok(mut writer) = store.create(&opening) else { return false };
        let encoded = checkpoint::encode::<S::Checksum, _, _>(&mut writer, &contents, model);
        drop(writer);
        encoded.is_ok_and(|encoded| store.commit(&header, &encoded).is_ok())
    }

    #[inline(never)]
    fn restore<S: Store>(model: &mut Model<'_>, store: &mut S, step: u32) -> bool {
        let mut scratch = [0; 64];
        let mut loader = checkpoint::Loader::new(model, &mut scratch);
        let Ok(mut reader) = store.open(step, 0) else { return false };
        if loader.verify::<S::Checksum, _>(&mut reader, None).is_err() || loader.verified::<Infallible>().is_err() {
            return false;
        }
        drop(reader);
        let Ok(mut reader) = store.open(step, 0) else { return false };
        loader.load::<S::Checksum, _>(&mut reader).is_ok()
    }

    /// A whole run, as a program would have it: resumed, all four handlers, the best weights in the end.
    fn run<S: Store>(model: &mut Model<'_>, store: S) {
        let Ok(stopping) = EarlyStopping::new(3) else { return };
        let best = ModelCheckpoint::<3>::builder().score_function(|state: &State<f32>| loss(state)).n_saved(3).build();
        let Ok(best) = best else { return };
        let Ok(best) = best.attach(EpochCompleted, store) else { return };
        let mut handlers = (
            TerminateOnNan::new().attach(IterationCompleted, |_: &_, state: &State<f32>| state.output),
            stopping.attach(EpochCompleted, |state: &State<f32>| loss(state)),
            Timer::new(any()).attach(any::<u64>, Started, Completed, Never, IterationCompleted),
            best,
        );
        let mut engine = Engine::new(10);
        if engine.resume(model, &mut handlers).is_ok() {
            black_box(engine.run(model, 0..100, &mut handlers, |model, batch, _| step(model, batch)).is_ok());
            black_box(handlers.3.load_best(model).is_ok());
        }
    }

    fn loss(state: &State<f32>) -> f32 {
        state.output.unwrap_or(f32::NAN)
    }

    /// A device of the user's own, of which nothing is known: a stream and a store.
    struct Port;

    impl embedded_io::ErrorType for Port {
        type Error = Infallible;
    }

    impl Write for Port {
        #[inline(never)]
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            black_box(bytes.as_ptr());
            Ok(any())
        }
        fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl Read for Port {
        #[inline(never)]
        fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
            black_box(bytes.as_ptr());
            Ok(any())
        }
    }

    impl Store for Port {
        type Error = Infallible;
        type Writer<'a> = Port;
        type Reader<'a> = Port;
        type Checksum = Crc32;

        fn create(&mut self, _: &Opening<'_>) -> Result<Port, Infallible> {
            Ok(Port)
        }
        fn commit(&mut self, _: &Header<'_>, _: &checkpoint::Encoded) -> Result<(), Infallible> {
            Ok(())
        }
        #[inline(never)]
        fn stored(&mut self, _: u32) -> Result<Option<Stored>, Infallible> {
            let stored = Stored { step: any(), sequence: any(), iteration: any(), score: any() };
            Ok(any::<bool>().then_some(stored))
        }
        #[inline(never)]
        fn parts(&mut self, _: u32) -> Result<u32, Infallible> {
            Ok(any())
        }
        fn open(&mut self, _: u32, _: u32) -> Result<Port, Infallible> {
            Ok(Port)
        }
        fn remove(&mut self, _: u32) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// A flash of the user's own, likewise.
    struct Flash;

    impl ErrorType for Flash {
        type Error = NorFlashErrorKind;
    }

    impl ReadNorFlash for Flash {
        const READ_SIZE: usize = 1;

        #[inline(never)]
        fn read(&mut self, _: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            black_box(bytes.as_ptr());
            failed()
        }
        fn capacity(&self) -> usize {
            any()
        }
    }

    impl NorFlash for Flash {
        const WRITE_SIZE: usize = 4;
        const ERASE_SIZE: usize = 1024;

        #[inline(never)]
        fn erase(&mut self, _: u32, _: u32) -> Result<(), NorFlashErrorKind> {
            failed()
        }
        #[inline(never)]
        fn write(&mut self, _: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
            black_box(bytes.as_ptr());
            failed()
        }
    }

    fn failed() -> Result<(), NorFlashErrorKind> {
        if any() { Err(NorFlashErrorKind::Other) } else { Ok(()) }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {
            core::hint::spin_loop();
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program is for a board: `firmware-example/check` builds it for three of them.");
}
