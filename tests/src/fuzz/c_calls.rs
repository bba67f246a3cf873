//! Calls the C interface in any order, as a wrong C program could do: objects that are not initialized, a flash that loses
//! its power, handlers that are attached twice. The target keeps the rules that a C program must keep: an attached object
//! stays in its place and is not overwritten.

#![allow(clippy::undocumented_unsafe_blocks, reason = "the target calls the interface as a C program does")]

use super::decode;
use crate::models::number::{Counter, Number};
use arbitrary::Arbitrary;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{from_mut, null, null_mut};
use training_monitor_c::tm_status::*;
use training_monitor_c::*;
use training_monitor_std::test_support::flash::{Chip, Interruption};

const BLOCK: u32 = 512;
const REGION: u32 = 4 * BLOCK;

#[derive(Arbitrary, Debug)]
struct Input {
    operations: Vec<Operation>,
}

/// One call. The first number selects one of two objects.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    InitEngine(bool, u8, u8),
    InitStopping(bool, u8, u8),
    InitGuard(bool, u8),
    OpenCheckpoint(bool, u8, u8, u8),
    /// Overwrites an object that is not attached.
    Fill(bool, u8),
    AttachStopping(bool, bool),
    AttachGuard(bool, bool),
    AttachCheckpoint(bool, bool),
    Begin(bool),
    End(bool, Number),
    EndData(bool),
    Resume(bool),
    Restart(bool),
    Terminate(bool, Counter),
    TerminateEpoch(bool),
    Interrupt(bool),
    Metric(bool, Counter, Number),
    Update(bool, Number),
    Transfer(bool),
    Save(bool, Counter, Number),
    LoadBest(bool),
    LoadStep(bool, Counter),
    EraseAhead(bool, Counter),
    EraseAll(bool),
    PowerFailure(u8, u8),
    PowerOn,
    OpenMemory(bool, u8, u8, u8),
}

/// An object in C, and whether its init function has succeeded.
struct Object<T> {
    /// Memory that only this object frees. The engines keep copies of the pointer.
    memory: *mut T,
    is_initialized: bool,
    /// Whether one of the engines has a pointer to the object.
    is_attached: [bool; 2],
}

impl<T> Object<T> {
    fn new() -> Self {
        // The objects are arrays of integers, so every pattern of bytes is valid.
        let memory = Box::new(unsafe { MaybeUninit::<T>::zeroed().assume_init() });
        Object { memory: Box::into_raw(memory), is_initialized: false, is_attached: [false; 2] }
    }

    fn pointer(&self) -> *mut T {
        self.memory
    }

    fn fill(&mut self, byte: u8) {
        if self.is_attached == [false; 2] {
            unsafe { self.pointer().write_bytes(byte, 1) };
            self.is_initialized = false;
        }
    }

    /// Checks that exactly the calls for objects without a successful init function are refused.
    #[track_caller]
    fn check(&self, status: tm_status) -> tm_status {
        assert_eq!(status == TM_ERROR_NOT_INITIALIZED, !self.is_initialized, "{status:?}");
        assert_ne!(status, TM_ERROR_BUSY);
        status
    }
}

impl<T> Drop for Object<T> {
    fn drop(&mut self) {
        drop(unsafe { Box::from_raw(self.memory) });
    }
}

unsafe extern "C" fn read(context: *mut c_void, address: u32, bytes: *mut u8, len: usize) -> c_int {
    let (chip, bytes) = unsafe { (&mut *context.cast::<Chip>(), std::slice::from_raw_parts_mut(bytes, len)) };
    chip.read(address, bytes).is_err().into()
}

unsafe extern "C" fn program(context: *mut c_void, address: u32, bytes: *const u8, len: usize) -> c_int {
    let (chip, bytes) = unsafe { (&mut *context.cast::<Chip>(), std::slice::from_raw_parts(bytes, len)) };
    chip.program(address, bytes).is_err().into()
}

