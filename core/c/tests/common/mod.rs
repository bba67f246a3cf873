//! A training run in two versions, through the C interface and in Rust, with the same handlers and the same arithmetic.

#![allow(dead_code, reason = "each test program uses a part")]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::{null, null_mut};
use training_monitor::checkpoint::{ObjectVisitor, Objects, StateDict, TensorVisitor};
use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted};
use training_monitor::handler::RunTypes;
use training_monitor::store::Store;
use training_monitor::store::byte_addressable::{ByteSlots, SharedStorage};
use training_monitor::store::flash::{SharedNorFlash, Slots};
use training_monitor::{
    EarlyStopping, Engine, ModelCheckpoint, Outcome, StopReason, TerminateOnNan, Timer, WeightAverage,
};
use training_monitor_c::tm_status::*;
use training_monitor_c::*;
use training_monitor_std::test_support::flash::{Chip, Flash};
use training_monitor_std::test_support::memory::Memory;

pub const BLOCK: usize = 1024;
pub const EPOCH_LENGTH: u32 = 4;
pub const MAX_EPOCHS: u32 = 12;
const BEST: Range<u32> = 0..3 * BLOCK as u32;
const LATEST: Range<u32> = 3 * BLOCK as u32..6 * BLOCK as u32;

/// A flash with two regions of three slots that contains nothing useful.
pub fn chip() -> Chip {
    Chip::new(8, BLOCK, 4, vec![0xA5; 6 * BLOCK], 0xFF)
}

/// A byte-addressable memory with two regions of three slots that contains nothing useful.
pub fn memory<const PAGE: usize>() -> Chip {
    Chip::byte_addressable(PAGE, vec![0xA5; 6 * BLOCK])
}

/// The model and its training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Trainee {
    pub weights: [f32; 6],
    pub velocity: [f32; 6],
    pub average: [f32; 6],
    pub seed: u64,
}

impl Trainee {
    pub fn new() -> Self {
        Trainee { weights: [0.5, -0.25, 0.125, 0.0, 1.0, -1.0], velocity: [0.0; 6], average: [0.0; 6], seed: 300 }
    }

    pub fn step(&mut self, iteration: u32) -> f32 {
        let mut loss = 0.0;
        for index in 0..6 {
            let target = ((u64::from(iteration) * 7 + index as u64 * 3 + self.seed) % 11) as f32 / 8.0;
            let error = self.weights[index] - target;
            self.velocity[index] = 0.5 * self.velocity[index] + error;
            self.weights[index] -= 0.125 * self.velocity[index];
            loss += error * error;
        }
        loss
    }

    pub fn validate(&self) -> f32 {
        self.weights.iter().map(|weight| (weight - 0.75) * (weight - 0.75)).sum()
    }
}

struct Weights<'a>(&'a mut [f32; 6]);

impl StateDict for Weights<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let (first, second) = self.0.split_at_mut(4);
        let first: &mut [f32; 4] = first.try_into().unwrap();
        let first: &mut [[f32; 2]; 2] = first.as_chunks_mut::<2>().0.try_into().unwrap();
        visitor.tensor("fc.weight", first)?;
        let second: &mut [f32; 2] = second.try_into().unwrap();
        visitor.tensor("fc.bias", second)
    }
}

impl Objects for Trainee {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", &mut Weights(&mut self.weights))?;
        visitor.state_dict("optimizer", &mut Weights(&mut self.velocity))?;
        visitor.state_dict("average", &mut Weights(&mut self.average))?;
        // The seed of a program in Rust has 32 bits; the bytes are those of the C interface's number.
        let mut seed = u32::try_from(self.seed).unwrap();
        visitor.value("seed", &mut seed)?;
        self.seed = seed.into();
        Ok(())
    }
}

/// A run in Rust. Returns `None` if a chip has lost its power, or after `steps` steps.
pub fn rust_session(chip: &mut Chip, steps: u32) -> Option<(Outcome, Trainee)> {
    match (chip.is_byte_addressable(), chip.geometry().0) {
        (false, _) => {
            let flash = RefCell::new(Flash::<8, BLOCK, 4, _>::with_chip(chip)?);
            let open = |region| Slots::<_, 3>::open(SharedNorFlash(&flash), region).ok();
            rust_run(open(BEST)?, open(LATEST)?, steps)
        }
        (true, 1) => rust_session_in_memory::<1>(chip, steps),
        (true, 16) => rust_session_in_memory::<16>(chip, steps),
        (true, 64) => rust_session_in_memory::<64>(chip, steps),
        (true, 256) => rust_session_in_memory::<256>(chip, steps),
        (true, page) => panic!("no run for pages of {page} bytes"),
    }
}

