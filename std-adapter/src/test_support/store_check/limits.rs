//! The parts of the check that reach the limits of the store: all places, and the longest stream.

use super::probe::{Check, Pieces, Probe, violation};
use super::sample::Sample;
use super::violation::StoreRule;
use super::{Checker, Medium};
use training_monitor::store::{Store, StreamSpec};

/// The maximum number of places that the check fills.
const MAX_PLACES: u32 = 64;
/// The maximum length of a stream that the check writes.
const MAX_LEN: u32 = 1 << 16;

impl<M: Medium> Checker<'_, M> {
    /// Fills the store, and tries to save one more checkpoint.
    pub(super) fn check_full(&mut self) -> Check {
        let mut store = self.open()?;
        let capacity = Probe::new(&mut store, "").check_capacity()?;
        drop(store);
        if capacity > MAX_PLACES {
            return Ok(());
        }
        let mut samples = Vec::new();
        for index in 0..=capacity {
            samples.push(self.main_sample(900 - index)?);
        }
        let extra = self.main_sample(1)?;
        let all: Vec<&Sample> = samples.iter().collect();
        let (kept, refused) = all.split_at(capacity as usize);
        let refused = refused.first().copied().unwrap_or(&extra);
        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "while the store has free places");
        for (index, sample) in kept.iter().enumerate() {
            let before = kept.get(..index).unwrap_or_default();
            probe.save(sample, Pieces::Whole, before, kept.get(..=index).unwrap_or_default())?;
        }
        probe.set_moment("in a full store");
        if probe.try_save(refused)?.is_ok() {
            let details = format_args!("the store has {capacity} places, and saved {} checkpoints", capacity + 1);
            return Err(violation(StoreRule::RefusesWhenFull, "`commit` in a full store", details));
        }
        probe.verify(kept, StoreRule::ErrorChangesNothing)?;
        drop(store);
        self.reopen_with_rule(kept, "a save in a full store", StoreRule::ErrorChangesNothing)?;

        // Without its oldest checkpoint, the store has a place again.
        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "after a removal from a full store");
        let (oldest, rest) = kept.split_first().unwrap_or((&refused, &[]));
        probe.remove(oldest.sequence())?;
        let after: Vec<&Sample> = rest.iter().copied().chain([&extra]).collect();
        probe.save(&extra, Pieces::Odd, rest, &after)?;
        drop(store);
        self.reopen(&after, "a removal and a save in a full store")?;
        self.clear()
    }

    /// Searches the longest stream, saves a checkpoint of this length, and tries to save a longer one.
    pub(super) fn check_limits(&mut self) -> Check {
        let [neighbour, probed] = [self.main_sample(2)?, self.main_sample(9)?];
        let mut store = self.open()?;
        let mut probe = Probe::new(&mut store, "before the check of the longest stream");
        probe.save(&neighbour, Pieces::Whole, &[], &[&neighbour])?;
        let limit = find_limit(&mut probe, &probed)?;
        // A check changes nothing.
        probe.verify(&[&neighbour], StoreRule::Limit)?;
        compare_create(&mut probe, &probed, limit)?;
        probe.set_moment("after a too long stream");
        probe.verify(&[&neighbour], StoreRule::ErrorChangesNothing)?;
        drop(store);

        let len = limit.min(MAX_LEN) as usize;
        let sequence = self.sequence();
        let Some(longest) = Sample::with_len(sequence, 9, len, self.stream_per_object) else { return self.clear() };
        let last = self.main_sample(4)?;
        let mut store = self.open()?;
        let capacity = store.capacity();
        let mut probe = Probe::new(&mut store, format_args!("for a stream of {len} bytes"));
        let expected = [&neighbour, &longest, &last];
        probe.save(&longest, Pieces::Odd, &[&neighbour], &[&neighbour, &longest])?;
        drop(store);
        self.reopen(&[&neighbour, &longest], "a save of a stream with the maximum length")?;
        if capacity >= 3 {
            let mut store = self.open()?;
            let mut probe = Probe::new(&mut store, "after a stream with the maximum length");
            probe.save(&last, Pieces::Odd, &[&neighbour, &longest], &expected)?;
            drop(store);
            self.reopen(&expected, "a save after a stream with the maximum length")?;
        }
        self.clear()
    }
}

/// Returns the length of the longest stream that the store accepts, according to its method `check`.
fn find_limit<S: Store>(probe: &mut Probe<'_, S>, sample: &Sample) -> Check<u32> {
    for index in 0..sample.streams.len() {
        let spec = sample.spec(index);
        if let Err(error) = probe.store.check(&spec) {
            let operation = format!("`check` of a stream of {} bytes, which the store has saved", spec.len);
            return Err(violation(StoreRule::Limit, operation, error));
        }
    }
    let spec = sample.spec(sample.streams.len().saturating_sub(1));
    let mut is_accepted = |len| probe.store.check(&StreamSpec { len, ..spec }).is_ok();
    let (mut accepted, mut refused) = (spec.len, u32::MAX);
    if is_accepted(refused) {
        return Ok(refused);
    }
    while refused - accepted > 1 {
        let middle = accepted + (refused - accepted) / 2;
        *(if is_accepted(middle) { &mut accepted } else { &mut refused }) = middle;
    }
    Ok(accepted)
}

/// Requires that `create` accepts a last stream of `limit` bytes and refuses longer ones.
fn compare_create<S: Store>(probe: &mut Probe<'_, S>, sample: &Sample, limit: u32) -> Check {
    let last = sample.streams.len().saturating_sub(1);
    for index in 0..last {
        probe.write(sample, index, Pieces::Whole, usize::MAX)?;
    }
    let spec = sample.spec(last);
    if let Err(error) = probe.store.create(&StreamSpec { len: limit, ..spec }) {
        let operation = format!("`create` of a stream of {limit} bytes, which `check` accepts");
        return Err(violation(StoreRule::Limit, operation, error));
    }
    for len in [limit.saturating_add(1), u32::MAX] {
        if len > limit {
            probe.refuses_create(StoreRule::Limit, &StreamSpec { len, ..spec })?;
        }
    }
    Ok(())
}
