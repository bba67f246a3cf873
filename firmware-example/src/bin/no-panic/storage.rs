//! Calls the public functions of the checkpoint encoder and decoder, the stores, and the checkpoint handler.

use crate::format::{display, error};
use crate::policies::any;
use core::cell::RefCell;
use core::future::poll_fn;
use core::hint::black_box;
use core::task::Poll;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use training_monitor::checkpoint::{
    self, Checksum, Contents, Crc32, Differences, ElementType, Header, Inspect, ItemName, Loader, Named, NestedArray,
    ObjectVisitor, Objects, RankingRule, Series, SeriesId, StateDict, Tensor, TensorUnavailable, TensorView,
    TensorVisitor,
};
use training_monitor::embedded_io::{self, Read, Write};
use training_monitor::embedded_storage_async::nor_flash as async_flash;
use training_monitor::event::EpochCompleted;
use training_monitor::handler::StartCheck;
use training_monitor::handlers::keep::{KeepMetrics, KeepOutput};
use training_monitor::handlers::model_checkpoint::{
    CheckpointEvent, CheckpointHandler, CheckpointObserver, SaveDecision,
};
use training_monitor::log::DefmtObserver;
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RunRecord};
use training_monitor::store::flash::layout::{
    CommitRecord, SealState, hides_older, hides_unsealed, is_damaged_commit, seal_bytes,
};
use training_monitor::store::flash::{BlockingNorFlash, SharedNorFlash, Slots};
use training_monitor::store::ram::Ram;
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, State};

/// A model with two tensors.
type Model<'a> = Named<'a, &'a mut [f32; 40]>;

/// Calls all public functions of the encoder, the decoder, the stores and the checkpoint handler, so that the linker
/// checks them for panics.
pub fn call_all() {
    let mut weights = black_box([0.0_f32; 40]);
    let mut model: Model<'_> = Named::new("model", &mut weights);
    call_codec(&mut model);
    let layer = Layer {
        weight: any(),
        scale: any(),
        double: black_box([0.0; 40]),
        half: any(),
        brain: any(),
        quantized: any(),
        flags: black_box([false; 70]),
        count: any(),
    };
    call_codec(&mut Nested { layer, bias: any() });
    call_store(&mut model, Ram::<3, 1024>::new());
    call_store(&mut model, &mut Ram::<3, 1024>::default());
    call_slots::<8>(&mut model);
    call_layout();
    call_wrapped_flash(&mut model);
}

fn call_codec<T: Objects>(model: &mut T) {
    let mut crc = Crc32::default();
    crc.update(black_box(&[1, 2, 3]));
    black_box(crc.value());

    let series =
        Series { name: black_box("series"), rule: any(), model: checkpoint::model_signature(model).unwrap_or(0) };
    let header = Header {
        step: any(),
        sequence: any(),
        iteration: any(),
        score: any(),
        score_name: black_box(Some("score")),
        run: any(),
        series,
        save_id: any(),
    };
    black_box(header.series_id());
    black_box(Contents::new(any()));
    let metadata: &[(&str, &[u8])] = black_box(&[("firmware", b"1.4.0")]);
    let contents = Contents { header, record: None, single_object: black_box(None), allow_non_finite: any(), metadata };
    let mut buffer = Buffer { bytes: [0; 512], position: 0 };
    let mut record = RunRecord::new();
    let view: &mut RunRecord<[u8]> = &mut record;
    view.copy_from(&RunRecord::<[u8; 20]>::with_capacity());
    black_box(ItemName::from(black_box("name")).as_str());
    black_box(checkpoint::measure(&contents, model).is_ok());
    match checkpoint::encode(&mut buffer, &contents, model) {
        Ok(encoded) => defmt::info!("{}", encoded),
        Err(failed) => defmt::error!("{}", failed),
    }
    match checkpoint::load(&black_box(buffer.bytes), model, Some(&mut record)) {
        Ok(info) => drop(black_box(info)),
        Err(failed) => error(&failed),
    }
    let mut scratch = [0; 64];
    match checkpoint::inspect(&mut buffer, &mut scratch, &mut Inspector) {
        Ok(info) => drop(black_box(info)),
        Err(failed) => error(&failed),
    }
    black_box(checkpoint::encode_with::<Crc32, _, _>(&mut buffer, &contents, model).is_ok());
    black_box(checkpoint::load_with::<Crc32, _>(&buffer.bytes, model, None).is_ok());
    black_box(checkpoint::inspect_with::<Crc32, _, _>(&mut buffer, &mut scratch, &mut Inspector).is_ok());
    let mut differences = Differences::default();
    let mut loader = Loader::new(model, &mut scratch);
    if any() {
        loader = loader.allow_differences(&mut differences);
    }
    black_box(loader.verify::<Crc32, _>(&mut buffer, None).is_ok());
    black_box(loader.check_complete::<core::convert::Infallible>().is_ok());
    black_box(loader.load::<Crc32, _>(&mut buffer).is_ok());
    defmt::info!("{}", differences);
}

