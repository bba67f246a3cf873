//! The parts of the check that need no knowledge of the limits of the store.

use super::probe::{Check, Pieces, Probe, violation};
use super::sample::{Sample, SampleSeries};
use super::violation::StoreRule;
use super::{Checker, Medium};
use training_monitor::checkpoint::Encoded;
use training_monitor::store::Store;

impl<M: Medium> Checker<'_, M> {
    pub(super) fn check_empty(&mut self) -> Check {
        let sample = self.main_sample(1)?;
        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "in a new store");
        probe.verify(&[], StoreRule::StartsEmpty)?;
        probe.check_capacity()?;
        probe.verify_unknown(1)?;
        probe.verify_unknown(u32::MAX)?;
        probe.remove_unknown(1, &[])?;
        let rule = StoreRule::CommitNeedsStream;
        probe.refuses_commit(rule, sample.header(), &sample.last(), "without a stream, in a new store")?;
        probe.verify(&[], StoreRule::ErrorChangesNothing)?;
        drop(store);
        self.reopen_with_rule(&[], "a commit without a stream", StoreRule::ErrorChangesNothing)
    }

    /// Saves one checkpoint in each kind of pieces. The second save uses a reference to the store.
    pub(super) fn check_round_trip(&mut self) -> Check {
        for pieces in [Pieces::Whole, Pieces::Bytes, Pieces::Odd] {
            let sample = self.main_sample(8)?;
            let mut store = self.open()?;
            let moment = format!("for a stream that is written in pieces ({pieces:?})");
            match pieces {
                Pieces::Bytes => Probe::new(&mut &mut store, moment).save(&sample, pieces, &[], &[&sample])?,
                _ => Probe::new(&mut store, moment).save(&sample, pieces, &[], &[&sample])?,
            }
            drop(store);
            self.reopen(&[&sample], "a save")?;
            // A second opening finds the same.
            self.reopen(&[&sample], "an opening")?;
            self.clear()?;
        }
        Ok(())
    }

    /// Saves checkpoints whose step numbers, scores and lengths do not have the order of their sequence numbers.
    pub(super) fn check_order(&mut self) -> Check {
        let mut store = self.open()?;
        let capacity = Probe::new(&mut store, "").check_capacity()?;
        drop(store);
        let mut samples: Vec<Sample> = Vec::new();
        for step in [90, 20, 70, 50].into_iter().take(capacity as usize) {
            // Sequence numbers have gaps, because failed saves consume them.
            self.next_sequence += step;
            let sample = self.main_sample(step)?;
            let mut store = self.open()?;
            let before: Vec<&Sample> = samples.iter().collect();
            let mut after = before.clone();
            after.push(&sample);
            Probe::new(&mut store, "").save(&sample, Pieces::Odd, &before, &after)?;
            drop(store);
            self.reopen(&after, "a save")?;
            samples.push(sample);
        }
        self.clear()
    }

    /// Starts checkpoints and does not commit them.
    pub(super) fn check_abandoned(&mut self) -> Check {
        let [first, second] = [self.main_sample(6)?, self.main_sample(4)?];
        let [begun, written, last] = [self.main_sample(5)?, self.main_sample(7)?, self.main_sample(4)?];
        let rule = StoreRule::AbandonedIsDiscarded;
        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "after an abandoned stream");
        probe.save(&first, Pieces::Whole, &[], &[&first])?;
        probe.write(&begun, 0, Pieces::Odd, 20)?;
        probe.verify(&[&first], rule)?;
        probe.verify_unknown(begun.sequence())?;
        drop(store);
        self.reopen_with_rule(&[&first], "an abandoned stream", rule)?;

        let mut store = self.open()?;
        Probe::new(&mut store, "").write_all(&written, Pieces::Whole, &[&first])?;
        drop(store);
        self.reopen_with_rule(&[&first], "a checkpoint without a commit", rule)?;

        // The next checkpoint is started while another one is not committed.
        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "after another checkpoint was not committed");
        probe.write_all(&written, Pieces::Odd, &[&first])?;
        probe.write(&begun, 0, Pieces::Whole, 20)?;
        probe.write_all(&second, Pieces::Odd, &[&first])?;
        probe.write_all(&last, Pieces::Whole, &[&first])?;
        probe.commit(&last)?;
        probe.verify(&[&first, &last], rule)?;
        probe.verify_unknown(second.sequence())?;
        let situation = "a second time, without a new stream";
        probe.refuses_commit(StoreRule::CommitNeedsStream, last.header(), &last.last(), situation)?;
        probe.verify(&[&first, &last], StoreRule::ErrorChangesNothing)?;
        drop(store);
        self.reopen_with_rule(&[&first, &last], "a second commit", StoreRule::ErrorChangesNothing)?;
        self.clear()
    }

    /// Commits checkpoints that are not complete.
    pub(super) fn check_incomplete(&mut self) -> Check {
        if !M::DETECTS_INCOMPLETE {
            return Ok(());
        }
        let first = self.main_sample(6)?;
        let mut store = self.open()?;
        Probe::new(&mut store, "").save(&first, Pieces::Whole, &[], &[&first])?;
        drop(store);
        let rule = StoreRule::CommitNeedsWholeStream;
        for missing in ["one byte of", "all bytes of", "one byte in the length of", "a stream of"] {
            let sample = self.main_sample(3)?;
            let situation = format!("without {missing} the last stream");
            let mut store = self.open()?;
            let mut probe = Probe::new(&mut store, format_args!("after a commit {situation}"));
            let end = sample.streams.len().saturating_sub(1);
            let mut last = sample.last();
            if missing == "a stream of" && end == 0 {
                continue;
            }
            for index in 0..end {
                probe.write(&sample, index, Pieces::Whole, usize::MAX)?;
            }
            match missing {
                "one byte of" => probe.write(&sample, end, Pieces::Whole, last.len as usize - 1)?,
                "all bytes of" => probe.write(&sample, end, Pieces::Whole, 0)?,
                "one byte in the length of" => {
                    probe.write(&sample, end, Pieces::Whole, usize::MAX)?;
                    last = Encoded { len: last.len - 1, ..last };
                }
                _ => last = sample.streams.first().map_or(last, |stream| stream.encoded),
            }
            probe.refuses_commit(rule, sample.header(), &last, &situation)?;
            probe.verify(&[&first], StoreRule::ErrorChangesNothing)?;
            drop(store);
            self.reopen_with_rule(&[&first], &format!("a commit {situation}"), StoreRule::ErrorChangesNothing)?;
        }
        self.clear()
    }

    /// Saves several checkpoints with the same step number.
    pub(super) fn check_replacement(&mut self) -> Check {
        let mut newest = self.main_sample(5)?;
        let mut store = self.open()?;
        Probe::new(&mut store, "").save(&newest, Pieces::Whole, &[], &[&newest])?;
        drop(store);
        for _ in 0..3 {
            let next = self.main_sample(5)?;
            let mut store = self.open()?;
            self::replace(&mut Probe::new(&mut store, ""), &next, &[&newest], &[&next])?;
            drop(store);
            self.reopen_with_rule(&[&next], "a replacement", StoreRule::Replaces)?;
            newest = next;
        }
        for series in [SampleSeries::OtherName, SampleSeries::OtherModel] {
            let other = self.sample(5, series)?;
            let mut store = self.open()?;
            let capacity = store.capacity();
            let mut probe = Probe::new(&mut store, "after a save of another series with the same step number");
            let saved = probe.try_save(&other)?;
            let kept: &[&Sample] = if saved.is_ok() { &[&newest, &other] } else { &[&newest] };
            probe.verify(kept, StoreRule::SaveKeepsOthers)?;
            drop(store);
            self.reopen(kept, "a save of another series with the same step number")?;
            if capacity >= 3 && saved.is_ok() {
                let next = self.main_sample(5)?;
                let mut store = self.open()?;
                self::replace(&mut Probe::new(&mut store, ""), &next, kept, &[&other, &next])?;
                drop(store);
                self.reopen_with_rule(&[&other, &next], "a replacement", StoreRule::Replaces)?;
                newest = next;
            }
            let mut store = self.open()?;
            Probe::new(&mut store, "after a replacement").erase(other.sequence())?;
            drop(store);
            let rule = StoreRule::ErasesPermanently;
            self.reopen_with_rule(&[&newest], "an erase", rule)?;
        }
        self.clear()
    }

    /// Removes and erases checkpoints, newer and older ones.
    pub(super) fn check_removal(&mut self) -> Check {
        let [first, second] = [self.main_sample(30)?, self.main_sample(10)?];
        let [third, fourth] = [self.main_sample(20)?, self.main_sample(40)?];
        let unknown = self.sequence();
        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "before a removal");
        probe.save(&first, Pieces::Whole, &[], &[&first])?;
        probe.save(&second, Pieces::Odd, &[&first], &[&first, &second])?;
        // One number is the step number of a checkpoint.
        probe.remove_unknown(30, &[&first, &second])?;
        probe.remove_unknown(unknown, &[&first, &second])?;
        probe.set_moment("after the removal of the newest checkpoint");
        probe.remove(second.sequence())?;
        probe.verify(&[&first], StoreRule::Removes)?;
        probe.verify_unknown(second.sequence())?;
        probe.remove_unknown(second.sequence(), &[&first])?;
        // The place of the removed checkpoint can be used.
        probe.save(&third, Pieces::Whole, &[&first], &[&first, &third])?;
        probe.set_moment("after the erase of the newest checkpoint");
        probe.erase(third.sequence())?;
        probe.verify(&[&first], StoreRule::Removes)?;
        probe.verify_unknown(third.sequence())?;
        probe.save(&fourth, Pieces::Whole, &[&first], &[&first, &fourth])?;
        probe.set_moment("after the removal of the oldest checkpoint");
        probe.remove(first.sequence())?;
        probe.verify(&[&fourth], StoreRule::Removes)?;
        drop(store);

        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "after removals, when the store was opened again");
        let listed = probe.listed(4)?;
        let is_listed = |sample: &Sample| listed.iter().any(|meta| meta.sequence == sample.sequence());
        if is_listed(&third) {
            let details = format_args!("the erased checkpoint {} is listed", third.sequence());
            return Err(violation(
                StoreRule::ErasesPermanently,
                "`checkpoint` after the store was opened again",
                details,
            ));
        }
        // The removed checkpoints may be listed again.
        let removed = [&first, &second].into_iter().filter(|sample| is_listed(sample));
        let expected: Vec<&Sample> = removed.chain([&fourth]).collect();
        probe.verify(&expected, StoreRule::SurvivesReopening)?;
        drop(store);
        self.clear()
    }
}

/// Saves a checkpoint that replaces another one.
fn replace<S: Store>(probe: &mut Probe<'_, S>, next: &Sample, before: &[&Sample], after: &[&Sample]) -> Check {
    probe.write_all(next, Pieces::Odd, before)?;
    probe.commit(next)?;
    probe.set_moment("after a save with the same step number");
    probe.verify(after, StoreRule::Replaces)
}
