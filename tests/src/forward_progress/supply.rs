//! Power supplies: sequences of times for which the device has power.
//!
//! | supply | on-times with the mean `m` | example |
//! | --- | --- | --- |
//! | fixed | `m`, always | a timer switches the power |
//! | regular | uniform from 0.8 `m` to 1.2 `m` | a charged battery, used up by a constant load |
//! | periodic | uniform from 0.5 `m` to 1.5 `m` | a battery that is charged by the sun |
//! | exponential | exponential: a failure is equally likely at every moment | brown-outs, a watchdog |
//! | bursty | exponential, in bursts with the mean `m` / 8 and calm times with the mean 15 `m` / 8 | a loose contact, bad weather |
//! | Weibull | Weibull with the shape 0.6: a failure is most likely shortly after a start | a weak battery that recovers when the load is off |

use super::time::{Nanos, SECOND};
use training_monitor_std::test_support::random::Random;

/// The time without power between two starts.
pub const OFF_TIME: Nanos = SECOND;

/// A kind of power supply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supply {
    /// All on-times are equal.
    Fixed,
    /// On-times with a jitter of 20 %.
    Regular,
    /// On-times with a jitter of 50 %.
    Periodic,
    /// Failures that are equally likely at every moment.
    Exponential,
    /// Short on-times in bursts, and long ones between the bursts.
    Bursty,
    /// Failures that are most likely shortly after a start.
    Weibull,
}

impl Supply {
    /// All supplies.
    pub const ALL: [Self; 6] =
        [Self::Fixed, Self::Regular, Self::Periodic, Self::Exponential, Self::Bursty, Self::Weibull];

    /// Returns whether the on-times are so similar that a fixed interval can save shortly before most of the failures.
    #[must_use]
    pub const fn is_predictable(self) -> bool {
        matches!(self, Supply::Fixed | Supply::Regular)
    }

    /// Returns the name in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Supply::Fixed => "fixed",
            Supply::Regular => "regular",
            Supply::Periodic => "periodic",
            Supply::Exponential => "exponential",
            Supply::Bursty => "bursty",
            Supply::Weibull => "Weibull",
        }
    }

    /// Returns the first on-times of a supply with this mean on-time. Their sum is at least `powered`, and there are at
    /// least `failures` of them. The same seed gives the same on-times.
    #[must_use]
    pub fn trace(self, mean: Nanos, powered: Nanos, failures: usize, seed: u64) -> Vec<Nanos> {
        let mut random = Random::new(seed);
        let (mut trace, mut sum, mut is_burst) = (Vec::new(), 0, false);
        while sum < powered || trace.len() < failures {
            let factor = match self {
                Supply::Fixed => 1.0,
                Supply::Regular => 0.8 + 0.4 * uniform(&mut random),
                Supply::Periodic => 0.5 + uniform(&mut random),
                Supply::Exponential => exponential(&mut random),
                Supply::Bursty => {
                    is_burst ^= uniform(&mut random) < 0.15;
                    exponential(&mut random) * if is_burst { 0.125 } else { 1.875 }
                }
                // 1.5046 = Γ(1 + 1 / 0.6), the mean without the division.
                Supply::Weibull => exponential(&mut random).powf(1.0 / 0.6) / 1.5046,
            };
            let time = (mean as f64 * factor) as Nanos;
            trace.push(time);
            sum += time;
        }
        trace
    }
}

/// Returns a number in the range 0 < x < 1.
fn uniform(random: &mut Random) -> f64 {
    ((random.bits() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// Returns an exponentially distributed number with the mean 1.
fn exponential(random: &mut Random) -> f64 {
    -uniform(random).ln()
}