/// A byte buffer that acts as a writer and as a reader.
struct Buffer {
    bytes: [u8; 512],
    position: usize,
}

impl embedded_io::ErrorType for Buffer {
    type Error = core::convert::Infallible;
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let free = self.bytes.iter_mut().skip(self.position);
        let written = free.zip(bytes).map(|(to, from)| *to = *from).count();
        self.position += written;
        Ok(written)
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl Read for Buffer {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let read = into.iter_mut().zip(self.bytes.iter().skip(self.position)).map(|(to, from)| *to = *from).count();
        self.position += read;
        Ok(read)
    }
}

/// Receives all parts of a checkpoint stream from the function `inspect`.
struct Inspector;

impl Inspect for Inspector {
    fn score_name(&mut self, name: &str) {
        black_box(name);
    }
    fn series(&mut self, name: &str, rule: RankingRule) {
        black_box((name, rule));
    }
    fn run(&mut self, record: &RunRecord<[u8]>) {
        black_box((record, record.capacity()));
    }
    fn object_name(&mut self, name: &str) {
        black_box(name);
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        black_box(tensor);
    }
    fn writer(&mut self, version: &str) {
        black_box(version);
    }
    fn metadata(&mut self, name: &str, len: u32) {
        black_box((name, len));
    }
    fn payload(&mut self, bytes: &[u8]) {
        black_box(bytes);
    }
    fn value(&mut self, object: &str, len: u32) {
        black_box((object, len));
    }
}

fn call_slots<const GRANULE: usize>(model: &mut Model<'_>) {
    if let Err(failed) = Slots::<_, 3>::erase_region(Chip::<GRANULE>([0; 3 * 1024]), any()..any()) {
        error(&failed);
    }
    match Slots::<_, 3>::open(Chip::<GRANULE>([0; 3 * 1024]), any()..any()) {
        Err(failed) => error(&failed),
        Ok(mut slots) => {
            black_box((slots.erases(), slots.max_stream_len(), slots.flash().0.len(), slots.flash_mut().0.len()));
            black_box((slots.usable_slots(), slots.unreadable_slots()));
            match slots.erase_ahead(any()) {
                Ok(done) => drop(black_box(done)),
                Err(failed) => error(&failed),
            }
            call_store(model, &mut slots);
            black_box(slots.into_inner());
        }
    }
}

fn call_layout() {
    let series = SeriesId { rule: any(), model: any() };
    let meta = CheckpointMeta { sequence: any(), step: any(), run: any(), iteration: any(), score: any(), series };
    black_box(meta.is_replaced_by(&meta));
    let record = CommitRecord {
        meta,
        index: any(),
        last: any(),
        size: any(),
        len: any(),
        erases: any(),
        total_erases: any(),
        durable: any(),
        failed: any(),
    };
    let bytes = black_box(record.to_bytes::<Crc32>());
    black_box((CommitRecord::from_bytes::<Crc32>(&bytes), CommitRecord::from_bytes_unverified(&bytes)));
    black_box((SealState::new(&black_box([0; 4]), &bytes), seal_bytes(&bytes)));
    black_box(is_damaged_commit::<Crc32>(&bytes, &black_box([0; 4])));
    black_box((hides_unsealed(&meta, &record.meta), hides_older((&meta, any()), (&record.meta, any()))));
}

fn call_wrapped_flash(model: &mut Model<'_>) {
    let mut flash = BlockingNorFlash::new(AsyncChip(Chip::<4>([0; 3 * 1024])));
    black_box((flash.inner().0.0.len(), flash.inner_mut().0.0.len()));
    if let Ok(slots) = Slots::<_, 3>::open(&mut flash, any()..any()) {
        call_store(model, slots);
    }
    let shared = RefCell::new(flash.into_inner().0);
    let flash = SharedNorFlash(&shared);
    if let (Ok(first), Ok(second)) =
        (Slots::<_, 3>::open(flash, any()..any()), Slots::<_, 3>::open(flash, any()..any()))
    {
        call_store(model, first);
        call_store(model, second);
    }
}

