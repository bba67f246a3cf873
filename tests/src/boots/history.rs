//! What the checker knows about a device: each checkpoint that was ever written, and those that must still be loadable.
//! It applies the rules of the documentation with its own simple code.

use super::handlers::SECOND;
use super::medium::{MediumCheckpoint, content};
use super::net::Net;
use super::program::Program;
use super::watch::{Commit, WatchEvent};
use std::rc::Rc;
use training_monitor::checkpoint::RankingRule;

/// The identity of a series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Series {
    pub(super) rule: u8,
    score_name: Option<&'static str>,
    name: &'static str,
    model: u8,
}

impl Series {
    /// Returns the series that `program` saves to a store.
    pub fn of(program: &Program, place: usize) -> Self {
        let model = program.model;
        if place == 1 {
            return Series { rule: 0, score_name: None, name: SECOND, model };
        }
        Series { rule: program.rule, score_name: program.score_name(), name: program.series_name(), model }
    }
}

/// A checkpoint that a program has written.
#[derive(Clone, Debug)]
pub struct Written {
    /// 0 for the first store of the device, 1 for the second.
    pub place: usize,
    /// A hash of all bytes.
    pub content: u64,
    /// The series.
    pub series: Series,
    /// The program that has written it.
    pub program: Program,
    /// The number of iterations per epoch at that time.
    pub epoch_length: u32,
    /// The call of `commit`.
    pub commit: Rc<Commit>,
    /// Whether `commit` returned `Ok`.
    pub acknowledged: bool,
    /// Whether it must be loadable.
    pub required: bool,
    /// Whether it is one of the checkpoints that a failure of this case may damage or remove.
    pub lost: bool,
}

impl Written {
    /// Returns the model `kind` that a load of the checkpoint gives.
    pub fn net(&self, kind: u8) -> Option<Net> {
        Net::decode(kind, &self.commit.bytes, &self.commit.lens)
    }

    fn score(&self) -> f32 {
        self.commit.meta.score.unwrap_or(f32::NEG_INFINITY)
    }
}

/// Everything that the checker knows about a device.
#[derive(Clone, Default, Debug)]
pub struct History {
    /// All checkpoints ever written, in the order of their commits.
    pub written: Vec<Written>,
    /// The loadable checkpoints on each medium.
    pub listed: [Vec<MediumCheckpoint>; 2],
    /// Whether a failure other than one of the power has happened.
    pub is_disturbed: bool,
    /// The number of iterations per epoch in the current start.
    pub epoch_length: u32,
}

impl History {
    /// Returns the newest writing of a checkpoint with this content.
    pub fn find(&self, place: usize, content: u64) -> Option<usize> {
        self.written.iter().rposition(|written| written.place == place && written.content == content)
    }

    /// Returns the loadable checkpoints on a medium, with what is known about them.
    pub fn loadable(&self, place: usize) -> impl Iterator<Item = &Written> {
        let listed = self.listed[place].iter().filter(|listed| listed.is_loadable);
        listed.filter_map(move |listed| self.find(place, listed.content)).map(|index| &self.written[index])
    }

    /// Forgets all checkpoints, which are invisible in a new layout of the flash.
    pub fn hide_all(&mut self) {
        self.written.iter_mut().for_each(|written| (written.required, written.lost) = (false, true));
        self.listed = [Vec::new(), Vec::new()];
        self.is_disturbed = true;
    }

    /// Forgets a checkpoint that a failure of this case damages or removes.
    pub fn lose(&mut self, place: usize, sequence: u32) {
        for written in self.written.iter_mut().filter(|written| written.place == place) {
            if written.commit.meta.sequence == sequence {
                (written.required, written.lost) = (false, true);
            }
        }
        self.is_disturbed = true;
    }

    /// Checks all records of a start, in order. `program` is the program of that start.
    pub fn apply(&mut self, program: &Program, records: Vec<WatchEvent>) -> Result<(), String> {
        let mut is_running = false;
        for record in records {
            match record {
                WatchEvent::Running => is_running = true,
                WatchEvent::Snapshot { place, listed, capacity } => {
                    self.compare(program, place, listed, capacity).map_err(|error| match is_running {
                        true => error,
                        false => format!("before the run: {error}"),
                    })?;
                }
                WatchEvent::Commit(commit) => self.commit(program, commit)?,
            }
        }
        Ok(())
    }

