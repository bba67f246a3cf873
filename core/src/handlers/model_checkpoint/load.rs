//! Loads checkpoints at the request of the program.

use super::recovery::newest_where;
use super::streams::{ReadPass, read};
use super::{CheckpointEvent, CheckpointHandler, CheckpointObserver};
use crate::checkpoint::{DecodeError, Info, Objects};
use crate::store::{CheckpointMeta, Store};

impl<const N: usize, W, S: Store, F, B> CheckpointHandler<N, W, S, F, B> {
    /// Verifies the checkpoint with the step number `step`, then loads it into `objects`. If several series have such a
    /// checkpoint, the one of this handler's series is loaded, or else the newest one.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the checkpoint cannot be loaded. `objects` is then unchanged, unless the medium
    /// changed between verifying and loading.
    pub fn load_step<T: Objects + ?Sized>(
        &mut self,
        step: u32,
        objects: &mut T,
    ) -> Result<Info, DecodeError<S::Error>> {
        self.bind(objects).map_err(DecodeError::Io)?;
        let own = self.find(step).map_err(DecodeError::Io)?;
        let newest = newest_where(&mut self.store, &mut |meta| meta.step == step).map_err(DecodeError::Io)?;
        match own.or(newest) {
            Some(meta) => self.load_sequence(meta.sequence, objects),
            // The store reports that the checkpoint does not exist.
            None => Err(self.store.open(u32::MAX, 0).map_or_else(DecodeError::Io, |_| DecodeError::Truncated)),
        }
    }

    fn load_sequence<T: Objects + ?Sized>(
        &mut self,
        sequence: u32,
        objects: &mut T,
    ) -> Result<Info, DecodeError<S::Error>> {
        read(&mut self.store, sequence, objects, ReadPass::Verify(None))?;
        read(&mut self.store, sequence, objects, ReadPass::Load)
    }

    /// Loads the best checkpoint of the series into `objects`. If that checkpoint is damaged, loads the next best one. If
    /// no ranked checkpoint can be loaded, loads the newest other one that fits the model: first of this series, then of
    /// the other series. Returns `Ok(None)` if the store contains no checkpoint.
    ///
    /// # Errors
    /// If no checkpoint can be loaded, returns the error of the last attempt.
    pub fn load_best<T: Objects + ?Sized>(&mut self, objects: &mut T) -> Result<Option<Info>, DecodeError<S::Error>>
    where
        B: CheckpointObserver<S::Error>,
    {
        let mut last = self.load_ranked(objects);
        if matches!(last, Ok(Some(_))) {
            return last;
        }
        for own in [true, false] {
            let mut below = u32::MAX;
            loop {
                let (policy, series) = (&self.policy, self.series);
                let newest = newest_where(&mut self.store, &mut |meta| {
                    let is_own = meta.series == series;
                    meta.sequence < below && is_own == own && !(is_own && policy.is_kept(meta.step))
                });
                let Some(meta) = newest.map_err(DecodeError::Io)? else { break };
                match self.try_load(&meta, objects) {
                    Ok(info) => return Ok(Some(info)),
                    Err(error) => last = Err(error),
                }
                below = meta.sequence;
            }
        }
        last
    }

    /// Loads the best checkpoint of the ranking into `objects`. If that checkpoint is damaged, loads the next best one.
    /// Returns `Ok(None)` if the ranking is empty.
    pub(super) fn load_ranked<T: Objects + ?Sized>(
        &mut self,
        objects: &mut T,
    ) -> Result<Option<Info>, DecodeError<S::Error>>
    where
        B: CheckpointObserver<S::Error>,
    {
        self.bind(objects).map_err(DecodeError::Io)?;
        let mut last = Ok(None);
        for index in (0..self.policy.kept().len()).rev() {
            let Some(step) = self.policy.kept().get(index).map(|kept| kept.step) else { break };
            if let Some(meta) = self.find(step).map_err(DecodeError::Io)? {
                match self.try_load(&meta, objects) {
                    Ok(info) => return Ok(Some(info)),
                    Err(error) => last = Err(error),
                }
            }
        }
        last
    }

    /// Loads a checkpoint. Reports a failure to the observer.
    fn try_load<T: Objects + ?Sized>(
        &mut self,
        meta: &CheckpointMeta,
        objects: &mut T,
    ) -> Result<Info, DecodeError<S::Error>>
    where
        B: CheckpointObserver<S::Error>,
    {
        let loaded = self.load_sequence(meta.sequence, objects);
        if let Err(error) = &loaded {
            self.observer.on_checkpoint_event(&CheckpointEvent::LoadFailed { step: meta.step, error });
        }
        loaded
    }
}
