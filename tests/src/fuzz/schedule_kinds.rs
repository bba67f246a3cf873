//! The kinds of schedules, with any settings: the schedule of the library, the rule of torch or Ignite, and the bounds.

use crate::models::number::{Counter, Number};
use crate::models::schedules::{
    Curve, Cyclical, OneCycle as OneCycleModel, Torch, cosine_restarts, cyclic, piecewise_linear,
};
use arbitrary::Arbitrary;
use training_monitor::handlers::schedules::{
    Anneal, Constant, Cosine, CosineAnnealing, CosineRestarts, Cyclic, CyclicMode, Exponential, Lambda, Linear,
    LinearCyclical, MultiStep, OneCycle, PiecewiseLinear, Polynomial, StepDecay,
};
use training_monitor::{ConfigError, Schedule};

/// A factor: a fraction from 0 to 255/32, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Factor {
    Share(u8),
    Any(Number),
}

impl Factor {
    fn get(self) -> f32 {
        match self {
            Factor::Share(share) => f32::from(share) / 32.0,
            Factor::Any(Number(factor)) => factor,
        }
    }

    fn is_valid(self) -> bool {
        self.get() >= 0.0 && self.get().is_finite()
    }

    /// Whether products with small integers are exact.
    const fn is_exact(self) -> bool {
        matches!(self, Factor::Share(_))
    }
}

/// A schedule and its settings. Each kind has the names of its documentation.
#[derive(Arbitrary, Debug)]
pub(super) enum Kind {
    Step { base: Number, step_size: Counter, gamma: Factor },
    MultiStep { base: Number, milestones: Vec<Counter>, is_sorted: bool, gamma: Factor },
    Exponential { base: Number, gamma: Factor },
    Linear { base: Number, start: Factor, end: Factor, total: Counter },
    Constant { base: Number, factor: Factor, total: Counter },
    Polynomial { base: Number, power: Factor, total: Counter },
    Cosine { base: Number, eta_min: Number, t_max: Counter },
    Restarts { base: Number, eta_min: Number, t_0: Counter, t_mult: Counter },
    OneCycle { max: Number, total: Counter, pct: Factor, div: [Factor; 2], is_linear: bool, three_phase: bool },
    Cyclic { base: Number, max: Number, up: Counter, down: Counter, mode: Mode },
    Cyclical { start: Number, end: Number, size: Counter, mult: Factor, mults: [Factor; 2], warmup: Counter, curve: u8 },
    Piecewise { milestones: Vec<(Counter, Number)>, is_sorted: bool },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Mode {
    Triangular,
    Triangular2,
    ExpRange(Factor),
}

/// A schedule of the library with valid settings.
pub(super) struct Built<'a> {
    pub schedule: Box<dyn Schedule + 'a>,
    /// The smallest and the largest possible value.
    pub bounds: (f32, f32),
    /// The permitted difference from the rule, in addition to a relative one.
    pub absolute_tolerance: f64,
    /// The step from which the value no longer changes.
    pub held_from: Option<u32>,
}

/// Returns the range from `a` to `b`, with a margin for the rounding of an interpolation.
pub(super) fn widen(a: f32, b: f32) -> (f32, f32) {
    let margin = a.abs().max(b.abs()) * 3e-7;
    ((a.min(b) - margin).max(f32::MIN), (a.max(b) + margin).min(f32::MAX))
}

impl<'a> Built<'a> {
    /// A schedule whose values lie between `a` and `b`.
    fn between(schedule: impl Schedule + 'a, a: f32, b: f32, held_from: Option<u32>) -> Self {
        let (a, b) = (a.clamp(f32::MIN, f32::MAX), b.clamp(f32::MIN, f32::MAX));
        let absolute_tolerance = 2e-6 * f64::from(a.abs().max(b.abs()));
        Built { schedule: Box::new(schedule), bounds: widen(a, b), absolute_tolerance, held_from }
    }

    /// A schedule whose values are `base` times a power of `gamma`.
    fn power(schedule: impl Schedule + 'a, base: f32, gamma: f32) -> Self {
        if gamma <= 1.0 {
            return Built::between(schedule, 0.0, base, None);
        }
        let limit = if base == 0.0 { 0.0 } else { f32::MAX.copysign(base) };
        Built { absolute_tolerance: 0.0, ..Built::between(schedule, base, limit, None) }
    }
}

