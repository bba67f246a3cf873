//! The chart of the benchmark: the useful share over the fixed interval, with a panel for each memory.
//!
//! A line belongs to a mean on-time. It is solid where the interval holds the bounds, and dashed elsewhere. A filled dot
//! is the policy, at its mean time between saves. A hollow dot is the calculated interval.

use super::cases::{CaseResult, years};
use super::model::{FixedInterval, MAX_OVERHEAD, all_intervals};
use super::parts::LIFETIMES;
use super::supply::Supply;
use super::time::{DAY, HOUR, MINUTE, Nanos, SECOND, format};
use std::fmt::{self, Write};

const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 270.0;
const TOP: f64 = 44.0;
/// The space around the axes of a panel: left, top, right, bottom.
const MARGIN: [f64; 4] = [48.0, 26.0, 16.0, 44.0];
const COLORS: [&str; 4] = ["#1864ab", "#2b8a3e", "#d9480f", "#862e9c"];
/// The range of the horizontal axis.
const INTERVALS: (Nanos, Nanos) = (SECOND / 5, 12 * HOUR);
const TICKS: [Nanos; 7] = [SECOND, 10 * SECOND, MINUTE, 10 * MINUTE, HOUR, 10 * HOUR, DAY];

/// Returns the chart as an SVG image. It shows the supply with exponential on-times and the shortest lifetime.
#[must_use]
pub fn draw(results: &[CaseResult]) -> String {
    let is_shown =
        |result: &&CaseResult| result.case.supply == Supply::Exponential && result.case.lifetime == LIFETIMES[0];
    let shown: Vec<&CaseResult> = results.iter().filter(is_shown).collect();
    let panels: Vec<&[&CaseResult]> = shown.chunk_by(|a, b| a.case.part.kind == b.case.part.kind).collect();
    let mut svg = String::new();
    // Writing to a `String` cannot fail.
    let _ = draw_panels(&mut svg, &panels);
    svg
}

fn draw_panels(svg: &mut String, panels: &[&[&CaseResult]]) -> fmt::Result {
    let (width, height) = (2.0 * WIDTH, TOP + panels.len().div_ceil(2) as f64 * HEIGHT);
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    )?;
    writeln!(
        svg,
        "<text x=\"{}\" y=\"18\" font-size=\"13\">Useful share of the time with power, over the fixed interval between \
         saves (exponential on-times)</text>",
        MARGIN[0]
    )?;
    writeln!(
        svg,
        "<text x=\"{}\" y=\"36\">solid: within the wear budget and {:.1} % overhead · filled dot: adaptive policy · \
         hollow dot: calculated interval</text>",
        MARGIN[0],
        100.0 * MAX_OVERHEAD
    )?;
    for (index, panel) in panels.iter().enumerate() {
        let corner = ((index % 2) as f64 * WIDTH, TOP + (index / 2) as f64 * HEIGHT);
        draw_panel(svg, panel, corner)?;
    }
    writeln!(svg, "</svg>")
}

/// The axes of a panel.
#[derive(Clone, Copy)]
struct Axes {
    left: f64,
    top: f64,
}

impl Axes {
    const WIDTH: f64 = WIDTH - MARGIN[0] - MARGIN[2];
    const HEIGHT: f64 = HEIGHT - MARGIN[1] - MARGIN[3];

    fn x(self, interval: Nanos) -> f64 {
        let (low, high) = ((INTERVALS.0 as f64).ln(), (INTERVALS.1 as f64).ln());
        self.left + ((interval.max(1) as f64).ln() - low) / (high - low) * Self::WIDTH
    }

    fn y(self, share: f64) -> f64 {
        self.top + (1.0 - share) * Self::HEIGHT
    }
}

fn draw_panel(svg: &mut String, results: &[&CaseResult], (left, top): (f64, f64)) -> fmt::Result {
    let axes = Axes { left: left + MARGIN[0], top: top + MARGIN[1] };
    let (right, bottom) = (axes.left + Axes::WIDTH, axes.top + Axes::HEIGHT);
    let case = results[0].case;
    let lasts = case
        .part
        .endurance
        .map_or_else(String::new, |_| format!(", {} slots must last for {}", case.part.slots, years(case.lifetime)));
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" font-size=\"13\">{}: a save takes {}{lasts}</text>",
        axes.left,
        axes.top - 8.0,
        case.part.name,
        format(results[0].durations.save)
    )?;
    for step in 0..=4_u8 {
        let y = axes.y(f64::from(step) / 4.0);
        writeln!(svg, "<path d=\"M{} {y:.1}H{right}\" stroke=\"#dddddd\"/>", axes.left)?;
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
            axes.left - 4.0,
            y + 4.0,
            25 * step
        )?;
    }
    for tick in TICKS.into_iter().filter(|tick| *tick <= INTERVALS.1) {
        let x = axes.x(tick);
        writeln!(svg, "<path d=\"M{x:.1} {bottom}v4\" stroke=\"#999999\"/>")?;
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 16.0, format(tick))?;
    }
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">interval between saves</text>",
        (axes.left + right) / 2.0,
        bottom + 32.0
    )?;
    for (index, (result, color)) in results.iter().zip(COLORS).enumerate() {
        draw_curve(svg, result, axes, color)?;
        let y = bottom - 8.0 - 14.0 * index as f64;
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{y:.1}\" fill=\"{color}\">mean on-time {}</text>",
            axes.left + 8.0,
            format(result.case.mean)
        )?;
    }
    Ok(())
}

fn draw_curve(svg: &mut String, result: &CaseResult, axes: Axes, color: &str) -> fmt::Result {
    let fixed: Vec<FixedInterval> = all_intervals(result.durations, result.case.budget(), &result.case.trace())
        .filter(|fixed| (INTERVALS.0..=INTERVALS.1).contains(&fixed.interval))
        .collect();
    let holds =
        |fixed: &FixedInterval| fixed.prediction.is_within_budget && fixed.prediction.costs.overhead() <= MAX_OVERHEAD;
    for part in fixed.chunk_by(|a, b| holds(a) == holds(b)) {
        let point = |fixed: &FixedInterval| {
            let share = fixed.prediction.costs.useful_share();
            format!("{:.1},{:.1}", axes.x(fixed.interval), axes.y(share))
        };
        let points: Vec<String> = part.iter().map(point).collect();
        let dash = if holds(&part[0]) { "" } else { " stroke-dasharray=\"2 3\" opacity=\"0.6\"" };
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"{dash}/>",
            points.join(" ")
        )?;
    }
    let costs = &result.policy.costs;
    let optimum = &result.optimum;
    let dots = [
        (optimum.interval, optimum.prediction.costs.useful_share(), "white", 5.0),
        (costs.powered.checked_div(costs.saves).unwrap_or(INTERVALS.1), costs.useful_share(), color, 3.0),
    ];
    for (interval, share, fill, radius) in dots {
        writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{color}\" stroke-width=\"1.5\"/>",
            axes.x(interval),
            axes.y(share)
        )?;
    }
    Ok(())
}
