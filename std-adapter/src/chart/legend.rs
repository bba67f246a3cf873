//! The text below the title: a summary of one run, or a legend of several runs with the best value of each metric.

use super::canvas::{Canvas, FONT, LEFT, RIGHT};
use super::color::{self, FAINT, fill, stroke};
use super::panel::{Panel, is_fraction};
use super::run::Run;
use super::text::{count, escape_xml, format_value, metric_title, shorten};
use crate::progress::variant_to_words;
use std::fmt::{self, Write};

/// The height of a line of the legend, in pixels.
pub(super) const LINE: f64 = 20.0;
/// The maximum number of metrics in a line of the legend.
const MAX_METRICS: usize = 3;
/// The width of the name of a run, in pixels.
const NAME_WIDTH: f64 = 190.0;

/// The summaries of the runs.
pub(super) struct Summary<'a> {
    names: &'a [&'a str],
    /// The parts of the summary of each run.
    runs: Vec<Vec<Part>>,
}

/// A part of a summary, for example the best value of a metric.
struct Part {
    text: String,
    /// Whether this value is the best one of all runs.
    is_winner: bool,
}

/// The best value of a metric in a run.
struct BestValue {
    title: String,
    value: f64,
    is_higher_better: bool,
}

impl<'a> Summary<'a> {
    pub fn new(runs: &[Run], names: &'a [&'a str]) -> Summary<'a> {
        let runs = match runs {
            [run] => vec![summarize(run)],
            runs => compare(runs),
        };
        Summary { names, runs }
    }

    /// Returns the number of lines below the title.
    pub fn lines(&self) -> usize {
        self.runs.len()
    }

    /// Returns the description of the picture for screen readers.
    pub fn describe(&self, panels: &[Panel]) -> String {
        let titles: Vec<&str> = panels.iter().map(|panel| &*panel.title).collect();
        let mut text = format!("Panels: {}.", titles.join(", "));
        for (index, parts) in self.runs.iter().enumerate() {
            let parts: Vec<&str> = parts.iter().map(|part| &*part.text).collect();
            let name = if self.runs.len() > 1 { format!("{}: ", self.names[index]) } else { String::new() };
            text += &format!(" {name}{}.", parts.join(", "));
        }
        text
    }

    /// Draws the summaries. The baseline of the first line is at the y-coordinate `y`.
    pub fn draw(&self, canvas: &mut Canvas, y: f64) -> fmt::Result {
        let is_comparison = self.runs.len() > 1;
        for (index, parts) in self.runs.iter().enumerate() {
            let y = y + LINE * index as f64;
            let mut x = LEFT;
            if is_comparison {
                let (line_y, to, paint) = (y - 4.0, LEFT + 24.0, stroke(color::of_run(index)));
                let dash = color::dash_of_run(index);
                writeln!(canvas.svg, r#"<path d="M{LEFT} {line_y:.1}H{to}" {paint} stroke-width="3"{dash}/>"#)?;
                let name = escape_xml(&shorten(self.names[index], NAME_WIDTH - 60.0, FONT));
                writeln!(canvas.svg, r#"<text x="{:.1}" y="{y:.1}" font-weight="bold">{name}</text>"#, LEFT + 32.0)?;
                x += NAME_WIDTH;
            }
            write!(canvas.svg, r#"<text x="{x:.1}" y="{y:.1}" {}>"#, fill(FAINT))?;
            let mut width = RIGHT - x;
            for (position, part) in parts.iter().enumerate() {
                let separator = if position > 0 { "  ·  " } else { "" };
                let text = shorten(&part.text, width, FONT);
                width -= FONT * 0.5 * (separator.len() + text.chars().count()) as f64;
                let weight = if part.is_winner { r#" font-weight="bold""# } else { "" };
                // `xml:space` keeps the spaces of the separator.
                write!(
                    canvas.svg,
                    r#"<tspan xml:space="preserve">{separator}</tspan><tspan{weight}>{}</tspan>"#,
                    escape_xml(&text)
                )?;
            }
            writeln!(canvas.svg, "</text>")?;
        }
        Ok(())
    }
}

fn part(text: String) -> Part {
    Part { text, is_winner: false }
}

/// Returns the summary of a single run: its length, the best checkpoint, the number of resumes and the stop reason.
fn summarize(run: &Run) -> Vec<Part> {
    let mut length = count(run.iterations as usize, "iteration");
    if run.epochs > 0 {
        length = format!("{}, {length}", count(run.epochs as usize, "epoch"));
    }
    let mut parts = vec![part(length)];
    if let Some((best, metric)) = run.best() {
        let score = best.score.unwrap_or(f64::NAN);
        // If the score is a negated metric, for example a loss, the summary shows the metric without the minus sign.
        let value = match metric {
            Some(name) => format!("{name} {}", format_value(score.abs())),
            None => format!("score {}", format_value(score)),
        };
        parts.push(part(format!("best: step {} ({value})", best.step)));
    }
    match run.resumes.len() {
        0 => (),
        1 => parts.push(part("resumed once".to_owned())),
        n => parts.push(part(format!("resumed {n} times"))),
    }
    parts.extend(run.stop.as_ref().map(|stop| part(format!("ended: {}", variant_to_words(&stop.reason)))));
    parts
}

/// Returns the summaries of several runs: the best value of each metric, and the end of the run. The best values of all
/// runs are marked.
fn compare(runs: &[Run]) -> Vec<Vec<Part>> {
    let best: Vec<Vec<BestValue>> = runs.iter().map(best_values).collect();
    let is_winner = |value: &BestValue| {
        let same = best.iter().flatten().filter(|other| other.title == value.title);
        best.len() > 1
            && same.clone().count() > 1
            && same.clone().all(|other| {
                if value.is_higher_better { other.value <= value.value } else { other.value >= value.value }
            })
    };
    let summarize = |(run, values): (&Run, &Vec<BestValue>)| {
        let values = values.iter().map(|value| {
            let text = format!("best {} {}", value.title, format_value(value.value));
            Part { text, is_winner: is_winner(value) }
        });
        let end = match &run.stop {
            Some(stop) => format!("{} at {}", variant_to_words(&stop.reason), stop.iteration),
            None => format!("no end recorded, {}", count(run.iterations as usize, "iteration")),
        };
        values.chain([part(end)]).collect()
    };
    runs.iter().zip(&best).map(summarize).collect()
}

/// Returns the best value of each metric of the epochs, or of the training loss if there are no such metrics. The best value
/// of a fraction such as an accuracy is the highest one, that of any other metric is the lowest one.
fn best_values(run: &Run) -> Vec<BestValue> {
    let best = |title: &str, points: &[(f64, f64)], is_higher_better: bool| {
        let values = points.iter().map(|(_, value)| *value);
        let value = values.reduce(if is_higher_better { f64::max } else { f64::min })?;
        Some(BestValue { title: title.to_owned(), value, is_higher_better })
    };
    let metrics = run.metrics.iter().filter(|series| !series.is_scalar);
    let metrics =
        metrics.filter_map(|series| best(&metric_title(&series.name), &series.points, is_fraction(&series.name)));
    let mut values: Vec<BestValue> = metrics.take(MAX_METRICS).collect();
    if values.is_empty() {
        values.extend(best("loss", &run.losses.points, false));
    }
    values
}
