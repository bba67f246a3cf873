//! A model of event filters as sets of values. It follows `CallableEventWithFilter` of Ignite 0.5.5.

use super::number::Counter;

/// A filter on the value of one event.
#[derive(Clone, Debug, arbitrary::Arbitrary)]
pub enum Filter {
    /// Matches every value.
    All,
    /// Matches the multiples of a number.
    Every(Counter),
    /// Matches one value.
    Once(Counter),
    /// Combines several conditions.
    Window {
        /// Matches every `n`th value of the window.
        every: Option<Counter>,
        /// Exclusive lower bound of the window.
        after: Option<Counter>,
        /// Exclusive upper bound of the window.
        before: Option<Counter>,
    },
}

impl Filter {
    /// Whether the library accepts the settings of the filter.
    pub fn is_valid(&self) -> bool {
        match self {
            Filter::Every(n) | Filter::Once(n) => n.0 > 0,
            Filter::Window { every, .. } => every.is_none_or(|every| every.0 > 0),
            Filter::All => true,
        }
    }

    /// Whether the filter matches `value`.
    pub fn matches(&self, value: u32) -> bool {
        let value = i64::from(value);
        match self {
            Filter::All => true,
            Filter::Every(n) => value % i64::from(n.0) == 0,
            Filter::Once(n) => value == i64::from(n.0),
            Filter::Window { every, after, before } => {
                let every = every.map_or(1, |every| i64::from(every.0));
                if after.is_none() && before.is_none() {
                    return value % every == 0;
                }
                let after = after.map_or(0, |after| i64::from(after.0));
                let before = before.map_or(i64::MAX, |before| i64::from(before.0));
                after < value && value < before && (value - after - 1) % every == 0
            }
        }
    }
}
