//! Averages: `tm_running_average` of a number, and `tm_weight_average` of all weights.

use crate::model::Model;
use crate::object::{get, init_handler, opaque, read, slice_mut, view};
use crate::run::{Rule, RunState, Score, TM_EPOCH_STARTED, TM_STARTED, rule, score};
use crate::state::{load, save};
use crate::status::{Result, give, status, tm_status};
use training_monitor::handlers::running_average::RunningAverageHandler;
use training_monitor::handlers::weight_average::WeightAverageHandler;
use training_monitor::{RunningAverage, WeightAverage};

/// The size of tm_running_average, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_RUNNING_AVERAGE_WORDS: usize = 5;
/// The size of tm_running_average, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_RUNNING_AVERAGE_WORDS: usize = 6;

/// The exponential average of a number, for example of the loss. The program must not access the fields.
#[repr(C)]
pub struct tm_running_average {
    words: [u64; TM_RUNNING_AVERAGE_WORDS],
}

type Store = fn(&mut RunState, f32);
pub(crate) type AverageHandler = RunningAverageHandler<Rule, Score, Store>;
opaque!(tm_running_average, b"tmRA", AverageHandler);

/// The settings of tm_running_average.
#[repr(C)]
pub struct tm_running_average_config {
    /// The weight of the old average; greater than 0 and at most 1. Ignite's default is 0.98.
    pub alpha: f32,
    /// With an engine: whether the average begins anew with each epoch: 0 or 1.
    pub per_epoch: u8,
    /// With an engine: the events at which the average is updated.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
    /// With an engine: the number to average, for example TM_SCORE_OUTPUT.
    pub score: u32,
}

/// The program reads the average from the object.
fn keep(_: &mut RunState, _: f32) {}

fn create(config: &tm_running_average_config) -> Result<AverageHandler> {
    let mut average = RunningAverage::new(config.alpha)?;
    if config.per_epoch != 0 {
        average = average.per_epoch();
    }
    Ok(average.attach(rule(config.events, config.every), score(config.score)?, keep as Store))
}

/// Initializes a running average. Errors: TM_ERROR_SETTING if alpha is not in its range.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_running_average_init(
    average: *mut tm_running_average,
    config: *const tm_running_average_config,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe {
        init_handler(
            average,
            read(config).and_then(|config| Ok((create(config)?, config.events | TM_STARTED | TM_EPOCH_STARTED))),
        )
    }
}

/// Adds a value to the average. A NaN or an infinity does not change the average.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_running_average_update(average: *mut tm_running_average, value: f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(average) }.map(|handler| {
        handler.running_average.update(value);
    }))
}

/// Writes the average to `value`. Returns TM_NONE before the first finite value.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_running_average_value(average: *const tm_running_average, value: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(average).map(|handler| handler.running_average.value()), value) }
}

/// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
/// `capacity` is too small.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_running_average_save(
    average: *mut tm_running_average,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { save(get(average).map(|handler| &mut handler.running_average), bytes, capacity, len) }
}

/// Restores a state that tm_running_average_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_running_average_load(
    average: *mut tm_running_average,
    bytes: *const u8,
    len: usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { load(get(average).map(|handler| &mut handler.running_average), bytes, len) }
}

/// The size of tm_weight_average, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_WEIGHT_AVERAGE_WORDS: usize = 6;
/// The size of tm_weight_average, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_WEIGHT_AVERAGE_WORDS: usize = 7;

/// The exponential average of all weights of a model (Ignite's EMAHandler). The program provides the memory of the average.
/// The program must not access the fields.
///
/// With an engine, the averages are the objects of the model with `average_of`. They start as a copy of the weights when a run
/// starts. A checkpoint contains them, so a resumed run continues with the same averages.
#[repr(C)]
pub struct tm_weight_average {
    words: [u64; TM_WEIGHT_AVERAGE_WORDS],
}

type Averages = fn(&mut Model, &mut dyn FnMut(&mut [f32], &mut [f32]));
pub(crate) type WeightHandler = WeightAverageHandler<Rule, Averages>;
opaque!(tm_weight_average, b"tmWA", WeightHandler);

