//! The lanes of a chart: one row for each checkpoint handler, which shows its saves.
//!
//! A save is a dot: filled if the checkpoint is kept, hollow if it was removed. If the dots of a lane would hide each other,
//! the lane shows bars instead. The height of a bar is the number of saves in its iterations.

use super::annotations::{draw_cross, draw_star};
use super::canvas::{Anchor, Canvas, FONT, GAP, LEFT, RIGHT};
use super::checkpoints::{Lane, Save};
use super::color::{BACKGROUND, FAINT, GRID, LOSS, Paint, REMOVED, fill, stroke};
use super::run::Run;
use super::text::{escape_xml, format_value, shorten};
use std::fmt::{self, Write};

/// The height of a lane in pixels.
pub(super) const LANE_HEIGHT: f64 = 30.0;
/// The minimum distance of two dots in pixels.
const DOT_SPACING: f64 = 8.0;
/// The width of a bar in pixels, with the space to the next one.
const BAR_WIDTH: f64 = 6.0;

/// Draws the lanes of a run. `draw_lines` draws the lines of the annotations between two y-coordinates.
pub(super) fn draw(
    canvas: &mut Canvas,
    run: &Run,
    draw_lines: impl Fn(&mut Canvas, f64, f64) -> fmt::Result,
) -> fmt::Result {
    draw_legend(canvas, run)?;
    draw_lines(canvas, canvas.y, canvas.y + LANE_HEIGHT * run.lanes.len() as f64)?;
    for lane in &run.lanes {
        let y = canvas.y + LANE_HEIGHT / 2.0;
        writeln!(canvas.svg, r#"<path d="M{LEFT} {y:.1}H{RIGHT}" {}/>"#, stroke(GRID))?;
        let is_crowded = is_crowded(canvas, lane);
        let name_y = if is_crowded { y - 2.0 } else { y + 4.0 };
        canvas.text((LEFT - 8.0, name_y), Anchor::End, FAINT, &shorten(&lane.name, LEFT - 12.0, FONT))?;
        if is_crowded {
            draw_bars(canvas, lane, y)?
        } else {
            draw_dots(canvas, lane, y)?
        }
        if let Some(best) = lane.best() {
            let x = canvas.x.position(best.iteration);
            draw_star(&mut canvas.svg, (x, y), 8.0, &format!("best: {}", describe(best)))?;
        }
        for (iteration, error) in &lane.failures {
            let x = canvas.x.position(*iteration);
            draw_cross(&mut canvas.svg, (x, y), &format!("iteration {iteration}: save failed: {error}"))?;
        }
        canvas.y += LANE_HEIGHT;
    }
    canvas.y += GAP;
    Ok(())
}

fn draw_legend(canvas: &mut Canvas, run: &Run) -> fmt::Result {
    let title = canvas.y - 8.0;
    let kept = run.lanes.iter().flat_map(|lane| &lane.saves).filter(|save| save.is_kept).count();
    canvas.heading(title, "checkpoints", &format!("  ·  {kept} kept"))?;
    let has_failures = run.lanes.iter().any(|lane| !lane.failures.is_empty());
    let mut x = RIGHT - if has_failures { 272.0 } else { 178.0 };
    let y = title - 4.0;
    for (text, width) in [("kept", 52.0), ("removed", 78.0), ("best", 52.0), ("save failed", 90.0)] {
        match text {
            "kept" => draw_checkpoint(canvas, (x, y), true, "kept")?,
            "removed" => draw_checkpoint(canvas, (x, y), false, "removed")?,
            "best" => draw_star(&mut canvas.svg, (x, y), 7.0, "best")?,
            _ if has_failures => draw_cross(&mut canvas.svg, (x, y), "save failed")?,
            _ => break,
        }
        canvas.text((x + 10.0, title), Anchor::Start, FAINT, text)?;
        x += width;
    }
    Ok(())
}

/// Returns whether dots would hide each other. A few removed checkpoints may touch.
fn is_crowded(canvas: &Canvas, lane: &Lane) -> bool {
    let is_close =
        |pair: &&[&Save]| canvas.x.position(pair[1].iteration) - canvas.x.position(pair[0].iteration) < DOT_SPACING;
    let kept: Vec<&Save> = lane.saves.iter().filter(|save| save.is_kept).collect();
    let all: Vec<&Save> = lane.saves.iter().collect();
    kept.windows(2).filter(is_close).count() > 2 || all.windows(2).filter(is_close).count() > 20
}

fn draw_dots(canvas: &mut Canvas, lane: &Lane, y: f64) -> fmt::Result {
    // Later symbols cover earlier ones. Therefore the removed checkpoints are drawn first.
    let (kept, removed): (Vec<&Save>, Vec<&Save>) = lane.saves.iter().partition(|save| save.is_kept);
    for save in removed.into_iter().chain(kept) {
        let x = canvas.x.position(save.iteration);
        draw_checkpoint(canvas, (x, y), save.is_kept, &describe(save))?;
    }
    Ok(())
}

/// Draws a bar for each group of saves. The filled part of a bar is the number of kept checkpoints.
fn draw_bars(canvas: &mut Canvas, lane: &Lane, y: f64) -> fmt::Result {
    let bars = ((RIGHT - LEFT) / BAR_WIDTH) as usize;
    let mut groups: Vec<Vec<&Save>> = vec![Vec::new(); bars + 1];
    for save in &lane.saves {
        groups[((canvas.x.position(save.iteration) - LEFT) / BAR_WIDTH) as usize].push(save);
    }
    let most = groups.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let bottom = y + LANE_HEIGHT / 2.0 - 3.0;
    for (index, group) in groups.iter().enumerate() {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let kept = group.iter().filter(|save| save.is_kept).count();
        let x = LEFT + BAR_WIDTH * index as f64;
        let title = format!(
            "iterations {} to {}: {kept} kept, {} removed",
            first.iteration,
            last.iteration,
            group.len() - kept
        );
        writeln!(canvas.svg, "<g><title>{}</title>", escape_xml(&title))?;
        let mut base = bottom;
        let removed = Paint { fill: Some(BACKGROUND), stroke: Some(REMOVED) };
        for (number, paint) in [(kept, fill(LOSS)), (group.len() - kept, removed)] {
            if number > 0 {
                // A bar of a single save is still visible.
                let height = (number as f64 / most as f64 * (LANE_HEIGHT - 8.0)).max(2.0);
                base -= height;
                let width = BAR_WIDTH - 1.5;
                writeln!(
                    canvas.svg,
                    r#"<rect x="{x:.1}" y="{base:.1}" width="{width}" height="{height:.1}" {paint} stroke-width="0.8"/>"#
                )?;
            }
        }
        writeln!(canvas.svg, "</g>")?;
    }
    // The scale of the bars is below the name of the lane.
    let (x, y, paint) = (LEFT - 8.0, bottom, fill(FAINT));
    writeln!(canvas.svg, r#"<text x="{x}" y="{y:.1}" text-anchor="end" font-size="10" {paint}>max. {most}</text>"#)
}

fn draw_checkpoint(canvas: &mut Canvas, at: (f64, f64), is_kept: bool, title: &str) -> fmt::Result {
    let (radius, paint) =
        if is_kept { (4.6, fill(LOSS).with_stroke(BACKGROUND)) } else { (3.2, fill(BACKGROUND).with_stroke(REMOVED)) };
    canvas.draw_dot(at, radius, paint, title)
}

fn describe(save: &Save) -> String {
    let score = save.score.map_or(String::new(), |score| format!(", score {}", format_value(score)));
    let removed = if save.is_kept { "" } else { ", removed" };
    format!("step {}, iteration {}{score}{removed}", save.step, save.iteration)
}