/// An async driver of the flash in RAM. Its futures are not `async fn`s, because the compiler adds a panic to each of
/// these, for a future that is polled after its completion.
struct AsyncChip(Chip<4>);

impl async_flash::ErrorType for AsyncChip {
    type Error = OutOfBounds;
}

impl async_flash::ReadNorFlash for AsyncChip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> impl Future<Output = Result<(), OutOfBounds>> {
        let mut result = Some(self.0.read(offset, bytes));
        poll_fn(move |_| result.take().map_or(Poll::Pending, Poll::Ready))
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl async_flash::NorFlash for AsyncChip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 512;

    fn erase(&mut self, from: u32, to: u32) -> impl Future<Output = Result<(), OutOfBounds>> {
        let mut result = Some(self.0.erase(from, to));
        poll_fn(move |_| result.take().map_or(Poll::Pending, Poll::Ready))
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> impl Future<Output = Result<(), OutOfBounds>> {
        let mut result = Some(self.0.write(offset, bytes));
        poll_fn(move |_| result.take().map_or(Poll::Pending, Poll::Ready))
    }
}

#[inline(never)] // One copy of the code for each store. More copies would exceed the flash of the smallest board.
fn call_store<S>(model: &mut Model<'_>, mut store: S)
where
    S: Store,
    S::Error: core::error::Error + defmt::Format + 'static,
{
    let header = Header { step: any(), ..Header::default() };
    let spec = StreamSpec { header, object: None, stream_index: any(), stream_count: any(), len: any() };
    black_box((store.capacity(), store.damaged(), store.is_durable(any()), store.check(&spec).is_ok()));
    black_box(store.create(&spec).is_ok());
    black_box((store.abandon_place(), store.erase(any()).is_ok()));
    black_box((store.stream_count(any()).is_ok(), store.remove(any()).is_ok(), store.open(any(), any()).is_ok()));
    black_box(CheckpointMeta::from(&header));

    let policy = ModelCheckpoint::<2>::best_by(|_: &State<f32>| any());
    let observer = |event: &CheckpointEvent<'_, S::Error>| format_event(event);
    match policy.attach(EpochCompleted, store) {
        Err(failed) => error(&failed),
        Ok(checkpoint) => {
            let checkpoint = checkpoint.observe(observer).min_interval(any());
            let mut handlers = (checkpoint, UserHandler(any()), KeepOutput, KeepMetrics);
            let mut engine = Engine::<f32, (), 200>::with_record_capacity(any(), ());
            match engine.resume(model, &mut handlers) {
                Ok(resumed) => drop(black_box(resumed)),
                Err(failed) => error(&failed),
            }
            match engine.run(model, 0..any(), &mut handlers, |_, _, _| any()) {
                Ok(outcome) => drop(black_box(outcome)),
                Err(failed) => error(&failed),
            }
            black_box(engine.state().run());
            call_checkpoint_handler(model, &mut handlers.0);
            let (checkpoint, ..) = handlers;
            black_box(checkpoint.into_store());
        }
    }
}

#[inline(never)]
fn call_checkpoint_handler<W, S, F, B>(model: &mut Model<'_>, handler: &mut CheckpointHandler<2, W, S, F, B>)
where
    S: Store,
    S::Error: core::error::Error + defmt::Format + 'static,
    B: CheckpointObserver<S::Error>,
{
    if let Err(failed) = handler.save(SaveDecision { step: any(), score: any() }, any(), None, model) {
        error(&failed);
    }
    if let Err(failed) = handler.load_best(model) {
        error(&failed);
    }
    if let Err(failed) = handler.load_step(any(), model) {
        error(&failed);
    }
    black_box((handler.policy().best(), handler.policy().places(), handler.last_error().is_some(), handler.series()));
    black_box((handler.erase_series(model).is_ok(), handler.erase_all().is_ok()));
    black_box(handler.store_mut().checkpoint(any()).is_ok());
    handler.evict_unranked();
    black_box(handler.store());
}

#[inline(never)]
fn format_event<E: core::error::Error + defmt::Format + 'static>(event: &CheckpointEvent<'_, E>) {
    display(event);
    defmt::info!("{}", event);
    DefmtObserver { series: "best" }.on_checkpoint_event(event);
    match event {
        CheckpointEvent::SaveFailed { error: failed, .. } => error(*failed),
        CheckpointEvent::EvictionFailed { error: failed, .. } => error(*failed),
        CheckpointEvent::LoadFailed { error: failed, .. } => error(*failed),
        CheckpointEvent::ListFailed { error: failed } => error(*failed),
        _ => (),
    }
}

/// A handler as a user can define it, with a state that a checkpoint saves.
struct UserHandler(u32);

impl<T: ?Sized> Handler<T, f32> for UserHandler {
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<f32>) {}
    fn check_start(&mut self, _: &mut T, start: &mut StartCheck) {
        black_box(start.check_record().is_ok());
        start.add_checkpoint(any(), any());
        start.refuse();
        black_box(start.max_record_len());
    }
    fn perform(&mut self, _: &mut T, _: &mut State<f32>, record: &RunRecord<[u8]>) -> bool {
        record.handlers().count() > 3
    }
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        black_box(states.visit(self));
    }
}