unsafe extern "C" fn erase(context: *mut c_void, address: u32, len: u32) -> c_int {
    let chip = unsafe { &mut *context.cast::<Chip>() };
    chip.erase(address, address + len).is_err().into()
}

unsafe extern "C" fn write(context: *mut c_void, address: u32, bytes: *const u8, len: usize) -> c_int {
    let (chip, bytes) = unsafe { (&mut *context.cast::<Chip>(), std::slice::from_raw_parts(bytes, len)) };
    chip.overwrite(address, bytes).is_err().into()
}

/// All memory of the C program.
struct Program {
    engines: [Object<tm_engine>; 2],
    stoppings: [Object<tm_early_stopping>; 2],
    guards: [Object<tm_nan_guard>; 2],
    checkpoints: [Object<tm_checkpoint>; 2],
    chip: *mut Chip,
    /// A byte-addressable memory. It has its own regions.
    memory: *mut Chip,
    /// The descriptions of the memory that objects use. An attached object keeps using its description, so the vector never
    /// grows beyond its capacity.
    descriptions: Vec<tm_memory>,
    weights: *mut [f32; 8],
    model: tm_model,
}

/// The fuzz target for the C interface.
pub fn c_calls(data: &[u8]) {
    let Some(input) = decode::<Input>(data) else { return };
    let mut chip = Chip::new(4, BLOCK as usize, 1, vec![0xA5; 2 * REGION as usize], 0xFF);
    let mut memory = Chip::byte_addressable(16, vec![0xA5; 2 * REGION as usize]);
    let mut weights = [0.0_f32; 8];
    let weights = from_mut(&mut weights);
    let tensor =
        tm_tensor { name: c"weights".as_ptr(), data: weights.cast(), shape: [8, 0, 0, 0, 0, 0], rank: 1, kind: TM_F32 };
    let object = tm_object {
        name: c"model".as_ptr(),
        tensors: &tensor,
        tensor_count: 1,
        is_guarded: 1,
        number: null_mut(),
        average_of: null(),
    };
    let (chip, memory) = (from_mut(&mut chip), from_mut(&mut memory));
    let mut program = Program {
        engines: [Object::new(), Object::new()],
        stoppings: [Object::new(), Object::new()],
        guards: [Object::new(), Object::new()],
        checkpoints: [Object::new(), Object::new()],
        chip,
        memory,
        descriptions: Vec::with_capacity(input.operations.len()),
        weights,
        model: tm_model { objects: &object, object_count: 1 },
    };
    for operation in input.operations {
        unsafe { program.perform(operation) };
        assert_eq!(unsafe { &*chip }.violations(), []);
    }
}

