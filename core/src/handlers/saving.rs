//! A [`ModelCheckpoint`] with a [`Store`]: what it decides is written, committed, and only then ranked.
//!
//! One save, in order: the objects are measured and scanned (an error here costs nothing), the store opens a place, the
//! encoder streams into it, the store commits, the ranking changes, and what has to go is removed. Whatever fails
//! before the commit leaves ranking and stored checkpoints as they were. What is stored and not ranked goes before the
//! next save and after each; a removal that fails is reported and so tried again.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, State, checkpoint::One, event::IterationCompleted, store::ram::Ram};
//!
//! let mut weights = [0.0_f32; 4];
//! let mut model = One("mymodel", &mut weights);
//! let mut checkpoint = ModelCheckpoint::<2>::builder().save_interval(2).n_saved(2).build()?
//!     .attach(IterationCompleted, Ram::<3, 256>::new())?;
//!
//! Engine::new(1).run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model.1[0] = batch as f32)?;
//! assert_eq!(checkpoint.machine().kept().iter().map(|e| e.step).collect::<Vec<_>>(), [4, 6]);
//!
//! // After a reset: a new engine goes on from what is in the store.
//! let mut store = checkpoint.into_store();
//! let mut checkpoint = ModelCheckpoint::<2>::builder().save_interval(2).n_saved(2).build()?
//!     .attach(IterationCompleted, &mut store)?;
//! let mut engine = Engine::new(2);
//! let resumed = engine.resume(&mut model, &mut checkpoint)?;
//! assert_eq!(resumed.map(|r| r.iteration), Some(6));
//! engine.run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model.1[0] = batch as f32)?;
//! assert_eq!(checkpoint.machine().kept().iter().map(|e| e.step).collect::<Vec<_>>(), [10, 12]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod handler;
mod report;
mod streams;

pub use report::{Observer, Report};

use super::model_checkpoint::{ModelCheckpoint, OnError, Save, ScoreFunction};
use crate::checkpoint::{self, Contents, DecodeError, EncodeError, Header, Info, Objects};
use crate::record::Record;
use crate::store::{Store, Stored};
use streams::{read, write_one, write_parts};

/// What of a save that was decided before a restart was written all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    /// Nothing that counts.
    Nothing,
    /// All, as the newest, but it will not last: it is saved again under its own number.
    Loose,
    /// All, for good.
    Firm,
}

/// A [`ModelCheckpoint`] that watches an engine and saves to a store.
#[derive(Debug)]
pub struct Saving<const N: usize, W, S: Store, F, B = ()> {
    machine: ModelCheckpoint<N, F>,
    when: W,
    store: S,
    observer: B,
    /// What was decided and not yet written.
    pending: Option<Save>,
    /// What of that is on the medium already.
    written: Written,
    /// The highest sequence number on the medium, or of a save that failed: it may have got there all the same.
    sequence: u32,
    /// Iterations that must have passed since the last save.
    min_interval: u32,
    /// The iteration of the newest commit.
    last_saved: Option<u32>,
    last_error: Option<EncodeError<S::Error>>,
}

impl<const N: usize, F> ModelCheckpoint<N, F> {
    /// Makes it a handler: whenever `when` fires it decides, and saves the model's [`Objects`] to `store`. The ranking
    /// and, for [`Step::Calls`](super::model_checkpoint::Step::Calls), the step number go on from what the store has; what it has beyond
    /// `n_saved` is removed with the next save.
    ///
    /// # Errors
    /// The store's, when it cannot list what it has.
    pub fn attach<W, S: Store>(mut self, when: W, mut store: S) -> Result<Saving<N, W, S, F>, S::Error> {
        self.reset();
        let mut newest: Option<Stored> = None;
        let mut index = 0;
        while let Some(stored) = store.stored(index)? {
            self.found(Save { step: stored.step, score: stored.score });
            newest = Some(stored);
            index += 1;
        }
        Ok(Saving {
            machine: self,
            when,
            store,
            observer: (),
            pending: None,
            written: Written::Nothing,
            sequence: newest.map_or(0, |newest| newest.sequence),
            min_interval: 0,
            last_saved: newest.map(|newest| newest.iteration),
            last_error: None,
        })
    }
}

