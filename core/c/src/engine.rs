//! The engine for the loop of a C program: `tm_engine`.
//!
//! The program calls `tm_engine_begin_iteration` before each step and `tm_engine_end_iteration` after it. The engine fires
//! the same events as in Rust, calls the attached objects, and saves.

use crate::checkpoint::save_status;
use crate::handlers::Handlers;
use crate::model::{Model, tm_model};
use crate::object::{Header, InUse, Opaque, check, events, get, header, init, opaque, read, value, view};
use crate::outcome::{TM_REASON_USER, tm_outcome};
use crate::run::{DynHandler, Metrics, TM_METRICS};
use crate::status::{Result, give, status, tm_status};
use tm_status::*;
use training_monitor::engine::Phase;
use training_monitor::{Engine, RunError, StopReason};

/// The room for the states of all handlers in a checkpoint, in bytes.
pub const TM_RECORD_CAPACITY: usize = 192;

/// The size of tm_engine, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_ENGINE_WORDS: usize = 32;
/// The size of tm_engine, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_ENGINE_WORDS: usize = 49;

/// Fires the events of a training run and calls the attached objects. The program must not access the fields, and must not
/// move the engine or an attached object in memory.
#[repr(C)]
pub struct tm_engine {
    words: [u64; TM_ENGINE_WORDS],
}

/// The content of an engine.
pub(crate) struct Run {
    pub engine: Engine<f32, Metrics, TM_RECORD_CAPACITY>,
    pub model: Model,
    pub handlers: Handlers,
}

opaque!(tm_engine, b"tmEN", Run);

impl Run {
    /// Each epoch of a C program starts with the first batch of its data, as in Rust's `Engine::run` over the data of one
    /// epoch. Must be called whenever the length of the epoch can change, before the next iteration.
    pub fn set_data_length(&mut self) {
        self.engine.set_data_length(self.engine.engine_state().epoch_length);
    }
}

/// The settings of tm_engine.
#[repr(C)]
pub struct tm_engine_config {
    /// The maximum number of epochs.
    pub max_epochs: u32,
    /// The number of iterations per epoch. 0: unknown; the program calls tm_engine_end_data. Each epoch starts with the
    /// first batch of the data.
    pub epoch_length: u32,
    /// What a checkpoint contains. Its arrays must exist as long as the engine.
    pub model: tm_model,
}

/// Initializes an engine without handlers. Errors: TM_ERROR_MODEL, TM_ERROR_NULL or TM_ERROR_MISALIGNED if the model is not
/// valid.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_init(engine: *mut tm_engine, config: *const tm_engine_config) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let created = unsafe { read(config) }.and_then(|config| {
        // SAFETY: as above.
        let model = unsafe { Model::new(&config.model) }?;
        let engine = Engine::with_record_capacity(config.max_epochs, [0.0; TM_METRICS]);
        let engine = engine.with_epoch_length(config.epoch_length);
        let mut run = Run { engine, model, handlers: Handlers::NONE };
        run.set_data_length();
        Ok(run)
    });
    // SAFETY: as above.
    unsafe { init(engine, created) }
}

/// Attaches an object to an engine.
///
/// # Safety
/// Both pointers are null, or point to memory of their types that was written before. The object exists as long as the
/// engine.
pub(crate) unsafe fn attach<O: Opaque>(
    engine: *mut tm_engine,
    object: *mut O,
    convert: fn(*mut O::Value) -> *mut DynHandler,
) -> tm_status {
    // SAFETY: the caller makes the same promise.
    unsafe { attach_handler(engine, header(object), O::TAG, convert(value(object))) }
}

