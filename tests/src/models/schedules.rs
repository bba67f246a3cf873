//! Models of the schedules of torch 1.13 and Ignite 0.5.5, in f64. They follow the rules by which these libraries compute
//! a value from the previous one, step by step. The library under test computes each value directly from the step.

use std::f64::consts::PI;

/// A schedule of torch. The fields have torch's names.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "the fields are the parameters of torch's schedulers")]
pub enum Torch {
    Step { step_size: u32, gamma: f64 },
    MultiStep { milestones: Vec<u32>, gamma: f64 },
    Exponential { gamma: f64 },
    Linear { start_factor: f64, end_factor: f64, total_iters: u32 },
    Constant { factor: f64, total_iters: u32 },
    Polynomial { total_iters: u32, power: f64 },
    Cosine { t_max: u32, eta_min: f64 },
}

impl Torch {
    /// Returns the learning rates of the first `count` steps. They begin with the rate `base` of the optimizer, to which
    /// the rule of step 0 is applied.
    pub fn values(&self, base: f64, count: u32) -> Vec<f64> {
        let rates = (0..count).scan(base, |rate, step| {
            *rate = self.next(base, *rate, step);
            Some(*rate)
        });
        rates.collect()
    }

    /// Returns the rate of `step`, given the rate of the previous step.
    fn next(&self, base: f64, rate: f64, step: u32) -> f64 {
        let t = f64::from(step);
        match self {
            Torch::Step { step_size, gamma } => {
                if step == 0 || !step.is_multiple_of(*step_size) {
                    rate
                } else {
                    rate * gamma
                }
            }
            Torch::MultiStep { milestones, gamma } => {
                milestones.iter().filter(|milestone| **milestone == step).fold(rate, |rate, _| rate * gamma)
            }
            Torch::Exponential { gamma } => {
                if step == 0 {
                    rate
                } else {
                    rate * gamma
                }
            }
            Torch::Linear { start_factor, end_factor, total_iters } => {
                let change = end_factor - start_factor;
                match step {
                    0 => rate * start_factor,
                    _ if step > *total_iters => rate,
                    _ => rate * (1.0 + change / (f64::from(*total_iters) * start_factor + (t - 1.0) * change)),
                }
            }
            Torch::Constant { factor, total_iters } => match step {
                0 => rate * factor,
                _ if step == *total_iters => rate / factor,
                _ => rate,
            },
            Torch::Polynomial { total_iters, power } => {
                if step == 0 || step > *total_iters {
                    return rate;
                }
                let total = f64::from(*total_iters);
                rate * ((1.0 - t / total) / (1.0 - (t - 1.0) / total)).powf(*power)
            }
            Torch::Cosine { t_max, eta_min } => {
                if step == 0 {
                    return base;
                }
                // torch follows the cosine up again after `t_max`; the library holds the final value.
                if step > *t_max {
                    return rate;
                }
                let height = |t: f64| 1.0 + (PI * t / f64::from(*t_max)).cos();
                height(t) / height(t - 1.0) * (rate - eta_min) + eta_min
            }
        }
    }
}

/// Returns the first `count` values of torch's `CosineAnnealingWarmRestarts`.
pub fn cosine_restarts(base: f64, eta_min: f64, t_0: u32, t_mult: u32, count: u32) -> Vec<f64> {
    let (mut step, mut size) = (0_u64, u64::from(t_0));
    let mut values = Vec::new();
    for _ in 0..count {
        let angle = PI * step as f64 / size as f64;
        values.push(eta_min + (base - eta_min) * (1.0 + angle.cos()) / 2.0);
        step += 1;
        if step >= size {
            step -= size;
            size *= u64::from(t_mult);
        }
    }
    values
}

/// Returns the value of torch's `CyclicLR`, without the scale of its mode. The second result is the number of the cycle,
/// from 1.
pub fn cyclic(base: f64, max: f64, up: u32, down: u32, step: u32) -> (f64, f64) {
    let total = f64::from(up) + f64::from(down);
    let ratio = f64::from(up) / total;
    let cycle = (1.0 + f64::from(step) / total).floor();
    let x = 1.0 + f64::from(step) / total - cycle;
    let scale = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
    ((max - base) * scale, cycle)
}