/// Returns the schedule if the settings are valid, and checks that the library accepts exactly these.
fn accept<S>(built: Result<S, ConfigError>, is_valid: bool, kind: &Kind) -> Option<S> {
    assert_eq!(built.is_ok(), is_valid, "{:?}: {kind:?}", built.err());
    built.ok()
}

fn sorted<T: Clone>(items: &[T], is_sorted: bool, key: impl Fn(&T) -> u32) -> Vec<T> {
    let mut items = items[..items.len().min(12)].to_vec();
    if is_sorted {
        items.sort_by_key(key);
    }
    items
}

impl Kind {
    fn milestones(&self) -> Vec<u32> {
        let Kind::MultiStep { milestones, is_sorted, .. } = self else { return Vec::new() };
        sorted(milestones, *is_sorted, |milestone| milestone.0).into_iter().map(|milestone| milestone.0).collect()
    }

    fn points(&self) -> Vec<(u32, f32)> {
        let Kind::Piecewise { milestones, is_sorted } = self else { return Vec::new() };
        let points = sorted(milestones, *is_sorted, |point| point.0.0);
        points.into_iter().map(|(Counter(step), Number(value))| (step, value)).collect()
    }

    /// Returns the schedule of the library. Returns `None` if the settings are invalid, and the library refuses them.
    pub(super) fn build(&self) -> Option<Built<'_>> {
        Some(match *self {
            Kind::Step { base: Number(base), step_size: Counter(size), gamma } => {
                let is_valid = base.is_finite() && size > 0 && gamma.is_valid();
                let schedule = accept(StepDecay::new(base, size, gamma.get()), is_valid, self)?;
                Built::power(schedule, base, gamma.get())
            }
            Kind::MultiStep { base: Number(base), gamma, .. } => {
                let (milestones, gamma_value) = (self.milestones(), gamma.get());
                let is_valid = base.is_finite() && milestones.is_sorted() && gamma.is_valid();
                accept(MultiStep::new(base, &milestones, gamma_value), is_valid, self)?;
                let value = move |step| {
                    MultiStep::new(base, &milestones, gamma_value).map_or(f32::NAN, |schedule| schedule.value(step))
                };
                Built::power(Lambda(value), base, gamma_value)
            }
            Kind::Exponential { base: Number(base), gamma } => {
                let schedule = Exponential::new(base, gamma.get());
                Built::power(accept(schedule, base.is_finite() && gamma.is_valid(), self)?, base, gamma.get())
            }
            Kind::Linear { base: Number(base), start, end, total: Counter(total) } => {
                let is_valid = base.is_finite() && start.is_valid() && end.is_valid() && total > 0;
                let schedule = accept(Linear::new(base, start.get(), end.get(), total), is_valid, self)?;
                let built = Built::between(schedule, base * start.get(), base * end.get(), Some(total));
                // The interpolated factor can be a subnormal number.
                let absolute_tolerance = built.absolute_tolerance + f64::from(base.abs()) * 3e-45;
                let margin = absolute_tolerance as f32;
                let bounds = ((built.bounds.0 - margin).max(f32::MIN), (built.bounds.1 + margin).min(f32::MAX));
                Built { absolute_tolerance, bounds, ..built }
            }
            Kind::Constant { base: Number(base), factor, total: Counter(total) } => {
                let is_valid = base.is_finite() && factor.is_valid();
                let schedule = accept(Constant::new(base, factor.get(), total), is_valid, self)?;
                Built::between(schedule, base * factor.get(), base, Some(total))
            }
            Kind::Polynomial { base: Number(base), power, total: Counter(total) } => {
                let is_valid = base.is_finite() && power.is_valid() && total > 0;
                let schedule = accept(Polynomial::new(base, power.get(), total), is_valid, self)?;
                Built::between(schedule, 0.0, base, Some(total))
            }
            Kind::Cosine { base: Number(base), eta_min: Number(eta_min), t_max: Counter(t_max) } => {
                let schedule = Cosine::new(base, t_max).and_then(|schedule| schedule.with_eta_min(eta_min));
                let is_valid = base.is_finite() && eta_min.is_finite() && t_max > 0;
                Built::between(accept(schedule, is_valid, self)?, base, eta_min, Some(t_max))
            }
            Kind::Restarts { base: Number(base), eta_min: Number(eta_min), t_0, t_mult } => {
                let schedule = CosineRestarts::new(base, t_0.0)
                    .and_then(|schedule| schedule.with_t_mult(t_mult.0))
                    .and_then(|schedule| schedule.with_eta_min(eta_min));
                let is_valid = base.is_finite() && eta_min.is_finite() && t_0.0 > 0 && t_mult.0 > 0;
                Built::between(accept(schedule, is_valid, self)?, base, eta_min, None)
            }
            Kind::OneCycle { max: Number(max), total: Counter(total), pct, div, is_linear, three_phase } => {
                let schedule = OneCycle::new(max, total)
                    .and_then(|schedule| schedule.with_pct_start(pct.get()))
                    .and_then(|schedule| schedule.with_div_factors(div[0].get(), div[1].get()));
                let is_valid = max.is_finite()
                    && total > 0
                    && (0.0..=1.0).contains(&pct.get())
                    && div.iter().all(|div| div.is_valid() && div.get() >= 1.0);
                let anneal = if is_linear { Anneal::Linear } else { Anneal::Cos };
                let schedule = accept(schedule, is_valid, self)?.with_anneal(anneal).with_three_phase(three_phase);
                Built::between(schedule, max / div[0].get() / div[1].get(), max, Some(total - 1))
            }
            Kind::Cyclic { base: Number(base), max: Number(max), up, down, mode } => {
                let (library_mode, is_valid_mode) = match mode {
                    Mode::Triangular => (CyclicMode::Triangular, true),
                    Mode::Triangular2 => (CyclicMode::Triangular2, true),
                    Mode::ExpRange(gamma) => (CyclicMode::ExpRange(gamma.get()), (0.0..=1.0).contains(&gamma.get())),
                };
                let schedule = Cyclic::new(base, max, up.0, down.0);
                let schedule = schedule.and_then(|schedule| schedule.with_mode(library_mode));
                let is_valid = base.is_finite() && max.is_finite() && up.0 > 0 && down.0 > 0 && is_valid_mode;
                Built::between(accept(schedule, is_valid, self)?, base, max, None)
            }
            Kind::Cyclical { start, end, size, mult, mults, warmup, curve } => {
                let (start, end) = (start.0, end.0);
                let is_valid = start.is_finite()
                    && end.is_finite()
                    && size.0 >= 2
                    && mult.is_valid()
                    && mult.get() > 0.0
                    && mults.iter().all(|mult| mult.is_valid());
                let (start_mult, end_mult) = (mults[0].get(), mults[1].get());
                let grows = start_mult > 1.0 || end_mult > 1.0;
                let limit = if grows { f32::MAX } else { start.abs().max(end.abs()) };
                if curve % 3 == 0 {
                    let schedule = CosineAnnealing::new(start, end, size.0)
                        .and_then(|schedule| schedule.with_cycle_mult(mult.get()))
                        .and_then(|schedule| schedule.with_value_mults(start_mult, end_mult));
                    let schedule = accept(schedule, is_valid, self)?.with_warmup_duration(warmup.0);
                    return Some(Built::between(schedule, -limit, limit, None));
                }
                let schedule = LinearCyclical::new(start, end, size.0)
                    .and_then(|schedule| schedule.with_cycle_mult(mult.get()))
                    .and_then(|schedule| schedule.with_value_mults(start_mult, end_mult));
                let schedule = accept(schedule, is_valid, self)?;
                let schedule = if curve % 3 == 1 { schedule } else { schedule.with_monotonic(warmup.0) };
                Built::between(schedule, -limit, limit, None)
            }
            Kind::Piecewise { .. } => {
                let points = self.points();
                let is_sorted = points.is_sorted_by_key(|point| point.0);
                let is_valid = !points.is_empty() && is_sorted && points.iter().all(|point| point.1.is_finite());
                accept(PiecewiseLinear::new(&points), is_valid, self)?;
                let values = || points.iter().map(|point| point.1);
                let (low, high) = (values().fold(f32::MAX, f32::min), values().fold(f32::MIN, f32::max));
                let held_from = points.last().map(|point| point.0);
                let value = move |step| PiecewiseLinear::new(&points).map_or(f32::NAN, |schedule| schedule.value(step));
                Built::between(Lambda(value), low, high, held_from)
            }
        })
    }

    /// Returns the values of the first steps by the rule of torch or Ignite. Returns `None` if the rule divides by zero, or
    /// if its result depends on the rounding of the settings.
    pub(super) fn values(&self, count: u32) -> Option<Vec<f64>> {
        let wide = |number: Number| f64::from(number.0);
        let factor = |factor: Factor| f64::from(factor.get());
        match *self {
            Kind::Step { base, step_size, gamma } => {
                Some(Torch::Step { step_size: step_size.0, gamma: factor(gamma) }.values(wide(base), count))
            }
            Kind::MultiStep { base, gamma, .. } => {
                let rule = Torch::MultiStep { milestones: self.milestones(), gamma: factor(gamma) };
                // A milestone of step 0 applies at once, as in torch.
                Some(rule.values(wide(base), count))
            }
            Kind::Exponential { base, gamma } => {
                Some(Torch::Exponential { gamma: factor(gamma) }.values(wide(base), count))
            }
            Kind::Linear { base, start, end, total } => {
                let rule = Torch::Linear { start_factor: factor(start), end_factor: factor(end), total_iters: total.0 };
                // torch computes each value from the previous one, which cannot be limited to the finite numbers.
                let is_finite = (base.0 * start.get()).is_finite() && (base.0 * end.get()).is_finite();
                (start.get() > 0.0 && is_finite).then(|| rule.values(wide(base), count))
            }
            Kind::Constant { base, factor: multiplier, total } => {
                let rule = Torch::Constant { factor: factor(multiplier), total_iters: total.0 };
                (multiplier.get() > 0.0).then(|| rule.values(wide(base), count))
            }
            Kind::Polynomial { base, power, total } => {
                let rule = Torch::Polynomial { total_iters: total.0, power: factor(power) };
                // A large power magnifies the rounding of the progress.
                (power.get() <= 16.0).then(|| rule.values(wide(base), count))
            }
            Kind::Cosine { base, eta_min, t_max } => {
                Some(Torch::Cosine { t_max: t_max.0, eta_min: wide(eta_min) }.values(wide(base), count))
            }
            Kind::Restarts { base, eta_min, t_0, t_mult } => {
                Some(cosine_restarts(wide(base), wide(eta_min), t_0.0, t_mult.0, count))
            }
            Kind::OneCycle { max, total, pct, div, is_linear, three_phase } => {
                let rule = OneCycleModel {
                    max_lr: wide(max),
                    total_steps: total.0,
                    pct_start: factor(pct),
                    div_factor: factor(div[0]),
                    final_div_factor: factor(div[1]),
                    is_linear,
                    three_phase,
                };
                let is_exact = pct.is_exact() && total.0 < 1 << 16;
                is_exact.then(|| (0..count).map(|step| rule.value(step)).collect())
            }
            Kind::Cyclic { base, max, up, down, mode } => {
                let is_exact = up.0 < 1 << 16 && down.0 < 1 << 16;
                let value = |step| {
                    let (height, cycle) = cyclic(wide(base), wide(max), up.0, down.0, step);
                    let scale = match mode {
                        Mode::Triangular => 1.0,
                        Mode::Triangular2 => 0.5_f64.powf(cycle - 1.0),
                        Mode::ExpRange(gamma) => factor(gamma).powf(f64::from(step)),
                    };
                    wide(base) + height * scale
                };
                is_exact.then(|| (0..count).map(value).collect())
            }
            Kind::Cyclical { start, end, size, mult, mults, warmup, curve } => {
                let mut rule = Cyclical {
                    start_value: wide(start),
                    end_value: wide(end),
                    cycle_size: size.0,
                    cycle_mult: factor(mult),
                    start_value_mult: factor(mults[0]),
                    end_value_mult: factor(mults[1]),
                    warmup_duration: if curve % 3 == 1 { 0 } else { warmup.0 },
                    curve: [Curve::Cosine, Curve::Triangle, Curve::Monotonic][usize::from(curve % 3)],
                    event_index: 0,
                };
                let is_exact = mult.is_exact() && size.0 < 1 << 12 && warmup.0 < 1 << 12;
                let is_finite = |rule: &Cyclical| rule.start_value.abs().max(rule.end_value.abs()) < 1e38;
                let next = || Some(rule.call()).filter(|_| is_finite(&rule));
                is_exact.then(|| std::iter::from_fn(next).take(count as usize).collect())
            }
            Kind::Piecewise { .. } => {
                let points = self.points();
                Some((0..count).map(|step| piecewise_linear(&points, step)).collect())
            }
        }
    }
}
