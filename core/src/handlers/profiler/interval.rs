//! A part of the run that occurs many times, and its state in a checkpoint.

use super::TickStatistics;
use crate::run_record::{HandlerKind, Persist, StateCodec, StateDecoder, StateEncoder};

/// The durations of one part of the run, such as the step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Interval {
    /// The number of the part. It is the tag of the part's state, because a profiler has several states.
    part: u8,
    pub(super) statistics: TickStatistics,
    /// The ticks since the part started. `None` while it is not in progress.
    elapsed: Option<u64>,
}

impl Interval {
    pub(super) const fn new(part: u8) -> Self {
        Interval { part, statistics: TickStatistics::new(), elapsed: None }
    }

    /// Returns whether the part is in progress.
    pub(super) const fn is_open(&self) -> bool {
        self.elapsed.is_some()
    }

    /// Starts the part. Has no effect while it is in progress.
    pub(super) const fn open(&mut self) {
        if self.elapsed.is_none() {
            self.elapsed = Some(0);
        }
    }

    /// Adds ticks to the part, if it is in progress.
    pub(super) const fn add(&mut self, ticks: u64) {
        if let Some(elapsed) = self.elapsed {
            self.elapsed = Some(elapsed.saturating_add(ticks));
        }
    }

    /// Ends the part, if it is in progress, and adds its duration to the statistics.
    pub(super) const fn close(&mut self) {
        if let Some(ticks) = self.elapsed.take() {
            self.statistics.update(ticks);
        }
    }

    /// Ends the part without adding its duration to the statistics. Returns its ticks.
    pub(super) const fn abandon(&mut self) -> u64 {
        match self.elapsed.take() {
            Some(ticks) => ticks,
            None => 0,
        }
    }
}

/// The state of one part in a checkpoint. The checkpoint format fixes the encoding of these fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IntervalState {
    statistics: TickStatistics,
    elapsed: Option<u64>,
}

impl StateCodec for IntervalState {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        let TickStatistics { count, total, min, max, squares } = self.statistics;
        encoder.write_u32(count);
        // The low and the high half of `squares`.
        let numbers = [total, min, max, squares as u64, (squares >> 64) as u64];
        numbers.into_iter().for_each(|number| encoder.write_u64(number));
        encoder.write_bool(self.elapsed.is_some());
        self.elapsed.into_iter().for_each(|ticks| encoder.write_u64(ticks));
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        let (count, total) = (decoder.read_u32()?, decoder.read_u64()?);
        let (min, max) = (decoder.read_u64()?, decoder.read_u64()?);
        let (low, high) = (decoder.read_u64()?, decoder.read_u64()?);
        let squares = u128::from(high) << 64 | u128::from(low);
        let elapsed = if decoder.read_bool()? { Some(decoder.read_u64()?) } else { None };
        Some(IntervalState { statistics: TickStatistics { count, total, min, max, squares }, elapsed })
    }
}

impl Persist for Interval {
    const KIND: HandlerKind = HandlerKind::PROFILER;
    type State = IntervalState;
    const MAX_LEN: usize = 5 + 5 * 10 + 1 + 10;
    fn tag(&self) -> u16 {
        self.part.into()
    }
    fn save(&mut self) -> IntervalState {
        IntervalState { statistics: self.statistics, elapsed: self.elapsed }
    }
    fn restore(&mut self, IntervalState { statistics, elapsed }: IntervalState) {
        (self.statistics, self.elapsed) = (statistics, elapsed);
    }
}
