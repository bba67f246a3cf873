//! A [`Saving`] as a handler: decides when its event fires, saves when all handlers have seen it, and finds and loads the
//! checkpoint that a run goes on from.

use super::streams::read;
use super::{Observer, OnError, Report, Save, Saving, ScoreFunction, Written};
use crate::checkpoint::Objects;
use crate::event::{Event, When};
use crate::handler::Handler;
use crate::record::{Record, RecordReader, RecordWriter, kind};
use crate::state::{State, StopReason};
use crate::store::{Store, Stored};

impl<T, O, X, const N: usize, W, S, F, B> Handler<T, O, X> for Saving<N, W, S, F, B>
where
    T: Objects + ?Sized,
    W: When,
    S: Store,
    F: ScoreFunction<State<O, X>>,
    B: Observer<S::Error>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if !self.when.fires(event, state.counters()) {
            return;
        }
        let score = self.machine.score_function.score(state);
        let save = self.machine.update_at(state.counters(), score);
        let rested = |last: u32| state.iteration().wrapping_sub(last) >= self.min_interval;
        if let Some(save) = save.filter(|_| self.last_saved.is_none_or(rested)) {
            self.pending = Some(save);
            // A checkpoint of the same numbers is of another run, or of what this one was before it went back to an older one.
            self.written = Written::Nothing;
            state.request_act();
        }
    }

    #[inline]
    fn pending(&self) -> bool {
        self.pending.is_some()
    }

    fn act(&mut self, model: &mut T, state: &mut State<O, X>, record: &Record) -> bool {
        let Some(save) = self.pending.take() else { return false };
        match self.written {
            Written::Nothing => (),
            Written::Loose => self.sequence = self.sequence.wrapping_sub(1),
            Written::Firm => return false,
        }
        self.written = Written::Nothing;
        let saved = self.save_pending(save, state.iteration(), record, model);
        if !saved && self.machine.settings.on_error == OnError::Stop {
            state.terminate(StopReason::SaveFailed);
        }
        saved
    }

    // The ranking is rebuilt from the medium.
    fn save_state(&mut self, _: &State<O, X>, record: &mut RecordWriter<'_>) {
        save_state(self.machine.calls(), self.pending, record);
    }

    fn restore_state(&mut self, state: &mut State<O, X>, record: &mut RecordReader<'_>) {
        if let Some((calls, pending)) = restore_state(record) {
            self.machine.set_calls(calls);
            self.pending = pending;
            self.written = self.written(pending, state.iteration());
            // What had to go when the power went: no later save may come to remove it.
            self.sweep();
        }
    }

    fn newest(&mut self, below: Option<u32>) -> Option<u32> {
        self.newest_before(below).map(|stored| stored.iteration)
    }

    fn verify(&mut self, iteration: u32, model: &mut T, record: &mut Record) -> bool {
        let Some(Stored { step, .. }) = self.at_iteration(iteration) else { return false };
        match read(&mut self.store, step, model, Some(record), false) {
            Ok(info) => info.run,
            Err(error) => {
                self.observer.observe(&Report::LoadFailed { step, error: &error });
                false
            }
        }
    }

    fn load(&mut self, iteration: u32, model: &mut T) -> bool {
        let stored = self.at_iteration(iteration);
        let loaded = stored.is_some_and(|stored| read(&mut self.store, stored.step, model, None, true).is_ok());
        if loaded {
            // Later ones are not of this run any more.
            self.last_saved = Some(iteration);
        }
        loaded
    }
}

impl<const N: usize, W, S: Store, F, B> Saving<N, W, S, F, B> {
    /// What of `pending`, decided at `iteration`, is on the medium.
    #[inline(never)] // Its copies of what is stored are not to be on the stack of those who ask.
    fn written(&mut self, pending: Option<Save>, iteration: u32) -> Written {
        match (pending, self.at_iteration(iteration)) {
            (Some(save), Some(found)) if save.step == found.step => {
                if self.store.is_firm(save.step) {
                    Written::Firm
                } else if found.sequence == self.sequence {
                    Written::Loose
                } else {
                    Written::Nothing
                }
            }
            _ => Written::Nothing,
        }
    }
}

fn save_state(calls: u32, pending: Option<Save>, record: &mut RecordWriter<'_>) {
    record.fields(kind::MODEL_CHECKPOINT, |to| {
        to.number(calls.into());
        to.byte(u8::from(pending.is_some()));
        if let Some(save) = pending {
            to.number(save.step.into());
            to.score(save.score);
        }
    });
}

fn restore_state(record: &mut RecordReader<'_>) -> Option<(u32, Option<Save>)> {
    record.fields(kind::MODEL_CHECKPOINT, |from| {
        let calls = from.number()?;
        let pending = from.flag()?;
        Some((calls, if pending { Some(Save { step: from.number()?, score: from.score()? }) } else { None }))
    })
}