impl<const N: usize, W, S: Store, F, B> Saving<N, W, S, F, B> {
    /// Has `observer` told what is saved, removed and failed.
    pub fn observe<O: Observer<S::Error>>(self, observer: O) -> Saving<N, W, S, F, O> {
        Saving {
            machine: self.machine,
            when: self.when,
            store: self.store,
            observer,
            pending: self.pending,
            written: self.written,
            sequence: self.sequence,
            min_interval: self.min_interval,
            last_saved: self.last_saved,
            last_error: self.last_error,
        }
    }

    /// Saves only when at least so many iterations have passed since the last save, to spare the medium: what would
    /// have been saved before is passed over, its number used up. For a medium that wears out and scores that improve
    /// at every call.
    #[must_use]
    pub fn min_interval(mut self, iterations: u32) -> Self {
        self.min_interval = iterations;
        self
    }

    /// The state machine: what is kept, the best, the latest.
    pub const fn machine(&self) -> &ModelCheckpoint<N, F> {
        &self.machine
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The store, to do things apart from saves: erase ahead, for one.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Why the last save failed; `None` when it did not.
    pub const fn last_error(&self) -> Option<&EncodeError<S::Error>> {
        self.last_error.as_ref()
    }

    /// Loads the checkpoint of `step` into `objects`, after all of it was checked.
    ///
    /// # Errors
    /// [`DecodeError`]; nothing has changed then, unless the medium changed in between.
    pub fn load_step<T: Objects + ?Sized>(
        &mut self,
        step: u32,
        objects: &mut T,
    ) -> Result<Info, DecodeError<S::Error>> {
        read(&mut self.store, step, objects, None, false)?;
        read(&mut self.store, step, objects, None, true)
    }

    /// Loads the best checkpoint, or the next best if that one is damaged. `Ok(None)` when there is none.
    ///
    /// # Errors
    /// Why the last that was tried could not be loaded, when none could.
    pub fn load_best<T: Objects + ?Sized>(&mut self, objects: &mut T) -> Result<Option<Info>, DecodeError<S::Error>>
    where
        B: Observer<S::Error>,
    {
        let mut last = Ok(None);
        for index in (0..self.machine.kept().len()).rev() {
            let Some(step) = self.machine.kept().get(index).map(|entry| entry.step) else { break };
            match self.load_step(step, objects) {
                Ok(info) => return Ok(Some(info)),
                Err(error) => {
                    self.observer.observe(&Report::LoadFailed { step, error: &error });
                    last = Err(error);
                }
            }
        }
        last
    }

    /// Saves `objects` now, whatever the policy says, as the next step: at the end of a run, or before a planned
    /// shutdown. It is ranked as any other, so with scores it may have to go at once; pass a score that ranks.
    ///
    /// # Errors
    /// [`EncodeError`]; ranking and stored checkpoints are as before then, the number is used up.
    pub fn save<T: Objects + ?Sized>(
        &mut self,
        save: Save,
        iteration: u32,
        record: Option<&Record>,
        objects: &T,
    ) -> Result<(), EncodeError<S::Error>>
    where
        B: Observer<S::Error>,
    {
        // Found at the opening, or a removal that failed: its place is needed.
        self.sweep();
        let written = self.write(save, iteration, record, objects);
        self.reconcile(written.is_ok().then_some(save.step));
        let bytes = written?;
        self.last_saved = Some(iteration);
        let gone = self.machine.committed(save).map(|gone| gone.step).filter(|gone| *gone != save.step);
        self.observer.observe(&Report::Saved { save, bytes, removed: gone });
        self.sweep();
        Ok(())
    }

    /// Removes what is stored and not ranked, which each save does too. Before doing something to the store that needs
    /// the room, such as erasing ahead.
    pub fn sweep(&mut self)
    where
        B: Observer<S::Error>,
    {
        if self.machine.keeps_all() {
            return;
        }
        let mut index = 0;
        while let Ok(Some(Stored { step, .. })) = self.store.stored(index) {
            if self.is_kept(step) {
                index += 1;
            } else if let Err(error) = self.store.remove(step) {
                self.observer.observe(&Report::RemovalFailed { step, error: &error });
                index += 1;
            } else if self.store.stored(index).is_ok_and(|next| next.is_some_and(|next| next.step == step)) {
                // A store that still lists what it has removed.
                index += 1;
            }
        }
    }

    fn is_kept(&self, step: u32) -> bool {
        self.machine.kept().iter().any(|kept| kept.step == step)
    }

    /// Ranks anew if the store no longer has all that is ranked: somebody removed it, or it was one whose commit the
    /// power cut short and whose place the store had to take. `new` is not ranked yet.
    fn reconcile(&mut self, new: Option<u32>) {
        let mut whole = true;
        for index in 0..self.machine.kept().len() {
            let Some(step) = self.machine.kept().get(index).map(|kept| kept.step) else { break };
            whole &= self.store.parts(step).map_or(true, |parts| parts > 0);
        }
        if whole || self.machine.keeps_all() {
            return;
        }
        let calls = self.machine.calls();
        self.machine.reset();
        let mut index = 0;
        while let Ok(Some(Stored { step, score, .. })) = self.store.stored(index) {
            if Some(step) != new {
                self.machine.found(Save { step, score });
            }
            index += 1;
        }
        self.machine.set_calls(calls);
    }

    /// Writes and commits; returns the bytes of all streams.
    fn write<T: Objects + ?Sized>(
        &mut self,
        save: Save,
        iteration: u32,
        record: Option<&Record>,
        objects: &T,
    ) -> Result<u32, EncodeError<S::Error>> {
        if record.is_some_and(|record| !record.whole) {
            return Err(EncodeError::RecordFull);
        }
        // Used up even by a save that fails: what is on the medium then is not known.
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            step: save.step,
            sequence: self.sequence,
            iteration,
            score: save.score,
            score_name: self.machine.settings.score_name,
        };
        let contents =
            Contents { header, record, only: None, allow_non_finite: self.machine.settings.allow_non_finite };
        // Everything that can be found wrong is found wrong before the store is touched.
        let all = checkpoint::measure(&contents, objects)?;
        let (bytes, last) = if S::STREAM_PER_OBJECT {
            write_parts(&mut self.store, &contents, objects)?
        } else {
            (all, write_one(&mut self.store, &contents, objects, all)?)
        };
        self.store.commit(&header, &last).map_err(EncodeError::Io)?;
        Ok(bytes)
    }