impl Program {
    /// Performs one call, and checks its status.
    unsafe fn perform(&mut self, operation: Operation) {
        let Program { engines, stoppings, guards, checkpoints, chip, memory, descriptions, weights, model } = self;
        unsafe {
            match operation {
                Operation::InitEngine(which, epochs, length) => {
                    let engine = &mut engines[usize::from(which)];
                    let config = tm_engine_config {
                        max_epochs: u32::from(epochs % 4),
                        epoch_length: u32::from(length % 4),
                        model: *model,
                    };
                    assert_eq!(tm_engine_init(engine.pointer(), &config), TM_OK);
                    engine.is_initialized = true;
                    // A new engine has no handlers.
                    let which = usize::from(which);
                    stoppings.iter_mut().for_each(|object| object.is_attached[which] = false);
                    guards.iter_mut().for_each(|object| object.is_attached[which] = false);
                    checkpoints.iter_mut().for_each(|object| object.is_attached[which] = false);
                }
                Operation::InitStopping(which, patience, mode) => {
                    let object = &mut stoppings[usize::from(which)];
                    let config = tm_early_stopping_config {
                        patience: u32::from(patience % 4),
                        mode: mode % 3,
                        events: TM_ITERATION_COMPLETED,
                        ..MaybeUninit::zeroed().assume_init()
                    };
                    let status = tm_early_stopping_init(object.pointer(), &config);
                    let is_valid = patience % 4 > 0 && mode % 3 < 2;
                    assert_eq!(status, if is_valid { TM_OK } else { TM_ERROR_SETTING });
                    object.is_initialized = is_valid;
                }
                Operation::InitGuard(which, period) => {
                    let object = &mut guards[usize::from(which)];
                    let config = tm_guard_config { period: period.into(), events: TM_ITERATION_COMPLETED, every: 0 };
                    assert_eq!(tm_nan_guard_init(object.pointer(), &config), TM_OK);
                    object.is_initialized = true;
                }
                Operation::OpenCheckpoint(which, n_saved, interval, slots) => {
                    let object = &mut checkpoints[usize::from(which)];
                    let (n_saved, slots) = (u32::from(n_saved % 4), u32::from(slots % 5));
                    let config = tm_checkpoint_config {
                        n_saved,
                        interval: u32::from(interval % 3),
                        on_error: interval / 3 % 3,
                        events: TM_ITERATION_COMPLETED | TM_INTERRUPT,
                        ..MaybeUninit::zeroed().assume_init()
                    };
                    let flash = tm_flash {
                        context: chip.cast(),
                        read: Some(read),
                        program: Some(program),
                        erase: Some(erase),
                        start: u32::from(which) * REGION,
                        size: slots * BLOCK,
                        slots,
                        erase_size: BLOCK,
                        write_size: 4,
                        read_size: 1,
                    };
                    let status = tm_checkpoint_open_flash(object.pointer(), &config, &flash);
                    if status == TM_ERROR_OTHER_LAYOUT && !(**chip).is_off() {
                        let erased = tm_checkpoint_erase_flash(&flash);
                        assert_eq!(erased, if (**chip).is_off() { TM_ERROR_DEVICE } else { TM_OK });
                    }
                    assert!(
                        status != TM_OK || n_saved > 0 && slots > n_saved,
                        "{n_saved} checkpoints in {slots} slots"
                    );
                    object.is_initialized = status == TM_OK;
                }
                Operation::Fill(which, byte) => {
                    let which = usize::from(which);
                    stoppings[which].fill(byte);
                    guards[which].fill(byte);
                    checkpoints[which].fill(byte);
                    // No other object has a pointer to an engine.
                    engines[which].fill(byte);
                    if !engines[which].is_initialized {
                        stoppings.iter_mut().for_each(|object| object.is_attached[which] = false);
                        guards.iter_mut().for_each(|object| object.is_attached[which] = false);
                        checkpoints.iter_mut().for_each(|object| object.is_attached[which] = false);
                    }
                }
                Operation::AttachStopping(engine, which) => {
                    let object = &mut stoppings[usize::from(which)];
                    let pointer = object.pointer();
                    let status = tm_engine_attach_early_stopping(engines[usize::from(engine)].pointer(), pointer);
                    object.is_attached[usize::from(engine)] |= status == TM_OK;
                }
                Operation::AttachGuard(engine, which) => {
                    let object = &mut guards[usize::from(which)];
                    let pointer = object.pointer();
                    let status = tm_engine_attach_nan_guard(engines[usize::from(engine)].pointer(), pointer);
                    object.is_attached[usize::from(engine)] |= status == TM_OK;
                }
                Operation::AttachCheckpoint(engine, which) => {
                    let object = &mut checkpoints[usize::from(which)];
                    let pointer = object.pointer();
                    let status = tm_engine_attach_checkpoint(engines[usize::from(engine)].pointer(), pointer);
                    object.is_attached[usize::from(engine)] |= status == TM_OK;
                }
                Operation::Begin(which) => {
                    let engine = &mut engines[usize::from(which)];
                    let before = tm_engine_iteration(engine.pointer());
                    let status = engine.check(tm_engine_begin_iteration(engine.pointer()));
                    let after = tm_engine_iteration(engine.pointer());
                    assert!(status != TM_OK || after == before + 1 || after == before, "{before} {after}");
                    **weights = [after as f32; 8];
                }
                Operation::End(which, Number(output)) => {
                    let engine = &mut engines[usize::from(which)];
                    let status = engine.check(tm_engine_end_iteration(engine.pointer(), output));
                    assert!(status as i32 >= 0 || status == TM_ERROR_NOT_INITIALIZED);
                    let mut outcome = MaybeUninit::zeroed().assume_init();
                    if tm_engine_outcome(engine.pointer(), &mut outcome) == TM_OK {
                        assert_eq!(outcome.iteration, tm_engine_iteration(engine.pointer()));
                    }
                }
                Operation::EndData(which) => {
                    let engine = &mut engines[usize::from(which)];
                    engine.check(tm_engine_end_data(engine.pointer()));
                }
                Operation::Resume(which) => {
                    let engine = &mut engines[usize::from(which)];
                    let mut resumed: tm_resumed = MaybeUninit::zeroed().assume_init();
                    let status = engine.check(tm_engine_resume(engine.pointer(), &mut resumed));
                    if status == TM_OK {
                        assert_eq!(tm_engine_iteration(engine.pointer()), resumed.iteration);
                    }
                }
                Operation::Restart(which) => {
                    let engine = &mut engines[usize::from(which)];
                    engine.check(tm_engine_restart(engine.pointer()));
                }
                Operation::Terminate(which, Counter(reason)) => {
                    let engine = &mut engines[usize::from(which)];
                    let is_valid = (TM_REASON_USER..TM_REASON_USER + 256).contains(&reason);
                    let status = engine.check(tm_engine_terminate(engine.pointer(), reason));
                    assert!(!engine.is_initialized || (status == TM_OK) == is_valid);
                }
                Operation::TerminateEpoch(which) => {
                    let engine = &mut engines[usize::from(which)];
                    engine.check(tm_engine_terminate_epoch(engine.pointer()));
                }
                Operation::Interrupt(which) => {
                    let engine = &mut engines[usize::from(which)];
                    engine.check(tm_engine_interrupt(engine.pointer()));
                }
                Operation::Metric(which, Counter(index), Number(value)) => {
                    let engine = &mut engines[usize::from(which)];
                    let status = engine.check(tm_engine_set_metric(engine.pointer(), index, value));
                    assert!(!engine.is_initialized || (status == TM_OK) == (index < TM_METRICS as u32));
                }
                Operation::Update(which, Number(score)) => {
                    let object = &mut stoppings[usize::from(which)];
                    object.check(tm_early_stopping_update(object.pointer(), score));
                    let object = &mut guards[usize::from(which)];
                    object.check(tm_nan_guard_update(object.pointer(), &score, 1));
                }
                Operation::Transfer(which) => {
                    let (mut bytes, mut len) = ([0; TM_MAX_STATE], 0);
                    let object = &mut stoppings[usize::from(which)];
                    let counter = tm_early_stopping_counter(object.pointer());
                    let status = tm_early_stopping_save(object.pointer(), bytes.as_mut_ptr(), bytes.len(), &mut len);
                    if object.check(status) == TM_OK {
                        let other = &mut stoppings[usize::from(!which)];
                        let status = other.check(tm_early_stopping_load(other.pointer(), bytes.as_ptr(), len));
                        if status == TM_OK {
                            assert_eq!(tm_early_stopping_counter(other.pointer()), counter);
                        }
                    }
                }
                Operation::Save(which, Counter(step), Number(score)) => {
                    let object = &mut checkpoints[usize::from(which)];
                    **weights = [step as f32; 8];
                    let status = object.check(tm_checkpoint_save(object.pointer(), model, step, score, step));
                    let mut best: tm_decision = MaybeUninit::zeroed().assume_init();
                    if status == TM_OK
                        && !(**chip).is_off()
                        && !(**memory).is_off()
                        && tm_checkpoint_best(object.pointer(), &mut best) == TM_OK
                    {
                        let mut loaded = MaybeUninit::zeroed().assume_init();
                        // The best checkpoint can be loaded after each successful save.
                        let status = tm_checkpoint_load_best(object.pointer(), model, &mut loaded);
                        assert!(status == TM_OK && loaded.step == best.step, "{status:?} {best:?} {loaded:?}");
                    }
                }
                Operation::LoadBest(which) => {
                    let object = &mut checkpoints[usize::from(which)];
                    let mut loaded = MaybeUninit::zeroed().assume_init();
                    object.check(tm_checkpoint_load_best(object.pointer(), model, &mut loaded));
                }
                Operation::LoadStep(which, Counter(step)) => {
                    let object = &mut checkpoints[usize::from(which)];
                    let mut loaded: tm_loaded = MaybeUninit::zeroed().assume_init();
                    let status = object.check(tm_checkpoint_load_step(object.pointer(), model, step, &mut loaded));
                    assert!(status != TM_OK || loaded.step == step);
                }
                Operation::EraseAhead(which, Counter(len)) => {
                    let object = &mut checkpoints[usize::from(which)];
                    object.check(tm_checkpoint_erase_ahead(object.pointer(), len));
                }
                Operation::EraseAll(which) => {
                    let object = &mut checkpoints[usize::from(which)];
                    if object.check(tm_checkpoint_erase_all(object.pointer())) == TM_OK {
                        let mut best = MaybeUninit::zeroed().assume_init();
                        assert_eq!(tm_checkpoint_best(object.pointer(), &mut best), TM_NONE);
                    }
                }
                Operation::PowerFailure(operation, interruption) => {
                    let all = [Interruption::Nothing, Interruption::Whole, Interruption::Garbage, Interruption::Bits];
                    let interruption = all[usize::from(interruption) % all.len()];
                    for chip in [*chip, *memory] {
                        (*chip).cut_power_at(u64::from(operation % 64), interruption, u64::from(operation));
                    }
                }
                Operation::PowerOn => {
                    (**chip).power_on();
                    (**memory).power_on();
                }
                Operation::OpenMemory(which, n_saved, slots, page) => {
                    let object = &mut checkpoints[usize::from(which)];
                    let (n_saved, slots) = (u32::from(n_saved % 4), u32::from(slots % 5));
                    let config = tm_checkpoint_config {
                        n_saved,
                        events: TM_ITERATION_COMPLETED | TM_INTERRUPT,
                        ..MaybeUninit::zeroed().assume_init()
                    };
                    descriptions.push(tm_memory {
                        context: memory.cast(),
                        read: Some(read),
                        write: Some(write),
                        start: u32::from(which) * REGION,
                        size: slots * if page & 0x80 == 0 { BLOCK } else { BLOCK / 2 },
                        slots,
                        // 16 is the size in the simulation. A larger one is safe, too.
                        page_size: [16, 32, 64, 128, 256, 0, 24, 512][usize::from(page % 8)],
                    });
                    let Some(memory_of_object) = descriptions.last() else { return };
                    let status = tm_checkpoint_open_memory(object.pointer(), &config, memory_of_object);
                    if status == TM_ERROR_OTHER_LAYOUT && !(**memory).is_off() {
                        let erased = tm_checkpoint_erase_memory(memory_of_object);
                        assert_eq!(erased, if (**memory).is_off() { TM_ERROR_DEVICE } else { TM_OK });
                    }
                    let is_valid = n_saved > 0 && slots > n_saved && page % 8 < 5;
                    assert!(status != TM_OK || is_valid, "{n_saved} checkpoints in {slots} slots, page {page}");
                    object.is_initialized = status == TM_OK;
                }
            }
        }
    }
}