fn rust_session_in_memory<const PAGE: usize>(chip: &mut Chip, steps: u32) -> Option<(Outcome, Trainee)> {
    let memory = RefCell::new(Memory::with_chip(chip)?);
    let open = |region| ByteSlots::<_, 3, PAGE>::open(SharedStorage(&memory), region).ok();
    rust_run(open(BEST)?, open(LATEST)?, steps)
}

fn rust_run<S: Store>(best: S, latest: S, steps: u32) -> Option<(Outcome, Trainee)> {
    let mut trainee = Trainee::new();
    let types = RunTypes::<Trainee, f32, [f32; 4]>::new();
    let ticks = Cell::new(0_u64);
    let mut handlers = (
        TerminateOnNan::new().with_schedule(1).ok()?.attach(IterationCompleted, |_, state| &state.output),
        TerminateOnNan::new().with_schedule(3).ok()?.attach_slices(
            IterationCompleted,
            types.slices(|trainee: &Trainee, check: &mut dyn FnMut(&[f32])| {
                check(&trainee.weights[..4]);
                check(&trainee.weights[4..]);
            }),
        ),
        WeightAverage::exponential(0.25).ok()?.attach(
            EpochCompleted,
            |trainee: &mut Trainee, pair: &mut dyn FnMut(&mut [f32], &mut [f32])| {
                pair(&mut trainee.average[..4], &mut trainee.weights[..4]);
                pair(&mut trainee.average[4..], &mut trainee.weights[4..]);
            },
        ),
        EarlyStopping::new(5)
            .ok()?
            .with_mode(training_monitor::handlers::early_stopping::Mode::Min)
            .attach(EpochCompleted, types.score(|state| state.metrics[0])),
        Timer::new(0)
            .attach(|| ticks.get())
            .pause(IterationCompleted)
            .resume(IterationStarted)
            .step(IterationCompleted),
        ModelCheckpoint::<7>::best_by(types.score(|state| -state.metrics[0]))
            .with_score_name("val_loss")
            .ok()?
            .with_n_saved(2)
            .ok()?
            .attach(EpochCompleted, best)
            .ok()?,
        ModelCheckpoint::<7>::every(1)
            .ok()?
            .with_n_saved(1)
            .ok()?
            .with_series_name("latest")
            .ok()?
            .attach(EpochCompleted, latest)
            .ok()?,
    );
    let mut engine = Engine::<f32, [f32; 4]>::with_metrics(MAX_EPOCHS, [0.0; 4]);
    engine.resume(&mut trainee, &mut handlers).ok()?;
    let outcome = engine.run(&mut trainee, 0..EPOCH_LENGTH, &mut handlers, |trainee: &mut Trainee, _, state| {
        let loss = trainee.step(state.iteration());
        ticks.set(ticks.get() + 1);
        if state.is_last_in_epoch() {
            state.metrics[0] = trainee.validate();
        }
        if ticks.get() >= u64::from(steps) {
            state.interrupt(); // No handler saves at this event.
        }
        loss
    });
    let outcome = outcome.ok()?;
    (outcome.reason != StopReason::Interrupted).then_some((outcome, trainee))
}

pub unsafe extern "C" fn read(context: *mut c_void, address: u32, bytes: *mut u8, len: usize) -> c_int {
    let (chip, bytes) = unsafe { (&mut *context.cast::<Chip>(), std::slice::from_raw_parts_mut(bytes, len)) };
    chip.read(address, bytes).is_err().into()
}

pub unsafe extern "C" fn program(context: *mut c_void, address: u32, bytes: *const u8, len: usize) -> c_int {
    let (chip, bytes) = unsafe { (&mut *context.cast::<Chip>(), std::slice::from_raw_parts(bytes, len)) };
    chip.program(address, bytes).is_err().into()
}

pub unsafe extern "C" fn erase(context: *mut c_void, address: u32, len: u32) -> c_int {
    let chip = unsafe { &mut *context.cast::<Chip>() };
    chip.erase(address, address + len).is_err().into()
}

pub unsafe extern "C" fn write(context: *mut c_void, address: u32, bytes: *const u8, len: usize) -> c_int {
    let (chip, bytes) = unsafe { (&mut *context.cast::<Chip>(), std::slice::from_raw_parts(bytes, len)) };
    chip.overwrite(address, bytes).is_err().into()
}