/// The settings of tm_weight_average.
#[repr(C)]
pub struct tm_weight_average_config {
    /// The weight of the new weights; between 0 and 1, both excluded. Ignite's default is 0.0002.
    pub momentum: f32,
    /// The momentum of the first update, if `warmup_updates` is not 0.
    pub first_momentum: f32,
    /// The number of updates in which the momentum changes from the first one to `momentum`; 0: no warm-up.
    pub warmup_updates: u32,
    /// With an engine: the events at which the averages are updated.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
}

/// Initializes a weight average. Errors: TM_ERROR_SETTING if a momentum is not in its range.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_average_init(
    average: *mut tm_weight_average,
    config: *const tm_weight_average_config,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let created = unsafe { read(config) }.and_then(|config| {
        let mut average = WeightAverage::exponential(config.momentum)?;
        if config.warmup_updates > 0 {
            average = average.with_warmup(config.first_momentum, config.warmup_updates)?;
        }
        let handler = average.attach(rule(config.events, config.every), Model::averages as Averages);
        Ok((handler, config.events | TM_STARTED))
    });
    // SAFETY: as above.
    unsafe { init_handler(average, created) }
}

/// Copies the weights to the average and sets the number of updates to 0. Both arrays have `len` elements and do not overlap.
/// Returns TM_STOP if a weight is NaN or infinite; nothing has changed then.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_average_start(
    average: *mut tm_weight_average,
    averaged: *mut f32,
    weights: *mut f32,
    len: usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { with_pair(average, averaged, weights, len, |object, pair| object.start(pair)) }
}

/// Adds the weights to the average. The first call copies them. Both arrays have `len` elements and do not overlap. Returns
/// TM_STOP if a weight is NaN or infinite; the average is then unchanged.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_average_update(
    average: *mut tm_weight_average,
    averaged: *mut f32,
    weights: *mut f32,
    len: usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { with_pair(average, averaged, weights, len, |object, pair| object.update(pair)) }
}

/// The pairs of averages and weights, as core expects them.
type Pairs<'a> = &'a mut dyn FnMut(&mut dyn FnMut(&mut [f32], &mut [f32]));

/// Calls `change` with the arrays of the caller. Returns TM_STOP if it returns false.
///
/// # Safety
/// The pointers are valid, and the arrays have `len` elements and do not overlap.
unsafe fn with_pair(
    average: *mut tm_weight_average,
    averaged: *mut f32,
    weights: *mut f32,
    len: usize,
    change: fn(&mut WeightAverage, Pairs<'_>) -> bool,
) -> tm_status {
    // SAFETY: the caller makes the same promise.
    let (object, averaged, weights) = unsafe { (get(average), slice_mut(averaged, len), slice_mut(weights, len)) };
    let changed = object.and_then(|object| {
        let (averaged, weights) = (averaged?, weights?);
        Ok(change(&mut object.weight_average, &mut |pair| pair(averaged, weights)))
    });
    match changed {
        Ok(false) => tm_status::TM_STOP,
        result => status(result.map(|_| ())),
    }
}

/// Exchanges the weights and their average, for example for an evaluation. Both arrays have `len` elements and do not
/// overlap.
///
/// One thread or interrupt at a time can use the arrays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_average_swap(averaged: *mut f32, weights: *mut f32, len: usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let (averaged, weights) = unsafe { (slice_mut(averaged, len), slice_mut(weights, len)) };
    status(averaged.and_then(|averaged| {
        let weights = weights?;
        WeightAverage::swap(|pair| pair(averaged, weights));
        Ok(())
    }))
}

/// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. The averaged weights are not part of
/// it; save them as an object of the model. Errors: TM_ERROR_BUFFER if `capacity` is too small.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_average_save(
    average: *mut tm_weight_average,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { save(get(average).map(|handler| &mut handler.weight_average), bytes, capacity, len) }
}

/// Restores a state that tm_weight_average_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_average_load(
    average: *mut tm_weight_average,
    bytes: *const u8,
    len: usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { load(get(average).map(|handler| &mut handler.weight_average), bytes, len) }
}
