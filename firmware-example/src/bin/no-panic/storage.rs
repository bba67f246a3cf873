//! Calls the public functions of the stores and of the checkpoint handler.

use crate::codec;
use crate::format::{display, error};
use crate::memories::{AsyncChip, ByteMemory, Chip};
use crate::policies::any;
use core::cell::RefCell;
use core::hint::black_box;
use training_monitor::checkpoint::{Crc32, Header, Named, SeriesId};
use training_monitor::event::EpochCompleted;
use training_monitor::handler::StartCheck;
use training_monitor::handlers::keep::{KeepMetrics, KeepOutput};
use training_monitor::handlers::model_checkpoint::{
    CheckpointEvent, CheckpointHandler, CheckpointObserver, SaveDecision,
};
use training_monitor::log::DefmtObserver;
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RunRecord};
use training_monitor::store::byte_addressable::{ByteSlots, FlashView, SharedStorage};
use training_monitor::store::flash::layout::{
    CommitRecord, SealState, hides_older, hides_unsealed, is_damaged_commit, seal_bytes,
};
use training_monitor::store::flash::{BlockingNorFlash, RunTimeGeometry, SharedNorFlash, Slots};
use training_monitor::store::ram::Ram;
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, State};

/// A model with two tensors.
type Model<'a> = Named<'a, &'a mut [f32; 40]>;

/// Calls all public functions of the codec, the stores and the checkpoint handler, so that the linker
/// checks them for panics.
pub fn call_all() {
    let mut weights = black_box([0.0_f32; 40]);
    let mut model: Model<'_> = Named::new("model", &mut weights);
    codec::call_all(&mut model);
    call_store(&mut model, Ram::<3, 1024>::new());
    call_store(&mut model, &mut Ram::<3, 1024>::default());
    call_slots::<8>(&mut model);
    call_run_time_geometry::<8>(&mut model);
    call_byte_slots(&mut model);
    call_flash_view(&mut model);
    call_layout();
    call_wrapped_flash(&mut model);
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

fn call_run_time_geometry<const GRANULE: usize>(model: &mut Model<'_>) {
    type RunTimeSlots<const GRANULE: usize> = Slots<Chip<GRANULE>, 3, Crc32, RunTimeGeometry>;
    let geometry =
        RunTimeGeometry { read_size: any(), write_size: any(), erase_size: any(), slots: any(), reserved: any() };
    let chip = || Chip::<GRANULE>([0; 3 * 1024]);
    if let Err(failed) = RunTimeSlots::erase_region_with_geometry(chip(), any()..any(), geometry) {
        error(&failed);
    }
    match RunTimeSlots::open_with_geometry(chip(), any()..any(), geometry) {
        Err(failed) => error(&failed),
        Ok(mut slots) => call_store(model, &mut slots),
    }
}

/// Uses large pages, because their layout needs all of the code.
fn call_byte_slots(model: &mut Model<'_>) {
    let memory = RefCell::new(ByteMemory([0; 3 * 1024]));
    if let Err(failed) = ByteSlots::<_, 3, 64>::erase_region(SharedStorage(&memory), any()..any()) {
        error(&failed);
    }
    match ByteSlots::<_, 3, 64>::open(SharedStorage(&memory), any()..any()) {
        Err(failed) => error(&failed),
        Ok(mut slots) => {
            black_box((slots.overwrites(), slots.max_stream_len(), slots.usable_slots(), slots.unreadable_slots()));
            black_box((slots.storage().0.try_borrow().is_ok(), slots.storage_mut().0.try_borrow().is_ok()));
            call_store(model, &mut slots);
            black_box(slots.into_inner().0.try_borrow().is_ok());
        }
    }
}

fn call_flash_view(model: &mut Model<'_>) {
    type View<'a> = FlashView<SharedStorage<'a, ByteMemory>, 64>;
    let memory = RefCell::new(ByteMemory([0; 3 * 1024]));
    let mut view = FlashView::<_, 64>::new(SharedStorage(&memory), &(any()..any()), any());
    if let Err(failed) = view.check_page_size::<Crc32>(any()..any()) {
        error(&failed);
    }
    black_box((view.storage().0.try_borrow().is_ok(), view.storage_mut().0.try_borrow().is_ok()));
    let geometry =
        RunTimeGeometry { read_size: 1, write_size: 1, erase_size: any(), slots: any(), reserved: View::RESERVED };
    match Slots::<_, 3, Crc32, RunTimeGeometry>::open_with_geometry(view, any()..any(), geometry) {
        Err(failed) => error(&failed),
        Ok(mut slots) => {
            call_store(model, &mut slots);
            black_box(slots.into_inner().into_storage().0.try_borrow().is_ok());
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
            let checkpoint = checkpoint.observe(observer).min_interval(any()).restore_best();
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
            black_box(handlers.0.restored().is_ok());
            call_checkpoint_handler(model, &mut handlers.0);
            let (checkpoint, ..) = handlers;
            black_box(checkpoint.into_handler().into_store());
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
