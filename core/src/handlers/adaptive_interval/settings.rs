//! The settings of an adaptive interval.

use core::fmt;
use core::num::NonZeroU64;

/// The erases that a memory endures. The [module](super) describes how it bounds the interval between saves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WearBudget {
    /// The erases of all slots together: the endurance of a slot from the data sheet, times the number of slots. The store
    /// uses the slots in turn. A slot that keeps the same checkpoint for a long time does not share the wear.
    pub erases: u32,
    /// The time for which the memory must last, in ticks.
    pub lifetime: u64,
    /// The time whose erases can be used in advance, in ticks, for example one day. It permits more saves while the power
    /// fails often. They are paid back by longer intervals. A quarter is a reserve for erases that leave no remains. At
    /// least six erases must be possible.
    pub borrow: u64,
}

impl WearBudget {
    /// Returns the ticks after which one erase is permitted.
    pub(super) const fn ticks_per_erase(self) -> u64 {
        // A budget without erases is invalid, and permits none.
        let Some(erases) = NonZeroU64::new(self.erases as u64) else { return u64::MAX };
        self.lifetime / erases.get() + (!self.lifetime.is_multiple_of(erases.get())) as u64
    }

    /// Returns the maximum debt after a save has begun. The rest of `borrow` is a reserve for erases that leave no remains.
    pub(super) const fn max_debt(self) -> u64 {
        self.borrow - self.borrow / 4
    }

    pub(super) const fn is_valid(&self) -> bool {
        self.erases > 0 && self.lifetime > 0 && self.max_debt() / 4 >= self.ticks_per_erase()
    }

    /// Returns the interval in ticks that this budget requires, at a mean time between failures of `mtbf` ticks.
    ///
    /// If failures are equally likely at every moment, there is one save per `mtbf * (exp(interval / mtbf) - 1)` ticks. The
    /// interval is chosen so that this time is the price of a save, divided by a factor that depends on the debt: at half of
    /// the maximum debt it is 1, so the debt remains as it is. It has no bound without debt, and is at least 1/4. The square
    /// root keeps the interval from changing much with each save.
    pub(super) fn interval(self, debt: u64, mtbf: f32) -> f32 {
        let free = self.max_debt().saturating_sub(debt);
        if debt == 0 {
            return 0.0;
        }
        let factor = libm::sqrtf(free as f32 / debt as f32).max(0.25);
        mtbf * libm::log1pf(self.ticks_per_erase() as f32 / (factor * mtbf))
    }
}

/// What determines the interval of an [`AdaptiveInterval`](super::AdaptiveInterval).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum IntervalLimit {
    /// The program has started, and the interval grows with each save.
    Start,
    /// The interval loses the least time at the measured duration of a save and the estimated time between failures.
    Optimum,
    /// The maximum overhead.
    Overhead,
    /// The wear budget.
    Wear,
}

impl IntervalLimit {
    /// The limits, in the order of the numbers that a checkpoint stores for them.
    pub(super) const ALL: [Self; 4] = [Self::Start, Self::Optimum, Self::Overhead, Self::Wear];
}

impl fmt::Display for IntervalLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IntervalLimit::Start => "growing after the start",
            IntervalLimit::Optimum => "optimum",
            IntervalLimit::Overhead => "maximum overhead",
            IntervalLimit::Wear => "wear budget",
        })
    }
}