/// Describes a region of three slots in a byte-addressable memory.
pub fn memory_of(chip: *mut Chip, page_size: usize, region: u32) -> tm_memory {
    tm_memory {
        context: chip.cast(),
        read: Some(read),
        write: Some(write),
        start: region * 3 * BLOCK as u32,
        size: 3 * BLOCK as u32,
        slots: 3,
        page_size: page_size as u32,
    }
}

/// Describes a region of three slots in a flash.
pub fn flash_of(chip: *mut Chip, geometry: (usize, usize, usize), region: u32) -> tm_flash {
    let (write_size, erase_size, read_size) = geometry;
    tm_flash {
        context: chip.cast(),
        read: Some(read),
        program: Some(program),
        erase: Some(erase),
        start: region * 3 * BLOCK as u32,
        size: 3 * BLOCK as u32,
        slots: 3,
        erase_size: erase_size as u32,
        write_size: write_size as u32,
        read_size: read_size as u32,
    }
}

pub unsafe extern "C" fn now(context: *mut c_void) -> u64 {
    unsafe { *context.cast::<u64>() }
}

/// An object that a C program would declare: its memory is written before it is passed.
pub fn object<T>() -> T {
    unsafe { MaybeUninit::<T>::zeroed().assume_init() }
}

/// Settings in which every field is 0.
pub fn zero<T>() -> T {
    object()
}

pub fn tensor(name: &'static std::ffi::CStr, data: *mut f32, shape: &[u32]) -> tm_tensor {
    let mut dimensions = [0; TM_MAX_RANK];
    dimensions[..shape.len()].copy_from_slice(shape);
    tm_tensor { name: name.as_ptr(), data: data.cast(), shape: dimensions, rank: shape.len() as u8, kind: TM_F32 }
}

/// The arrays of a model in C.
pub struct CModel {
    model: [tm_tensor; 2],
    optimizer: [tm_tensor; 2],
    average: [tm_tensor; 2],
    objects: Vec<tm_object>,
}

impl CModel {
    pub fn new(trainee: *mut Trainee) -> Box<CModel> {
        let lists = |values: *mut [f32; 6]| {
            let values = values.cast::<f32>();
            [tensor(c"fc.weight", values, &[2, 2]), tensor(c"fc.bias", unsafe { values.add(4) }, &[2])]
        };
        let (weights, velocity) = unsafe { (&raw mut (*trainee).weights, &raw mut (*trainee).velocity) };
        let (average, seed) = unsafe { (&raw mut (*trainee).average, &raw mut (*trainee).seed) };
        let (model, optimizer, average) = (lists(weights), lists(velocity), lists(average));
        let mut model = Box::new(CModel { model, optimizer, average, objects: Vec::new() });
        let dict = |name: &'static std::ffi::CStr, tensors: *const tm_tensor, is_guarded| tm_object {
            name: name.as_ptr(),
            tensors,
            tensor_count: 2,
            is_guarded,
            number: null_mut(),
            average_of: null(),
        };
        model.objects = vec![
            dict(c"model", model.model.as_ptr(), 1),
            dict(c"optimizer", model.optimizer.as_ptr(), 0),
            dict(c"average", model.average.as_ptr(), 0),
            tm_object { name: c"seed".as_ptr(), number: seed, ..zero() },
        ];
        model.objects[2].average_of = &raw const model.objects[0];
        model
    }

    pub fn model(&self) -> tm_model {
        tm_model { objects: self.objects.as_ptr(), object_count: self.objects.len() as u32 }
    }
}

pub fn latest_config() -> tm_checkpoint_config {
    tm_checkpoint_config {
        n_saved: 1,
        interval: 1,
        series_name: c"latest".as_ptr(),
        events: TM_EPOCH_COMPLETED,
        ..zero()
    }
}

pub fn best_config() -> tm_checkpoint_config {
    tm_checkpoint_config {
        n_saved: 2,
        score_name: c"val_loss".as_ptr(),
        events: TM_EPOCH_COMPLETED,
        score: TM_SCORE_METRIC_0 + TM_SCORE_NEGATED,
        ..zero()
    }
}

