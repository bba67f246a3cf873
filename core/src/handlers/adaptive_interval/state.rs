//! What a checkpoint contains of an adaptive interval.

use super::IntervalLimit;
use crate::run_record::{StateCodec, StateDecoder, StateEncoder};

/// What the saves and starts of a run have shown. A checkpoint contains it; the checkpoint format fixes the encoding of
/// these fields. All durations are in ticks of the program's clock.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdaptiveIntervalState {
    /// The starts of the program that have saved a checkpoint, and the present one.
    pub(super) starts: u16,
    /// The failures in the time `observed`.
    pub(super) failures: u8,
    /// The time in which a failure leaves a trace: from the first save of each start.
    pub(super) observed: f32,
    /// The estimated time of work that was lost and repeated.
    pub(super) lost: f32,
    /// The mean duration of a save; 0 before the first one.
    pub(super) duration: f32,
    /// The interval after the save that wrote this state.
    pub(super) interval: f32,
    /// The time until the wear budget is used up at this interval; 0 if it is unknown.
    pub(super) life: f32,
    pub(super) limit: IntervalLimit,
    /// Whether the run was stopped, so that the next start follows no failure.
    pub(super) is_stopped: bool,
    /// The wear that must be paid back, in ticks.
    pub(super) debt: u64,
    /// The reading of the clock to which `debt` belongs.
    pub(super) reading: u64,
}

impl AdaptiveIntervalState {
    pub(super) const NEW: Self = AdaptiveIntervalState {
        starts: 0,
        failures: 0,
        observed: 0.0,
        lost: 0.0,
        duration: 0.0,
        interval: 0.0,
        life: 0.0,
        limit: IntervalLimit::Start,
        is_stopped: false,
        debt: 0,
        reading: 0,
    };

    /// The maximum length of the encoding: three bytes for `starts`, one for `failures`, five floats, one byte for `limit`
    /// and `is_stopped` each, and two numbers of ten bytes.
    pub(super) const MAX_LEN: usize = 3 + 1 + 5 * 4 + 1 + 1 + 2 * 10;

    /// Returns the number of starts that have saved a checkpoint, including the present one.
    #[must_use]
    pub const fn starts(&self) -> u16 {
        self.starts
    }

    /// Returns the estimated time of work that failures have lost, in ticks.
    #[must_use]
    pub const fn lost(&self) -> f32 {
        self.lost
    }

    /// Returns the mean duration of a save in ticks, or 0 before the first save.
    #[must_use]
    pub const fn save_duration(&self) -> f32 {
        self.duration
    }

    /// Returns what determined the interval after the save that wrote this state.
    #[must_use]
    pub const fn limit(&self) -> IntervalLimit {
        self.limit
    }

    /// Returns the wear that must be paid back, in ticks.
    #[must_use]
    pub const fn debt(&self) -> u64 {
        self.debt
    }

    /// Returns the time until the wear budget is used up at the present interval, in ticks. `None` if there is no budget,
    /// or if the store does not count its erases.
    #[must_use]
    pub fn remaining_life(&self) -> Option<f32> {
        (self.life > 0.0).then_some(self.life)
    }
}

impl StateCodec for AdaptiveIntervalState {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(u32::from(self.starts));
        encoder.write_u8(self.failures);
        for number in [self.observed, self.lost, self.duration, self.interval, self.life] {
            encoder.write_f32(number);
        }
        encoder.write_u8(self.limit as u8);
        encoder.write_bool(self.is_stopped);
        encoder.write_u64(self.debt);
        encoder.write_u64(self.reading);
    }

    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        let starts = u16::try_from(decoder.read_u32()?).ok()?;
        let failures = decoder.read_u8()?;
        let mut durations = [0.0; 5];
        for number in &mut durations {
            *number = decoder.read_f32().filter(|number| *number >= 0.0 && number.is_finite())?;
        }
        let [observed, lost, duration, interval, life] = durations;
        let limit = *IntervalLimit::ALL.get(usize::from(decoder.read_u8()?))?;
        let is_stopped = decoder.read_bool()?;
        let (debt, reading) = (decoder.read_u64()?, decoder.read_u64()?);
        Some(AdaptiveIntervalState {
            starts,
            failures,
            observed,
            lost,
            duration,
            interval,
            life,
            limit,
            is_stopped,
            debt,
            reading,
        })
    }
}
