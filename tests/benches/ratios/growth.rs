//! The growth of costs: `cargo bench --bench ratios -- --svg` writes the chart docs/bench-growth.svg.
//!
//! The chart has panels with logarithmic axes: cost by number of elements (scan and encoder), by number of tensors in a
//! checkpoint, by `n_saved`, and by number of attached handlers.

use crate::measure::Group;
use crate::{bytes, handlers, scan};
use std::fmt::Write;
use std::hint::black_box;
use training_monitor::ModelCheckpoint;
use training_monitor_std::Crc32Fast;

struct Panel {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// Measures the run times for each value on the x axis, and returns a panel of the chart with a line for each variant
/// (implementation).
fn measure_panel(
    title: &'static str,
    x: &'static str,
    y: &'static str,
    points: impl Iterator<Item = (f64, Group<'static>)>,
) -> Panel {
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for (x_value, group) in points {
        let group = group.measure(11);
        for name in group.names() {
            let point = (x_value, group.time(name).median);
            match lines.iter_mut().find(|line| line.0 == name) {
                Some(line) => line.1.push(point),
                None => lines.push((name, vec![point])),
            }
        }
    }
    Panel { title, x, y, lines }
}

fn elements() -> impl Iterator<Item = usize> {
    (10..=24).step_by(2).map(|power| 1 << power)
}

fn encode(elements: usize) -> Group<'static> {
    let net = bytes::Net::new(elements, 1);
    let (mut target, mut copy) = (vec![0; elements * 4 + 4096], vec![0u8; elements * 4]);
    let values = net.tensors[0].clone();
    Group::new("encode", elements, "ns/f32")
        .variant("encode", move || bytes::encode::<Crc32Fast>(&net, &mut target))
        .variant("memcpy", move || black_box(&mut copy).copy_from_slice(bytemuck::cast_slice(&values)))
}

fn tensors(count: usize) -> Group<'static> {
    const ELEMENTS: usize = 1 << 16;
    let net = bytes::Net::new(ELEMENTS, count);
    let mut target = vec![0; ELEMENTS * 4 + 16384];
    Group::new("tensors", 1000, "µs").variant("encode", move || bytes::encode::<Crc32Fast>(&net, &mut target))
}

fn ranking(n_saved: u32) -> Group<'static> {
    let policy = ModelCheckpoint::<64>::by_score().with_n_saved(n_saved).expect("a valid number");
    let mut ascending = policy.clone();
    let mut descending = policy;
    let (mut ascending_score, mut descending_score) = (0u32, u32::MAX / 2);
    Group::new("n_saved", 1, "ns/call")
        .variant("every score enters", move || {
            ascending_score = ascending_score.wrapping_add(1);
            ascending.update(Some(ascending_score as f32)).map(|decision| ascending.record_commit(decision))
        })
        .variant("no score enters", move || {
            descending_score -= 1;
            descending.update(Some(descending_score as f32)).map(|decision| descending.record_commit(decision))
        })
}

fn attached_handlers() -> Option<Panel> {
    let line = |kind: &str| {
        let count = |n: u32| Some((f64::from(n.max(1)), handlers::count(&format!("engine, {n} {kind}"))?));
        [0, 4, 8, 16].into_iter().map(count).collect::<Option<Vec<_>>>()
    };
    Some(Panel {
        title: "Attached handlers (the first point is 0)",
        x: "handlers",
        y: "instructions per iteration",
        lines: vec![("check every output", line("guards")?), ("attached to other events", line("inactive")?)],
    })
}

/// Measures all panels and returns the chart as SVG.
pub fn chart() -> String {
    let values: &'static [f32] = Vec::leak(scan::weights(1 << 24));
    let mut panels = vec![
        measure_panel("Scan", "f32", "ns per f32", elements().map(|n| (n as f64, scan::group(&values[..n], "")))),
        measure_panel("Encode with CRC", "f32", "ns per f32", elements().map(|n| (n as f64, encode(n)))),
        measure_panel(
            "Tensors per checkpoint, 65 536 f32",
            "tensors",
            "µs per checkpoint",
            (0..=6).map(|power| (f64::from(1 << power), tensors(1 << power))),
        ),
        measure_panel(
            "n_saved",
            "n_saved",
            "ns per call",
            (0..=6).map(|power| (f64::from(1 << power), ranking(1 << power))),
        ),
    ];
    panels.extend(attached_handlers());
    svg(&panels)
}

const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 250.0;
const COLORS: [&str; 4] = ["#777777", "#2b8a3e", "#1864ab", "#c92a2a"];

fn svg(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(2) as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        2.0 * WIDTH,
        rows * HEIGHT
    );
    for (index, panel) in panels.iter().enumerate() {
        let (column, row) = ((index % 2) as f64, (index / 2) as f64);
        draw(&mut out, panel, column * WIDTH, row * HEIGHT).expect("writing to a String does not fail");
    }
    out + "</svg>\n"
}

/// Returns the range of exponents of `base` that contains all `values`.
fn range(values: impl Iterator<Item = f64> + Clone, base: f64) -> (f64, f64) {
    let low = values.clone().fold(f64::INFINITY, f64::min).log(base).floor();
    let high = values.fold(0.0, f64::max).log(base).ceil();
    (low, if high > low { high } else { low + 1.0 })
}

fn draw(out: &mut String, panel: &Panel, left: f64, top: f64) -> std::fmt::Result {
    let points = panel.lines.iter().flat_map(|line| &line.1);
    let (x_low, x_high) = range(points.clone().map(|point| point.0), 4.0);
    let (y_low, y_high) = range(points.map(|point| point.1), 10.0);
    let x = |value: f64| left + 50.0 + (value.log(4.0) - x_low) / (x_high - x_low) * (WIDTH - 80.0);
    let y = |value: f64| top + HEIGHT - 40.0 - (value.log10() - y_low) / (y_high - y_low) * (HEIGHT - 75.0);
    writeln!(out, "<text x=\"{}\" y=\"{}\" font-size=\"13\">{}</text>", left + 50.0, top + 20.0, panel.title)?;
    for decade in y_low as i32..=y_high as i32 {
        let value = 10f64.powi(decade);
        let (x_start, x_end, y_value) = (left + 50.0, left + WIDTH - 30.0, y(value));
        writeln!(out, "<path d=\"M{x_start} {y_value:.1}H{x_end}\" stroke=\"#dddddd\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", x_start - 4.0, y_value + 4.0)?;
    }
    for power in x_low as i32..=x_high as i32 {
        let value = 4f64.powi(power);
        let label = match value as u64 {
            value if value >= 1 << 20 => format!("{} M", value >> 20),
            value if value >= 1 << 10 => format!("{} k", value >> 10),
            value => value.to_string(),
        };
        writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            x(value),
            top + HEIGHT - 25.0
        )?;
    }
    let middle = left + 50.0 + (WIDTH - 80.0) / 2.0;
    writeln!(out, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", top + HEIGHT - 10.0, panel.x)?;
    writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", left + WIDTH - 30.0, top + 20.0, panel.y)?;
    for (index, ((name, line), color)) in panel.lines.iter().zip(COLORS).enumerate() {
        let path: Vec<String> = line.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        writeln!(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>", path.join(" "))?;
        let text_y = top + 40.0 + 14.0 * index as f64;
        writeln!(out, "<text x=\"{}\" y=\"{text_y}\" fill=\"{color}\">{name}</text>", left + 60.0)?;
    }
    Ok(())
}