    fn commit(&mut self, program: &Program, commit: Commit) -> Result<(), String> {
        let place = commit.place;
        let series = Series::of(program, place);
        let rule = if series.rule == 0 { RankingRule::Latest } else { RankingRule::Best };
        if (commit.series.as_str(), commit.rule, commit.score_name.as_deref()) != (series.name, rule, series.score_name)
        {
            return Err(format!("{:?} is not of the series {series:?}", commit.meta));
        }
        let meta = commit.meta;
        let written = Written {
            place,
            content: content(&commit.bytes),
            series: series.clone(),
            program: *program,
            epoch_length: self.epoch_length,
            acknowledged: commit.acknowledged,
            required: commit.acknowledged,
            lost: false,
            commit: Rc::new(commit),
        };
        // Sequence numbers never go backwards, except for a repeated save whose commit was interrupted.
        for other in self.loadable(place).filter(|other| other.acknowledged) {
            let seen = other.commit.meta;
            if seen.sequence >= meta.sequence {
                return Err(format!("the sequence number goes back: {meta:?} after {seen:?}"));
            }
            let is_repeated = (seen.step, seen.run, seen.iteration) == (meta.step, meta.run, meta.iteration);
            let goes_back = other.series == series && seen.step >= meta.step && !is_repeated;
            // A run that resumes from the second store continues with its own steps, although another run has used them in
            // the first store meanwhile.
            let is_of_other_run = seen.run != meta.run && program.second != 0;
            // After a failed read, a run can resume from an older checkpoint and repeat a step.
            if goes_back && !is_of_other_run && (place == 1 || program.steps == 0) && !self.is_disturbed {
                return Err(format!("the step number goes back: {meta:?} after {seen:?}"));
            }
        }
        let acknowledged = written.acknowledged;
        let capacity = written.commit.capacity;
        self.written.push(written);
        if acknowledged {
            self.rank(program, place, &series, capacity);
        }
        Ok(())
    }

    /// Updates which checkpoints of a series are required, after a commit: the newest or the best `n_saved`.
    fn rank(&mut self, program: &Program, place: usize, series: &Series, capacity: u32) {
        let (count, last) = (n_saved(program, place, capacity), self.written.len() - 1);
        let new = self.written[last].commit.meta;
        let mut required: Vec<usize> = (0..last)
            .filter(|index| {
                let written = &self.written[*index];
                written.place == place && written.required && written.series == *series
            })
            .collect();
        // The new checkpoint replaces one with the same step number.
        required.retain(|index| {
            let replaced = self.written[*index].commit.meta.step == new.step;
            self.written[*index].required &= !replaced;
            !replaced
        });
        required.push(last);
        if series.rule == 1 {
            // The sort is stable: among equal scores, the oldest comes last.
            required.reverse();
            required.sort_by(|a, b| self.written[*b].score().total_cmp(&self.written[*a].score()));
        } else {
            required.reverse();
        }
        for index in required.iter().skip(count) {
            self.written[*index].required = false;
        }
    }

