//! A function of the program that an engine calls for its events: `tm_callback`.

use crate::model::Model;
use crate::object::{init_handler, opaque, read};
use crate::outcome::TM_REASON_USER;
use crate::run::{Metrics, RunState, bit};
use crate::status::tm_status;
use core::ffi::c_void;
use training_monitor::{Event, Handler, StopReason};

/// The run continues.
pub const TM_ACTION_CONTINUE: u32 = 0;
/// The epoch is terminated.
pub const TM_ACTION_TERMINATE_EPOCH: u32 = 1;
/// The run is interrupted.
pub const TM_ACTION_INTERRUPT: u32 = 2;

/// An event of a run.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct tm_event {
    /// For example TM_EPOCH_COMPLETED.
    pub event: u32,
    /// The number of the epoch, starting at 1.
    pub epoch: u32,
    /// The number of the iteration, starting at 1.
    pub iteration: u32,
    /// The output of the last step, or NaN if there is none.
    pub output: f32,
}

/// The settings of tm_callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tm_callback_config {
    /// The function. It returns TM_ACTION_CONTINUE, TM_ACTION_TERMINATE_EPOCH, TM_ACTION_INTERRUPT, or TM_REASON_USER + n to
    /// terminate the run with this reason. Functions for the engine return TM_ERROR_BUSY inside it.
    pub function: Option<unsafe extern "C" fn(context: *mut c_void, event: *const tm_event) -> u32>,
    /// Is passed to the function.
    pub context: *mut c_void,
    /// The events for which the function is called.
    pub events: u32,
}

/// The size of tm_callback, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_CALLBACK_WORDS: usize = 2;
/// The size of tm_callback, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_CALLBACK_WORDS: usize = 3;

/// Calls a function of the program for the events of a run. Use it to observe a run: a program that only needs the score or
/// the end of an epoch needs no callback. The program must not access the fields.
#[repr(C)]
pub struct tm_callback {
    words: [u64; TM_CALLBACK_WORDS],
}

opaque!(tm_callback, b"tmCB", Callback);

/// A function of the program.
pub(crate) struct Callback {
    function: unsafe extern "C" fn(*mut c_void, *const tm_event) -> u32,
    context: *mut c_void,
}

impl Handler<Model, f32, Metrics> for Callback {
    fn on_event(&mut self, event: Event, _: &mut Model, state: &mut RunState) {
        let event = tm_event {
            event: bit(event),
            epoch: state.epoch(),
            iteration: state.iteration(),
            output: state.output.unwrap_or(f32::NAN),
        };
        // SAFETY: the program promises that the function can be called with this context.
        match unsafe { (self.function)(self.context, &event) } {
            TM_ACTION_TERMINATE_EPOCH => state.terminate_epoch(),
            TM_ACTION_INTERRUPT => state.interrupt(),
            reason if reason >= TM_REASON_USER => state.terminate(StopReason::User(reason as u8)),
            _ => (),
        }
    }
}

/// Initializes a callback. Errors: TM_ERROR_NULL if there is no function.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_callback_init(callback: *mut tm_callback, config: *const tm_callback_config) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let created = unsafe { read(config) }.and_then(|config| {
        let function = config.function.ok_or(tm_status::TM_ERROR_NULL)?;
        Ok((Callback { function, context: config.context }, config.events))
    });
    // SAFETY: as above.
    unsafe { init_handler(callback, created) }
}
