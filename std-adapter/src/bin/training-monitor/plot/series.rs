//! The data of the charts in the terminal. The module `training_monitor_std::chart` computes the curves and the ranges
//! of their values.

use training_monitor_std::chart::{Curve, Panel, ValueRange};

/// The points of a curve. Each point consists of an iteration and a value.
pub type Points = Vec<(f64, f64)>;

/// Creates a panel with a single curve.
pub fn single_panel(title: impl Into<String>, points: Points) -> Panel {
    Panel { title: title.into(), curves: vec![Curve { run: 0, points }] }
}

/// Returns the last iteration of all curves in a panel.
pub fn last_iteration(panel: &Panel) -> f64 {
    let points = panel.curves.iter().flat_map(|curve| &curve.points);
    ValueRange::of(points.map(|(iteration, _)| *iteration)).map_or(0.0, |range| range.high)
}

/// Returns the lowest and the highest value of the vertical axis. The two values always differ, because ratatui draws
/// nothing on an axis of length zero. A constant curve is in the middle of the axis.
pub fn vertical_bounds(panel: &Panel) -> [f64; 2] {
    match panel.range() {
        None => [0.0, 1.0],
        Some(ValueRange { low, high }) if low < high => [low, high],
        Some(ValueRange { low, .. }) => {
            let margin = if low == 0.0 { 0.5 } else { low.abs() / 2.0 };
            [low - margin, low + margin]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vertical_bounds_differ() {
        let bounds =
            |values: &[f64]| vertical_bounds(&single_panel("", values.iter().map(|value| (1.0, *value)).collect()));
        assert_eq!(bounds(&[]), [0.0, 1.0]);
        assert_eq!(bounds(&[2.0]), [1.0, 3.0]);
        assert_eq!(bounds(&[0.0, 0.0]), [-0.5, 0.5]);
        assert_eq!(bounds(&[3.0, 1.0]), [1.0, 3.0]);
    }
}