    /// Compares the content of a medium with the content before. Each missing checkpoint needs a reason.
    fn compare(
        &mut self,
        program: &Program,
        place: usize,
        after: Vec<MediumCheckpoint>,
        capacity: u32,
    ) -> Result<(), String> {
        let before = std::mem::replace(&mut self.listed[place], after);
        let active = Series::of(program, place);
        for listed in self.listed[place].iter().filter(|listed| listed.is_loadable) {
            match self.find(place, listed.content).map(|index| &self.written[index]) {
                None => return Err(format!("{:?} has a content that was never saved", listed.meta)),
                Some(written) if written.commit.meta != listed.meta => {
                    return Err(format!("{:?} is listed as {:?}", written.commit.meta, listed.meta));
                }
                Some(_) => (),
            }
        }
        let is_full = before.len() as u64 >= u64::from(capacity);
        for removed in before.iter().filter(|listed| listed.is_loadable) {
            if self.listed[place].iter().any(|listed| listed.is_loadable && listed.content == removed.content) {
                continue;
            }
            let Some(index) = self.find(place, removed.content) else { continue };
            let written = &self.written[index];
            if !written.acknowledged || written.lost {
                continue;
            }
            let same = |other: &&Written| other.series == written.series;
            // A handler cannot know that a listed checkpoint is damaged. Only the RAM store lists such checkpoints.
            let damaged = self.listed[place].iter().filter(|listed| !listed.is_loadable).count();
            let remaining = self.loadable(place).filter(same).count() + damaged;
            // The commit of the checkpoint itself counts: it can be worse than all others.
            let newer = |other: &Written| other.acknowledged && other.series == written.series;
            let has_newer = self.written[index..].iter().any(|other| other.place == place && newer(other));
            let replaced = self.loadable(place).any(|other| {
                let (new, old) = (&other.commit.meta, &written.commit.meta);
                other.series == written.series
                    && new.step == old.step
                    && new.sequence > old.sequence
                    && (written.series.rule == 0 || other.score() >= written.score())
            });
            let evicted =
                (has_newer || is_full) && written.series == active && remaining >= n_saved(program, place, capacity);
            // The exception: the store was full, and the oldest checkpoint of another series was removed.
            let is_other = |listed: &&MediumCheckpoint| {
                self.find(place, listed.content).is_none_or(|index| self.written[index].series != active)
            };
            let oldest = before.iter().filter(is_other).find(|listed| {
                // Checkpoints that disappeared together with this one come first.
                listed.content == removed.content
                    || self.listed[place].iter().any(|left| left.content == listed.content)
            });
            let made_room = is_full
                && written.series != active
                // A checkpoint in a broken block cannot be erased.
                && (self.is_disturbed || oldest.is_some_and(|oldest| oldest.content == removed.content))
                && self.loadable(place).next().is_some();
            if !replaced && !evicted && !made_room {
                let left: Vec<_> = self.listed[place].iter().map(|listed| listed.meta).collect();
                return Err(format!(
                    "{:?} was removed: {remaining} of its series remain, capacity {capacity}, left: {left:?}",
                    removed.meta
                ));
            }
            // After `n_saved` was reduced, checkpoints beyond it can be removed before a commit.
            let surplus = self.loadable(place).filter(|other| is_as_good(other, written)).count();
            if made_room || replaced || surplus >= n_saved(program, place, capacity) {
                self.written[index].required = false;
            }
        }
        let was_acknowledged = |listed: &MediumCheckpoint| {
            let index = self.find(place, listed.content);
            index.is_some_and(|index| self.written[index].acknowledged && !self.written[index].lost)
        };
        if before.iter().any(|listed| listed.is_loadable && was_acknowledged(listed))
            && !self.listed[place].iter().any(|listed| listed.is_loadable)
        {
            return Err("no loadable checkpoint remains".into());
        }
        Ok(())
    }

    /// Checks that all required checkpoints are loadable.
    pub fn check_required(&self) -> Result<(), String> {
        for (index, written) in self.written.iter().enumerate().filter(|(_, written)| written.required) {
            let place = written.place;
            let is_stored =
                self.listed[place].iter().any(|listed| listed.is_loadable && listed.content == written.content);
            // Another checkpoint can be kept instead: one with the same score, or one whose commit was interrupted but is
            // complete.
            let as_good = |other: &&Written| is_as_good(other, written);
            let damaged = self.listed[place].iter().filter(|listed| !listed.is_loadable).count();
            let instead = self.loadable(place).filter(as_good).count();
            let count = self.written.iter().filter(|other| other.required && as_good(other)).count();
            if !is_stored && damaged == 0 && instead < count.max(1) {
                let left: Vec<_> = self.listed[place].iter().map(|listed| listed.meta).collect();
                return Err(format!("lost: {:?} (number {index}); on the medium: {left:?}", written.commit.meta));
            }
        }
        Ok(())
    }
}

/// Returns whether a checkpoint of the same series is as good as `written`, or the same.
fn is_as_good(other: &Written, written: &Written) -> bool {
    let is_newer = other.commit.meta.sequence >= written.commit.meta.sequence;
    other.series == written.series && if other.series.rule == 1 { other.score() >= written.score() } else { is_newer }
}

/// Returns how many checkpoints a program keeps in a store of this capacity.
pub fn n_saved(program: &Program, place: usize, capacity: u32) -> usize {
    let configured = if place == 1 { 1 } else { usize::from(program.saved) };
    configured.min(capacity as usize - 1).max(1)
}