impl Persist for UserHandler {
    const KIND: HandlerKind = HandlerKind::user(0);
    type State = u32;
    fn save(&mut self) -> u32 {
        self.0
    }
    fn restore(&mut self, value: u32) {
        self.0 = value;
    }
}

/// A model with nested modules and a tensor that may be unavailable.
struct Nested {
    layer: Layer,
    bias: [f32; 3],
}

#[derive(StateDict)]
struct Layer {
    weight: [[f32; 2]; 3],
    scale: f32,
    double: [f64; 40],
    half: [half::f16; 9],
    brain: [half::bf16; 9],
    quantized: [[i8; 3]; 2],
    flags: [bool; 70],
    count: u64,
}

/// Lists the tensors of [`Nested`].
struct Tensors<'a>(&'a mut Nested);

impl StateDict for Tensors<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        if any() {
            return Err(TensorUnavailable.into());
        }
        visitor.module(black_box("layer"), &mut self.0.layer)?;
        visitor.tensor("view", TensorView::new(black_box(&[3]), &mut self.0.bias))?;
        visitor.tensor("read-only", TensorView::read_only(black_box(&[1]), black_box(&[0.0_f32])))?;
        let mut arena = black_box([0; 17]);
        let element_type = ElementType::ALL[usize::from(any::<u8>() % 13)];
        display(&element_type);
        defmt::info!("{} {} {}", element_type, element_type.name(), element_type.is_float());
        let bytes = arena.get_mut(any()..any()).unwrap_or_default();
        let shape = [bytes.len() as u32 / element_type.size()];
        let mut view = TensorView::from_bytes(element_type, &shape, bytes);
        black_box((view.shape(), view.element_type(), view.bytes(), view.is_read_only()));
        black_box((view.elements::<f64>(), f32::SHAPE, <[f32; 3]>::flatten(&mut [[0.0; 3]])));
        black_box(view.elements_mut::<i16>());
        visitor.tensor("arena", view)
    }
}

impl Objects for Nested {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("tensors", &mut Tensors(self))?;
        visitor.state_dict("layer", &mut self.layer)?;
        visitor.value_with("bias", &mut self.bias, &mut black_box([0; 8]))?;
        visitor.value("scale", &mut self.layer.scale)
    }
}

/// A flash in RAM with write granules of `GRANULE` bytes.
struct Chip<const GRANULE: usize>([u8; 3 * 1024]);

impl<const GRANULE: usize> ErrorType for Chip<GRANULE> {
    type Error = OutOfBounds;
}

impl<const GRANULE: usize> ReadNorFlash for Chip<GRANULE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let source = self.0.get(offset as usize..).ok_or(OutOfBounds)?;
        bytes.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl<const GRANULE: usize> NorFlash for Chip<GRANULE> {
    const WRITE_SIZE: usize = GRANULE;
    const ERASE_SIZE: usize = 512;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        self.0.get_mut(from as usize..to as usize).ok_or(OutOfBounds)?.fill(0xFF);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let target = self.0.get_mut(offset as usize..).ok_or(OutOfBounds)?;
        target.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// The error of [`Chip`]: the range exceeds the size of the flash.
#[derive(Debug, defmt::Format)]
struct OutOfBounds;

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}