/// A cyclical scheduler of Ignite. Each call of [`call`](Self::call) is an event.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "the fields are the parameters of Ignite's schedulers")]
pub struct Cyclical {
    pub start_value: f64,
    pub end_value: f64,
    pub cycle_size: u32,
    pub cycle_mult: f64,
    pub start_value_mult: f64,
    pub end_value_mult: f64,
    pub warmup_duration: u32,
    pub curve: Curve,
    /// The number of events in the current cycle.
    pub event_index: u32,
}

/// The curve of a [`Cyclical`] scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Curve {
    /// `CosineAnnealingScheduler`.
    Cosine,
    /// `LinearCyclicalScheduler`.
    Triangle,
    /// `LinearCyclicalScheduler` with `monotonic=True`.
    Monotonic,
}

impl Cyclical {
    /// Returns the value of the next event.
    pub fn call(&mut self) -> f64 {
        let total = self.cycle_size + self.warmup_duration;
        if self.event_index != 0 && self.event_index == self.cycle_size {
            self.start_value *= self.start_value_mult;
        }
        if self.event_index != 0 && self.event_index == total {
            let next = |size: u32| (f64::from(size) * self.cycle_mult) as u32;
            // Ignite divides by zero if the size becomes 0.
            (self.cycle_size, self.warmup_duration) = (next(self.cycle_size).max(1), next(self.warmup_duration));
            self.end_value *= self.end_value_mult;
            self.event_index = 0;
        }
        let (start, end) = (self.start_value, self.end_value);
        let value = if self.event_index > self.cycle_size {
            let progress = f64::from(self.event_index - self.cycle_size) / f64::from(self.warmup_duration);
            end + (start - end) * progress
        } else {
            let progress = f64::from(self.event_index) / f64::from(self.cycle_size);
            match self.curve {
                Curve::Cosine => start + (end - start) / 2.0 * (1.0 - (PI * progress).cos()),
                Curve::Triangle => end + (start - end) * (progress - 0.5).abs() * 2.0,
                Curve::Monotonic => start + (end - start) * progress,
            }
        };
        self.event_index += 1;
        value
    }
}

/// torch's `OneCycleLR`. The fields have torch's names.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(missing_docs, reason = "the fields are the parameters of torch's scheduler")]
pub struct OneCycle {
    pub max_lr: f64,
    pub total_steps: u32,
    pub pct_start: f64,
    pub div_factor: f64,
    pub final_div_factor: f64,
    pub is_linear: bool,
    pub three_phase: bool,
}

impl OneCycle {
    /// Returns the value of a step. From the last step, the value holds; torch raises an error there.
    pub fn value(&self, step: u32) -> f64 {
        let total = f64::from(self.total_steps);
        let step = f64::from(step).min(total - 1.0);
        let initial = self.max_lr / self.div_factor;
        let min = initial / self.final_div_factor;
        let up = self.pct_start * total - 1.0;
        let phases = if self.three_phase {
            vec![(up, initial, self.max_lr), (2.0 * up, self.max_lr, initial), (total - 1.0, initial, min)]
        } else {
            vec![(up, initial, self.max_lr), (total - 1.0, self.max_lr, min)]
        };
        let mut start_step = 0.0;
        for (index, (end_step, start, end)) in phases.iter().copied().enumerate() {
            if step <= end_step || index + 1 == phases.len() {
                let progress = (step - start_step) / (end_step - start_step);
                let progress = if end_step > start_step { progress.clamp(0.0, 1.0) } else { 1.0 };
                let progress = if self.is_linear { progress } else { (1.0 - (PI * progress).cos()) / 2.0 };
                return start + (end - start) * progress;
            }
            start_step = end_step;
        }
        min
    }
}

/// Returns the value of Ignite's `PiecewiseLinear` at a step.
pub fn piecewise_linear(milestones: &[(u32, f32)], step: u32) -> f64 {
    let point = |(step, value): (u32, f32)| (f64::from(step), f64::from(value));
    let passed = milestones.iter().filter(|(milestone, _)| *milestone <= step).count();
    match (passed.checked_sub(1).map(|last| point(milestones[last])), milestones.get(passed).copied().map(point)) {
        (Some((start, value)), Some((end, next))) => value + (next - value) * (f64::from(step) - start) / (end - start),
        (Some((_, value)), None) | (None, Some((_, value))) => value,
        (None, None) => f64::NAN,
    }
}
