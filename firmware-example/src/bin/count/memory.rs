//! Measures a save to flash, the stack usage of the deepest calls, and the RAM of the engine and the handlers.

use crate::board::{self, Console, stack};
use crate::chip::{BLOCK, BYTES, Chip};
use crate::firmware::HIDDEN;
use crate::instructions::{NullWriter, count};
use core::fmt::Write;
use core::hint::black_box;
use digits_workload::flash::WriteOnce;
use digits_workload::train::Trainee;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use static_cell::ConstStaticCell;
use training_monitor::checkpoint::{self, Contents, Named};
use training_monitor::event::{Completed, EpochCompleted, IterationCompleted, Never, Started};
use training_monitor::handlers::early_stopping::EarlyStoppingHandler;
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, ScoreFunction};
use training_monitor::handlers::terminate_on_nan::NanGuard;
use training_monitor::handlers::timer::TimerHandler;
use training_monitor::store::flash::Slots;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, TerminateOnNan, Timer};

static CHIP: ConstStaticCell<WriteOnce<Chip>> = ConstStaticCell::new(WriteOnce::new(Chip([0; BYTES])));

/// The model of this measurement: one tensor with 1 KiB of weights.
type Model<'a> = Named<'a, &'a mut [f32]>;

fn print(name: &str, value: usize) {
    let _ = writeln!(Console, "{}/{name} {value}", board::BOARD.name);
}

/// Measures and prints the cost of a save, the stack usage of the deepest calls, and the RAM of the engine and the
/// handlers.
pub fn measure(trainee: &mut Trainee<HIDDEN, 16>) {
    let Some(weights) = trainee.net.parameters.w1.as_flattened_mut().get_mut(..256) else { return };
    let mut model: Model<'_> = Named::new("model", weights);

    let contents = Contents::new(0);
    let painted = stack::paint();
    let encoded = deepest_encode(|| checkpoint::encode(&mut NullWriter, &contents, &mut model).is_ok());
    print("stack-encode", painted.depth());
    black_box(encoded);

    let flash = CHIP.take();
    run(&mut model, flash, false);
    run(&mut model, flash, true);
    sizes();
}

// Each measured call goes through one of the `deepest_` functions. `board-check` finds these functions by their names
// and adds up the stack frames below them.

#[inline(never)]
fn deepest_encode<R>(call: impl FnOnce() -> R) -> R {
    call()
}

#[inline(never)]
fn deepest_open<R>(call: impl FnOnce() -> R) -> R {
    call()
}

#[inline(never)]
fn deepest_resume<R>(call: impl FnOnce() -> R) -> R {
    call()
}

#[inline(never)]
fn deepest_iteration<R>(call: impl FnOnce() -> R) -> R {
    call()
}

#[inline(never)]
fn deepest_save<R>(call: impl FnOnce() -> R) -> R {
    call()
}

#[inline(never)]
fn deepest_load<R>(call: impl FnOnce() -> R) -> R {
    call()
}

/// Runs one iteration that saves one checkpoint, and measures each step of the run. With `resume_saved`, the flash
/// contains the checkpoint of an earlier call, and the run resumes from it.
fn run(model: &mut Model<'_>, flash: &mut WriteOnce<Chip>, resume_saved: bool) {
    let (erased, programmed) = (flash.erased_blocks(), flash.programmed_bytes());
    let painted = stack::paint();
    let Ok(slots) = deepest_open(|| Slots::<_, 2>::open(&mut *flash, 0..BYTES as u32)) else { return };
    let open = painted.depth();

    let Ok(latest) = ModelCheckpoint::<1>::every(1) else { return };
    let Ok(latest) = latest.attach(IterationCompleted, slots) else { return };
    let Ok(stopping) = EarlyStopping::new(3) else { return };
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        stopping.attach(EpochCompleted, |state| state.output.unwrap_or(f32::NAN)),
        Timer::new(0).attach(|| black_box(7_u64)).step(IterationCompleted),
        latest,
    );
    let mut engine = Engine::new(1);
    let painted = stack::paint();
    let resumed = count(|| _ = black_box(deepest_resume(|| engine.resume(model, &mut handlers).is_ok())));
    let resume = painted.depth();

    let painted = stack::paint();
    let mut can_continue = deepest_iteration(|| engine.begin_iteration(model, &mut handlers).unwrap_or(false));
    let iteration = painted.depth();
    let painted = stack::paint();
    let saved = count(|| can_continue &= deepest_save(|| engine.end_iteration(black_box(0.5), model, &mut handlers)));
    let save = painted.depth();
    let painted = stack::paint();
    let loaded = deepest_load(|| matches!(handlers.3.load_best(model), Ok(Some(_))));
    let load = painted.depth();
    // The costs of a failed save or load would be reported as if they were those of a complete one.
    assert!(can_continue && loaded, "save: {:?}, load: {loaded}", handlers.3.last_error());

    if resume_saved {
        print("resume-1KiB-instructions", resumed as usize);
        print("stack-open", open);
        print("stack-resume", resume);
        print("stack-iteration", iteration);
        print("stack-save", save);
        print("stack-load", load);
    } else {
        print("save-1KiB-instructions", saved as usize);
        print("save-1KiB-erases", (flash.erased_blocks() - erased) as usize);
        print("save-1KiB-programmed", (flash.programmed_bytes() - programmed) as usize);
        print("save-erase-block", BLOCK);
    }
}

/// Prints the RAM of the engine and of each handler, without the store. The checkpoint ranking has three entries.
fn sizes() {
    type Score = fn(&State<f32>) -> f32;
    type Output = for<'a> fn(&'a (), &'a State<f32>) -> &'a Option<f32>;
    type Clock = fn() -> u64;
    type Store = Slots<Flash, 4>;
    let closures = 3 * size_of::<Score>() + size_of::<Clock>();
    let engine = size_of::<Engine<f32>>();
    let nan = size_of::<NanGuard<IterationCompleted, Output>>();
    let stopping = size_of::<EarlyStoppingHandler<EpochCompleted, Score>>();
    let timer = size_of::<TimerHandler<Clock, Started, Completed, Never, IterationCompleted>>();
    let saving = size_of::<CheckpointHandler<3, EpochCompleted, Store, ScoreFunction<Score>>>() - size_of::<Store>();
    for (name, size) in [
        ("ram-engine", engine),
        ("ram-terminate-on-nan", nan),
        ("ram-early-stopping", stopping),
        ("ram-timer", timer),
        ("ram-model-checkpoint", saving),
        ("ram-slots-4", size_of::<Store>()),
        // The sizes above use function pointers in place of closures. A closure that captures nothing has size 0, so
        // the sum subtracts the size of the pointers.
        ("ram-engine-and-handlers", engine + nan + stopping + timer + saving - closures),
    ] {
        print(name, size);
    }
}

/// A flash driver without fields. Only its type is used, to compute the size of the store.
struct Flash;

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        Err(NorFlashErrorKind::Other)
    }
    fn capacity(&self) -> usize {
        0
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 1024;

    fn erase(&mut self, _: u32, _: u32) -> Result<(), NorFlashErrorKind> {
        Err(NorFlashErrorKind::Other)
    }
    fn write(&mut self, _: u32, _: &[u8]) -> Result<(), NorFlashErrorKind> {
        Err(NorFlashErrorKind::Other)
    }
}