    /// Saves what is pending, as the policy has it. Returns whether it was committed.
    fn save_pending<T: Objects + ?Sized>(&mut self, save: Save, iteration: u32, record: &Record, objects: &T) -> bool
    where
        B: Observer<S::Error>,
    {
        let mut tries = match self.machine.settings.on_error {
            OnError::Retry(times) => times,
            _ => 0,
        };
        loop {
            match self.save(save, iteration, Some(record), objects) {
                Ok(()) => {
                    self.last_error = None;
                    return true;
                }
                Err(error) => {
                    self.observer.observe(&Report::SaveFailed { save, error: &error, retrying: tries > 0 });
                    self.last_error = Some(error);
                }
            }
            match tries.checked_sub(1) {
                Some(left) => tries = left,
                None => return false,
            }
        }
    }

    /// The newest checkpoint before `below`.
    fn newest_before(&mut self, below: Option<u32>) -> Option<Stored> {
        let mut newest: Option<Stored> = None;
        let mut index = 0;
        while let Ok(Some(stored)) = self.store.stored(index) {
            let older = below.is_none_or(|below| stored.iteration < below);
            if older && newest.is_none_or(|newest| newest.iteration <= stored.iteration) {
                newest = Some(stored);
            }
            index += 1;
        }
        newest
    }

    fn at_iteration(&mut self, iteration: u32) -> Option<Stored> {
        self.newest_before(iteration.checked_add(1)).filter(|stored| stored.iteration == iteration)
    }
}
