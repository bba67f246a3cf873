//! The error type for invalid settings, for example of handlers and event filters.

use crate::target::HOST;
use core::fmt;

/// The reason why a setting is invalid. The constructor or method that receives the setting returns this error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// The argument of an event filter's `every` or `once` is 0. Counters start at 1.
    Occurrence,
    /// The patience of [`EarlyStopping`](crate::EarlyStopping) is 0.
    Patience,
    /// The threshold of [`EarlyStopping`](crate::EarlyStopping) is negative, NaN or infinite.
    Threshold,
    /// The baseline of [`EarlyStopping`](crate::EarlyStopping) is NaN or infinite.
    Baseline,
    /// The argument of [`TerminateOnNan::with_schedule`](crate::TerminateOnNan::with_schedule) is 0.
    CheckSchedule,
    /// The number of ticks of an [`EveryTicks`](crate::handlers::every_ticks::EveryTicks) is 0.
    TickInterval,
    /// The number of roll-backs of a [`RollBack`](crate::RollBack) is 0.
    RollBacks,
    /// `alpha` of [`RunningAverage`](crate::RunningAverage) is not in the range 0 < alpha ≤ 1.
    Alpha,
    /// A momentum of [`WeightAverage`](crate::WeightAverage) is not in the range 0 < momentum < 1.
    Momentum,
    /// The warm-up of [`WeightAverage`](crate::WeightAverage) has 0 iterations.
    WarmupIterations,
    /// The limit of [`TimeLimit`](crate::TimeLimit) is 0 ticks.
    TimeLimit,
    /// A limit of [`ScoreLimits`](crate::ScoreLimits) is NaN or infinite.
    ScoreLimit,
    /// The window of [`SpikeGuard`](crate::SpikeGuard) has 0 values.
    SpikeWindow,
    /// A tolerance of [`SpikeGuard`](crate::SpikeGuard) is negative, NaN or infinite.
    SpikeTolerance,
    /// The limit of [`GradientLimit`](crate::gradient::GradientLimit) is not a finite number above 0.
    GradientLimit,
    /// The maximum overhead of an [`AdaptiveInterval`](crate::AdaptiveInterval) is not in the range 0 < share < 1.
    MaxOverhead,
    /// The wear budget of an [`AdaptiveInterval`](crate::AdaptiveInterval) has a field that is 0, or permits to borrow less
    /// than six erases.
    WearBudget,
    /// The argument of [`ModelCheckpoint::every`](crate::ModelCheckpoint::every) is 0.
    SaveInterval,
    /// The score name of a [`ModelCheckpoint`](crate::ModelCheckpoint) is empty or has more
    /// than [`MAX_NAME`](crate::checkpoint::MAX_NAME) bytes.
    ScoreName,
    /// The initial threshold of a [`ModelCheckpoint`](crate::ModelCheckpoint) is NaN.
    InitialThreshold,
    /// The series name of a [`ModelCheckpoint`](crate::ModelCheckpoint) has more than [`MAX_NAME`](crate::checkpoint::MAX_NAME) bytes.
    SeriesName,
    /// A value of a [schedule](crate::handlers::schedules) is NaN or infinite.
    ScheduleValue,
    /// A factor of a [schedule](crate::handlers::schedules), such as `gamma` or a power, is negative, NaN or infinite, or
    /// the factor of [`CyclicMode::ExpRange`](crate::handlers::schedules::CyclicMode::ExpRange) is greater than 1.
    ScheduleFactor,
    /// A number of steps of a [schedule](crate::handlers::schedules), or its multiple `t_mult`, is 0.
    ScheduleSteps,
    /// The milestones of a [schedule](crate::handlers::schedules) are not in ascending order, or
    /// [`PiecewiseLinear`](crate::handlers::schedules::PiecewiseLinear) has none.
    Milestones,
    /// `pct_start` of [`OneCycle`](crate::handlers::schedules::OneCycle) is not between 0 and 1.
    PctStart,
    /// A divisor of [`OneCycle`](crate::handlers::schedules::OneCycle) is less than 1 or not finite.
    DivFactor,
    /// The cycle size of [`LinearCyclical`](crate::handlers::schedules::LinearCyclical)
    /// or [`CosineAnnealing`](crate::handlers::schedules::CosineAnnealing) is less than 2.
    CycleSize,
    /// `cycle_mult` of [`LinearCyclical`](crate::handlers::schedules::LinearCyclical)
    /// or [`CosineAnnealing`](crate::handlers::schedules::CosineAnnealing) is not finite or not greater than 0.
    CycleMult,
    /// The duration of a [`Warmup`](crate::handlers::schedules::Warmup) is less than 2.
    WarmupDuration,
    /// The value or the minimum of [`ReduceOnPlateau`](crate::ReduceOnPlateau) is NaN or infinite.
    PlateauValue,
    /// The factor of [`ReduceOnPlateau`](crate::ReduceOnPlateau) is negative, NaN, or not less than 1.
    PlateauFactor,
    /// `threshold` or `eps` of [`ReduceOnPlateau`](crate::ReduceOnPlateau) is negative, NaN or infinite.
    PlateauThreshold,
    /// `n_saved` of a [`ModelCheckpoint`](crate::ModelCheckpoint) is 0 or greater than the size of its table.
    NSaved {
        /// The requested number of checkpoints.
        n_saved: u32,
        /// The table size, which is `N` of `ModelCheckpoint<N>`.
        table: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigError::Occurrence => "event filter: the argument of `every` or `once` is 0; it must be at least 1",
            ConfigError::Patience => "early stopping: `patience` is 0; it must be at least 1",
            ConfigError::Threshold => "early stopping: `threshold` must be a finite number of at least 0",
            ConfigError::Baseline => "early stopping: the baseline must be a finite number",
            ConfigError::CheckSchedule => "NaN guard: the argument of `with_schedule` is 0; it must be at least 1",
            ConfigError::TickInterval => "time interval: the number of ticks is 0; it must be at least 1",
            ConfigError::RollBacks => "roll-back: the number of roll-backs is 0; it must be at least 1",
            ConfigError::Alpha => "running average: `alpha` must be greater than 0 and at most 1",
            ConfigError::Momentum => "weight average: the momentum must be greater than 0 and less than 1",
            ConfigError::WarmupIterations => "weight average: the warm-up has 0 iterations; it must have at least 1",
            ConfigError::TimeLimit => "time limit: the limit is 0 ticks; it must be at least 1",
            ConfigError::ScoreLimit => "score limits: a target or a divergence limit must be a finite number",
            ConfigError::SpikeWindow => "spike guard: the window has 0 values; it must have at least 1",
            ConfigError::SpikeTolerance => "spike guard: a tolerance must be a finite number of at least 0",
            ConfigError::GradientLimit => "gradient clipping: the limit must be a finite number greater than 0",
            ConfigError::MaxOverhead => "adaptive interval: the maximum overhead must be greater than 0 and less than 1",
            ConfigError::WearBudget => {
                "adaptive interval: `erases` and `lifetime` must be at least 1, and `borrow` at least the time of 6 erases"
            }
            ConfigError::SaveInterval => "model checkpoint: the interval of `every` is 0; it must be at least 1",
            ConfigError::ScoreName if HOST => "model checkpoint: the score name must have 1 to 255 bytes",
            ConfigError::ScoreName => "model checkpoint: the score name must have 1 to 32 bytes",
            ConfigError::InitialThreshold => "model checkpoint: the initial threshold is NaN; it must be a number",
            ConfigError::SeriesName if HOST => "model checkpoint: the series name must have at most 255 bytes",
            ConfigError::SeriesName => "model checkpoint: the series name must have at most 32 bytes",
            ConfigError::ScheduleValue => "schedule: a value is NaN or infinite; it must be a finite number",
            ConfigError::ScheduleFactor => {
                "schedule: a factor or power must be a finite number of at least 0, and the factor of `ExpRange` at most 1"
            }
            ConfigError::ScheduleSteps => "schedule: a number of steps or `t_mult` is 0; it must be at least 1",
            ConfigError::Milestones => "schedule: the milestones must be in ascending order, and there must be at least one",
            ConfigError::PctStart => "one-cycle schedule: `pct_start` must be a number from 0 to 1",
            ConfigError::DivFactor => "one-cycle schedule: the divisors must be finite numbers of at least 1",
            ConfigError::CycleSize => "cyclical schedule: `cycle_size` is less than 2; it must be at least 2",
            ConfigError::CycleMult => "cyclical schedule: `cycle_mult` must be a finite number greater than 0",
            ConfigError::WarmupDuration => "warm-up: `duration` is less than 2; it must be at least 2 steps",
            ConfigError::PlateauValue => "reduce on plateau: the value and `min_value` must be finite numbers",
            ConfigError::PlateauFactor => "reduce on plateau: `factor` must be at least 0 and less than 1",
            ConfigError::PlateauThreshold => {
                "reduce on plateau: `threshold` and `eps` must be finite numbers of at least 0"
            }
            ConfigError::NSaved { n_saved, table } => {
                return write!(
                    f,
                    "model checkpoint: `n_saved` is {n_saved}; it must be between 1 and the table size, {table}"
                );
            }
        })
    }
}

impl core::error::Error for ConfigError {}
