//! Panels with a single curve, for the live view of `watch`.

use crate::chart::Panel;

/// The points of a curve. Each point consists of an iteration and a value.
pub type Points = Vec<(f64, f64)>;

/// Creates a panel with a single curve.
pub fn single_panel(title: impl AsRef<str>, points: Points) -> Panel {
    Panel::new(title.as_ref(), points)
}