/// Attaches an object, of which the header and the handler are known.
///
/// # Safety
/// As for [`attach`].
#[inline(never)] // One copy of the code for all objects.
unsafe fn attach_handler(
    engine: *mut tm_engine,
    header: *const Header,
    tag: u32,
    handler: *mut DynHandler,
) -> tm_status {
    // SAFETY: the caller makes the promises of these functions.
    status(unsafe { get(engine) }.and_then(|run| {
        if run.engine.engine_state().phase != Phase::NotStarted {
            return Err(TM_ERROR_STARTED);
        }
        // SAFETY: as above.
        let events = unsafe { events(header, tag) }?;
        run.handlers.attach(handler, events)
    }))
}

/// A run that was resumed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct tm_resumed {
    /// The epoch of the checkpoint.
    pub epoch: u32,
    /// The iteration of the checkpoint. The run continues after it.
    pub iteration: u32,
    /// The number of newer checkpoints that could not be loaded.
    pub skipped: u32,
    /// Whether a handler has other settings than in the checkpoint: 0 or 1. The settings of the program apply.
    pub changed_settings: u8,
}

/// Loads the newest checkpoint of the attached tm_checkpoint objects into the model, and restores the engine and all
/// attached objects. Call it after all objects are attached, before the first iteration. Returns TM_NONE if there is no
/// checkpoint; the run then starts at its beginning.
///
/// Errors: TM_ERROR_NONE_LOADABLE: to start over, begin the run. TM_ERROR_OTHER_HANDLERS: to keep the weights only, call
/// tm_checkpoint_load_best and begin the run. TM_ERROR_DEVICE, TM_ERROR_STATE, TM_ERROR_RECORD, TM_ERROR_UNREADABLE. Only
/// after the last one, the model may have changed.
///
/// Reads the flash, and writes it if an interrupted save must be repeated. Do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_resume(engine: *mut tm_engine, resumed: *mut tm_resumed) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let result = check(resumed).and_then(|()| unsafe { InUse::new(engine) }).and_then(|(run, _in_use)| {
        let resumed = run.engine.resume(&mut run.model, &mut run.handlers)?;
        run.set_data_length();
        Ok(resumed.map(|resumed| tm_resumed {
            epoch: resumed.epoch,
            iteration: resumed.iteration,
            skipped: resumed.skipped,
            changed_settings: resumed.changed_settings.is_some().into(),
        }))
    });
    // SAFETY: as above.
    unsafe { give(result, resumed) }
}

/// Starts the next iteration: fires all events up to TM_ITERATION_STARTED. Returns TM_OK if the program should execute a
/// step, and TM_STOP if the run is over; tm_engine_outcome then gives the reason.
///
/// Errors: TM_ERROR_NOT_ENDED if tm_engine_end_iteration was not called. If no checkpoint can be saved, or a save has ended
/// the run, returns the error of the save.
///
/// May write the flash. Do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_begin_iteration(engine: *mut tm_engine) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let (run, _in_use) = match unsafe { InUse::new(engine) } {
        Ok(parts) => parts,
        Err(error) => return error,
    };
    match run.engine.begin_iteration(&mut run.model, &mut run.handlers) {
        Ok(true) => TM_OK,
        Ok(false) => TM_STOP,
        Err(RunError::IterationNotEnded) => TM_ERROR_NOT_ENDED,
        Err(RunError::Start(error) | RunError::SaveFailed(error)) => save_status(&error),
        Err(_) => TM_ERROR_OTHER,
    }
}

/// Ends an iteration, with the output of its step, usually the loss. Fires TM_ITERATION_COMPLETED. After the last iteration
/// of an epoch or of the run, also fires its final events. Returns TM_OK, or TM_STOP if the run is over.
///
/// May write the flash. Do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_end_iteration(engine: *mut tm_engine, output: f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let (run, _in_use) = match unsafe { InUse::new(engine) } {
        Ok(parts) => parts,
        Err(error) => return error,
    };
    if run.engine.end_iteration(output, &mut run.model, &mut run.handlers) { TM_OK } else { TM_STOP }
}