/// The same run through the C interface.
pub fn c_session(chip: &mut Chip, steps: u32) -> Option<(tm_outcome, Trainee)> {
    let mut trainee = Box::new(Trainee::new());
    let trainee: *mut Trainee = &mut *trainee;
    let model = CModel::new(trainee);
    let (geometry, is_memory) = (chip.geometry(), chip.is_byte_addressable());
    let chip: *mut Chip = chip;
    let flashes = [0, 1].map(|region| flash_of(chip, geometry, region));
    let memories = [0, 1].map(|region| memory_of(chip, geometry.0, region));
    let mut ticks = 0_u64;
    let ticks: *mut u64 = &mut ticks;
    let mut engine: tm_engine = object();
    let mut loss_guard: tm_nan_guard = object();
    let mut weight_guard: tm_weight_guard = object();
    let mut average: tm_weight_average = object();
    let mut stopping: tm_early_stopping = object();
    let mut timer: tm_timer = object();
    let (mut best, mut latest): (tm_checkpoint, tm_checkpoint) = (object(), object());
    let ok = |status: tm_status| assert_eq!(status, TM_OK);
    unsafe {
        let config = tm_engine_config { max_epochs: MAX_EPOCHS, epoch_length: EPOCH_LENGTH, model: model.model() };
        ok(tm_engine_init(&mut engine, &config));
        ok(tm_nan_guard_init(&mut loss_guard, &tm_guard_config { events: TM_ITERATION_COMPLETED, ..zero() }));
        let config = tm_guard_config { period: 3, events: TM_ITERATION_COMPLETED, ..zero() };
        ok(tm_weight_guard_init(&mut weight_guard, &config));
        let config = tm_weight_average_config { momentum: 0.25, events: TM_EPOCH_COMPLETED, ..zero() };
        ok(tm_weight_average_init(&mut average, &config));
        let config = tm_early_stopping_config {
            patience: 5,
            mode: TM_MODE_MIN,
            events: TM_EPOCH_COMPLETED,
            score: TM_SCORE_METRIC_0,
            ..zero()
        };
        ok(tm_early_stopping_init(&mut stopping, &config));
        let config = tm_timer_config {
            clock: tm_clock { now: Some(now), context: ticks.cast() },
            start: TM_STARTED,
            pause: TM_ITERATION_COMPLETED,
            resume: TM_ITERATION_STARTED,
            step: TM_ITERATION_COMPLETED,
            ..zero()
        };
        ok(tm_timer_init(&mut timer, &config, 0));
        for (checkpoint, config, region) in [(&mut best, best_config(), 0), (&mut latest, latest_config(), 1)] {
            let status = if is_memory {
                tm_checkpoint_open_memory(checkpoint, &config, &memories[region])
            } else {
                tm_checkpoint_open_flash(checkpoint, &config, &flashes[region])
            };
            if status != TM_OK {
                return None;
            }
        }
        ok(tm_engine_attach_nan_guard(&mut engine, &mut loss_guard));
        ok(tm_engine_attach_weight_guard(&mut engine, &mut weight_guard));
        ok(tm_engine_attach_weight_average(&mut engine, &mut average));
        ok(tm_engine_attach_early_stopping(&mut engine, &mut stopping));
        ok(tm_engine_attach_timer(&mut engine, &mut timer));
        ok(tm_engine_attach_checkpoint(&mut engine, &mut best));
        ok(tm_engine_attach_checkpoint(&mut engine, &mut latest));
        let mut resumed = zero();
        match tm_engine_resume(&mut engine, &mut resumed) {
            // The power failed before the first commit, so the run starts over.
            TM_OK | TM_NONE | TM_ERROR_NONE_LOADABLE => (),
            _ => return None,
        }
        for _ in 0..steps {
            match tm_engine_begin_iteration(&mut engine) {
                TM_OK => (),
                TM_STOP => {
                    let mut outcome = zero();
                    ok(tm_engine_outcome(&engine, &mut outcome));
                    return Some((outcome, (*trainee).clone()));
                }
                _ => return None,
            }
            let loss = (*trainee).step(tm_engine_iteration(&engine));
            *ticks += 1;
            if tm_engine_is_last_in_epoch(&engine) == 1 {
                ok(tm_engine_set_metric(&mut engine, 0, (*trainee).validate()));
            }
            tm_engine_end_iteration(&mut engine, loss);
            let mut outcome: tm_outcome = zero();
            if tm_engine_outcome(&engine, &mut outcome) == TM_OK && outcome.reason == TM_REASON_SAVE_FAILED {
                return None;
            }
        }
    }
    None
}
