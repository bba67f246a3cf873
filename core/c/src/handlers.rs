//! The handlers of an engine: objects of the program, which the engine calls for their events.

use crate::model::Model;
use crate::run::{DynHandler, Metrics, RunState, bit};
use crate::status::{Result, tm_status};
use training_monitor::checkpoint::EncodeError;
use training_monitor::embedded_io::ErrorKind;
use training_monitor::handler::{StartCheck, Wear};
use training_monitor::run_record::{HandlerStates, RestoreError, ResumePoint, RunRecord};
use training_monitor::{Event, Handler};

/// The largest number of handlers of an engine.
pub const TM_MAX_HANDLERS: usize = 10;

/// A handler and the events for which it is called.
#[derive(Clone, Copy)]
struct Entry {
    events: u32,
    handler: *mut DynHandler,
}

/// The attached handlers, in the order in which they were attached.
pub(crate) struct Handlers {
    entries: [Option<Entry>; TM_MAX_HANDLERS],
    /// The events of all handlers together.
    events: u32,
}

impl Handlers {
    pub const NONE: Handlers = Handlers { entries: [None; TM_MAX_HANDLERS], events: 0 };

    /// Attaches a handler. The pointer must be valid as long as the engine is used.
    pub fn attach(&mut self, handler: *mut DynHandler, events: u32) -> Result {
        for entry in &mut self.entries {
            match entry {
                Some(entry) if core::ptr::addr_eq(entry.handler, handler) => break,
                Some(_) => (),
                None => {
                    *entry = Some(Entry { events, handler });
                    self.events |= events;
                    return Ok(());
                }
            }
        }
        Err(tm_status::TM_ERROR_HANDLERS)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut DynHandler> {
        // SAFETY: the program promises that the attached objects exist and that nothing else uses them during a call of the
        // engine. No object is attached twice, so the references do not overlap.
        self.entries.iter().map_while(|entry| *entry).map(|entry| unsafe { &mut *entry.handler })
    }

    #[inline(never)] // One copy of the code for all events.
    fn dispatch(&mut self, event: Event, bit: u32, model: &mut Model, state: &mut RunState) {
        for entry in self.entries.iter().map_while(|entry| *entry) {
            if entry.events & bit != 0 {
                // SAFETY: as in `each`.
                unsafe { &mut *entry.handler }.on_event(event, model, state);
            }
        }
    }
}

impl Handler<Model, f32, Metrics> for Handlers {
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut Model, state: &mut RunState) {
        let bit = bit(event);
        if self.events & bit != 0 {
            self.dispatch(event, bit, model, state);
        }
    }
    fn persist(&mut self, run: &mut RunState, states: &mut HandlerStates<'_>) {
        self.each().for_each(|handler| handler.persist(run, states));
    }
    fn check_start(&mut self, model: &mut Model, start: &mut StartCheck) {
        self.each().for_each(|handler| handler.check_start(model, start));
    }
    fn perform(&mut self, model: &mut Model, state: &mut RunState, record: &RunRecord<[u8]>) -> bool {
        self.each().fold(false, |saved, handler| handler.perform(model, state, record) | saved)
    }
    fn finish(&mut self, model: &mut Model) {
        self.each().for_each(|handler| handler.finish(model));
    }
    fn save_error(&self) -> Option<EncodeError<ErrorKind>> {
        let entries = self.entries.iter().map_while(|entry| *entry);
        // SAFETY: as in `each`.
        entries.map(|entry| unsafe { &*entry.handler }).find_map(|handler| handler.save_error())
    }
    fn newest_checkpoint(
        &mut self,
        below: Option<ResumePoint>,
    ) -> core::result::Result<Option<ResumePoint>, RestoreError> {
        self.each().try_fold(None, |newest, handler| Ok(handler.newest_checkpoint(below)?.max(newest)))
    }
    fn damaged_checkpoints(&mut self) -> u32 {
        self.each().fold(0, |damaged, handler| handler.damaged_checkpoints().saturating_add(damaged))
    }
    fn wear(&mut self) -> Wear {
        self.each().fold(Wear::default(), |sum, handler| {
            let wear = handler.wear();
            Wear {
                erases: sum.erases.saturating_add(wear.erases),
                interrupted: sum.interrupted.saturating_add(wear.interrupted),
            }
        })
    }
    fn verify_checkpoint(
        &mut self,
        point: ResumePoint,
        model: &mut Model,
        record: &mut RunRecord<[u8]>,
    ) -> core::result::Result<bool, RestoreError> {
        self.each().try_fold(false, |found, handler| Ok(found || handler.verify_checkpoint(point, model, record)?))
    }
    fn load_checkpoint(&mut self, point: ResumePoint, model: &mut Model) -> core::result::Result<bool, RestoreError> {
        self.each().try_fold(false, |loaded, handler| Ok(loaded || handler.load_checkpoint(point, model)?))
    }
}
