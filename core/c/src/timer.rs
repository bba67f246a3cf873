//! Time: `tm_timer` measures steps and runs, `tm_time_limit` ends a run when its time is used up.

use crate::object::{get, init_handler, opaque, read, view};
use crate::run::{Mask, Rule, TM_COMPLETED, TM_INTERRUPT, TM_STARTED, rule};
use crate::state::{load, save};
use crate::status::{status, tm_status};
use core::ffi::c_void;
use training_monitor::handlers::time_limit::TimeLimitHandler;
use training_monitor::handlers::timer::TimerHandler;
use training_monitor::time::Clock;
use training_monitor::{TimeLimit, Timer};

/// A clock of the program. A timer or a limit that is attached to an engine needs one, and so does the
/// save of its state. Without a function, the tick is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tm_clock {
    /// Returns the current tick. Ticks never decrease. The function must not call this library.
    pub now: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    /// Is passed to `now`.
    pub context: *mut c_void,
}

impl Clock for tm_clock {
    fn now(&mut self) -> u64 {
        // SAFETY: the program promises that the function can be called with this context.
        self.now.map_or(0, |now| unsafe { now(self.context) })
    }
}

/// The size of tm_timer, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_TIMER_WORDS: usize = 8;
/// The size of tm_timer, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_TIMER_WORDS: usize = 9;

/// Measures the time of a run or of its steps. The program must not access the fields.
#[repr(C)]
pub struct tm_timer {
    words: [u64; TM_TIMER_WORDS],
}

pub(crate) type TimedHandler = TimerHandler<tm_clock, Mask, Mask, Mask, Mask>;
opaque!(tm_timer, b"tmTI", TimedHandler);

/// The settings of tm_timer. 0 in every field is useful: an average timer without events.
#[repr(C)]
pub struct tm_timer_config {
    /// Whether tm_timer_value returns the total instead of the average of a step: 0 or 1.
    pub is_total: u8,
    /// With an engine: the clock.
    pub clock: tm_clock,
    /// With an engine: the events that set the timer to zero and start it.
    pub start: u32,
    /// With an engine: the events that pause the timer.
    pub pause: u32,
    /// With an engine: the events that let the timer continue.
    pub resume: u32,
    /// With an engine: the events that count a step.
    pub step: u32,
}

/// Initializes a timer, which runs from the tick `now`.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_init(timer: *mut tm_timer, config: *const tm_timer_config, now: u64) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let created = unsafe { read(config) }.map(|config| {
        let mut timer = Timer::new(now);
        if config.is_total != 0 {
            timer = timer.without_average();
        }
        let handler = timer.attach(config.clock).start(Mask(config.start)).pause(Mask(config.pause));
        let events = config.start | config.pause | config.resume | config.step;
        (handler.resume(Mask(config.resume)).step(Mask(config.step)), events)
    });
    // SAFETY: as above.
    unsafe { init_handler(timer, created) }
}

/// Sets total and steps to zero and starts the timer at the tick `now`.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_reset(timer: *mut tm_timer, now: u64) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(timer) }.map(|handler| handler.timer.reset(now)))
}

/// Pauses the timer. Has no effect if it is paused.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_pause(timer: *mut tm_timer, now: u64) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(timer) }.map(|handler| handler.timer.pause(now)))
}

/// Lets a paused timer continue. Has no effect if it is running.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_resume(timer: *mut tm_timer, now: u64) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(timer) }.map(|handler| handler.timer.resume(now)))
}

/// Counts a step.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_step(timer: *mut tm_timer) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(timer) }.map(|handler| handler.timer.step()))
}

/// Returns the ticks of all completed intervals, or 0 for an object that is not initialized.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_total(timer: *const tm_timer) -> u64 {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { view(timer) }.map_or(0, |handler| handler.timer.total())
}

/// Returns the ticks until `now`, divided by the number of steps (Ignite's value), or 0 for an object that is not
/// initialized.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_value(timer: *const tm_timer, now: u64) -> u64 {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { view(timer) }.map_or(0, |handler| handler.timer.value(now))
}

/// Returns the number of steps, or 0 for an object that is not initialized.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_steps(timer: *const tm_timer) -> u32 {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { view(timer) }.map_or(0, |handler| handler.timer.step_count())
}

/// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. A running timer reads its clock.
/// Errors: TM_ERROR_BUFFER if `capacity` is too small.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_save(
    timer: *mut tm_timer,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { save(get(timer), bytes, capacity, len) }
}

/// Restores a state that tm_timer_save has written. A running timer reads its clock. Errors: TM_ERROR_STATE if the bytes are
/// no such state.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_timer_load(timer: *mut tm_timer, bytes: *const u8, len: usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { load(get(timer), bytes, len) }
}

/// The size of tm_time_limit, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_TIME_LIMIT_WORDS: usize = 9;
/// The size of tm_time_limit, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_TIME_LIMIT_WORDS: usize = 10;

/// Ends a run when its training time is used up, also if it is interrupted in between. The program must not access the
/// fields.
#[repr(C)]
pub struct tm_time_limit {
    words: [u64; TM_TIME_LIMIT_WORDS],
}

pub(crate) type LimitHandler = TimeLimitHandler<Rule, tm_clock>;
opaque!(tm_time_limit, b"tmTL", LimitHandler);

/// The settings of tm_time_limit.
#[repr(C)]
pub struct tm_time_limit_config {
    /// The run stops when more than this number of ticks has elapsed; at least 1.
    pub limit: u64,
    /// With an engine: the clock.
    pub clock: tm_clock,
    /// With an engine: the events at which the time is checked.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
}

/// Initializes a time limit. Errors: TM_ERROR_SETTING if the limit is 0.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_time_limit_init(
    limit: *mut tm_time_limit,
    config: *const tm_time_limit_config,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let created = unsafe { read(config) }.and_then(|config| {
        let events = config.events | TM_STARTED | TM_COMPLETED | TM_INTERRUPT;
        Ok((TimeLimit::new(config.limit)?.attach(rule(config.events, config.every), config.clock), events))
    });
    // SAFETY: as above.
    unsafe { init_handler(limit, created) }
}

/// Starts the measurement at the tick `now`, with an elapsed time of 0.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_time_limit_start(limit: *mut tm_time_limit, now: u64) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(limit) }.map(|handler| handler.time_limit.start(now)))
}

/// Adds the time until the tick `now`. Returns TM_STOP if the time is used up, otherwise TM_OK.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_time_limit_update(limit: *mut tm_time_limit, now: u64) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    match unsafe { get(limit) }.map(|handler| handler.time_limit.update(now)) {
        Ok(true) => tm_status::TM_STOP,
        result => status(result.map(|_| ())),
    }
}

/// Returns the elapsed ticks, or 0 for an object that is not initialized.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_time_limit_elapsed(limit: *const tm_time_limit) -> u64 {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { view(limit) }.map_or(0, |handler| handler.time_limit.elapsed())
}

/// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. A running limit reads its clock.
/// Errors: TM_ERROR_BUFFER if `capacity` is too small.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_time_limit_save(
    limit: *mut tm_time_limit,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { save(get(limit), bytes, capacity, len) }
}

/// Restores a state that tm_time_limit_save has written. A running limit reads its clock. Errors: TM_ERROR_STATE if the bytes are
/// no such state.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_time_limit_load(limit: *mut tm_time_limit, bytes: *const u8, len: usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { load(get(limit), bytes, len) }
}
