//! Functions that attach an object to an engine. Each object has its own function, so that a program links only the code of
//! the objects that it attaches.
//!
//! Every function returns TM_ERROR_HANDLERS if the engine has TM_MAX_HANDLERS objects already or if the object is attached
//! already, and TM_ERROR_STARTED if the run has begun. The objects are called in the order in which they were attached. A
//! checkpoint contains their states in this order.

use crate::average::{tm_running_average, tm_weight_average};
use crate::callback::tm_callback;
use crate::checkpoint::tm_checkpoint;
use crate::early_stopping::tm_early_stopping;
use crate::engine::{attach, tm_engine};
use crate::finite::{tm_nan_guard, tm_weight_guard};
use crate::limits::tm_score_limits;
use crate::object::view;
use crate::schedule::tm_plateau;
use crate::status::tm_status;
use crate::timer::{tm_time_limit, tm_timer};

/// Calls early stopping at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_early_stopping(
    engine: *mut tm_engine,
    stopping: *mut tm_early_stopping,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, stopping, |handler| handler) }
}

/// Calls a timer at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_timer(engine: *mut tm_engine, timer: *mut tm_timer) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, timer, |handler| handler) }
}

/// Calls a time limit at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_time_limit(engine: *mut tm_engine, limit: *mut tm_time_limit) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, limit, |handler| handler) }
}

/// Calls a guard for outputs at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_nan_guard(engine: *mut tm_engine, guard: *mut tm_nan_guard) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, guard, |handler| handler) }
}

/// Calls a guard for weights at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_weight_guard(
    engine: *mut tm_engine,
    guard: *mut tm_weight_guard,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, guard, |handler| handler) }
}

/// Calls score limits at their events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_score_limits(
    engine: *mut tm_engine,
    limits: *mut tm_score_limits,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, limits, |handler| handler) }
}

/// Calls a running average at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_running_average(
    engine: *mut tm_engine,
    average: *mut tm_running_average,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, average, |handler| handler) }
}

/// Calls a weight average at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED,
/// TM_ERROR_MODEL if no object of the model has `average_of`, or if its tensors are not those of its weights.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_weight_average(
    engine: *mut tm_engine,
    average: *mut tm_weight_average,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let run = unsafe { view(average).and_then(|_| view(engine)) };
    match run.and_then(|run| run.model.check_averages()) {
        // SAFETY: as above.
        Ok(()) => unsafe { attach(engine, average, |handler| handler) },
        Err(error) => error,
    }
}

/// Calls a reduction at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_plateau(engine: *mut tm_engine, plateau: *mut tm_plateau) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, plateau, |handler| handler) }
}

/// Calls a checkpoint object at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_checkpoint(
    engine: *mut tm_engine,
    checkpoint: *mut tm_checkpoint,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, checkpoint, |handler| handler) }
}

/// Calls a function of the program at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
///
/// One thread or interrupt at a time can use an engine and its attached objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_engine_attach_callback(engine: *mut tm_engine, callback: *mut tm_callback) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { attach(engine, callback, |handler| handler) }
}