/// Ends the epoch, because the data has ended. The number of completed iterations becomes the length of all further epochs.
///
/// May write the flash. Do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_end_data(engine: *mut tm_engine) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { InUse::new(engine) }.map(|(run, _in_use)| {
        run.engine.end_data(&mut run.model, &mut run.handlers);
        run.set_data_length();
    }))
}

/// Sets a metric, which a score can use. `index` is less than TM_METRICS. The metrics start with 0.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_set_metric(engine: *mut tm_engine, index: u32, value: f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(engine) }.and_then(|run| {
        let metric = run.engine.state_mut().metrics.get_mut(index as usize);
        *metric.ok_or(TM_ERROR_SETTING)? = value;
        Ok(())
    }))
}

/// Terminates the run after the current step or event. `reason` is TM_REASON_USER + n, with n from 0 to 255.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_terminate(engine: *mut tm_engine, reason: u32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(engine) }.and_then(|run| {
        let number = reason.checked_sub(TM_REASON_USER).and_then(|number| u8::try_from(number).ok());
        run.engine.state_mut().terminate(StopReason::User(number.ok_or(TM_ERROR_SETTING)?));
        Ok(())
    }))
}

/// Terminates the epoch after the current step or event. Outside an epoch it has no effect.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_terminate_epoch(engine: *mut tm_engine) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(engine) }.map(|run| run.engine.state_mut().terminate_epoch()))
}

/// Interrupts the run after the current step, for example before the power is switched off. The event TM_INTERRUPT fires. The
/// next call of tm_engine_begin_iteration returns TM_STOP; another call continues the run.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_interrupt(engine: *mut tm_engine) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(engine) }.map(|run| run.engine.state_mut().interrupt()))
}

/// Prepares a finished engine for a new run. A run that has not ended is unchanged.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_restart(engine: *mut tm_engine) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(engine) }.map(|run| {
        run.engine.restart();
        run.set_data_length();
    }))
}

/// Changes the maximum number of epochs.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_set_max_epochs(engine: *mut tm_engine, max_epochs: u32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(engine) }.map(|run| run.engine.state_mut().set_max_epochs(max_epochs)))
}

/// Writes the reason and the place of the end of the run to `outcome`. Returns TM_NONE if the run has not ended. An interrupted
/// run has not ended.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_outcome(engine: *const tm_engine, outcome: *mut tm_outcome) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(engine).map(|run| run.engine.outcome().map(tm_outcome::from)), outcome) }
}

fn number(engine: Result<&Run>, read: fn(&Run) -> u32) -> u32 {
    engine.map_or(0, read)
}

/// Returns the number of the current epoch, starting at 1; 0 before the first one, or if the engine is not initialized.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_epoch(engine: *const tm_engine) -> u32 {
    // SAFETY: the caller keeps the rules of the interface.
    number(unsafe { view(engine) }, |run| run.engine.state().epoch())
}

/// Returns the number of the current iteration, starting at 1 and continuing over all epochs; 0 before the first one, or if
/// the engine is not initialized.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_iteration(engine: *const tm_engine) -> u32 {
    // SAFETY: the caller keeps the rules of the interface.
    number(unsafe { view(engine) }, |run| run.engine.state().iteration())
}

/// Returns the number of completed iterations of the epoch: during a step, the index of its batch, starting at 0.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_offset(engine: *const tm_engine) -> u32 {
    // SAFETY: the caller keeps the rules of the interface.
    number(unsafe { view(engine) }, |run| run.engine.state().offset())
}

/// Returns 1 if the current iteration is the last one of its epoch, otherwise 0. Before tm_engine_end_iteration of this
/// iteration, a program evaluates the model and sets its metrics.
///
/// One thread or interrupt at a time can use an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_is_last_in_epoch(engine: *const tm_engine) -> u32 {
    // SAFETY: the caller keeps the rules of the interface.
    number(unsafe { view(engine) }, |run| run.engine.state().is_last_in_epoch().into())
}
