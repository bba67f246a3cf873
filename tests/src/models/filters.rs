//! Event filters as sets of numbers: Ignite 0.5.5's `CallableEventWithFilter`.

/// What lets a value of one event through.
#[derive(Clone, Debug, arbitrary::Arbitrary)]
pub enum Filter {
    /// Everything.
    All,
    /// Every so manyth.
    Every(super::number::Counter),
    /// One.
    Once(super::number::Counter),
    /// Any of these, together.
    Window {
        /// Every so manyth.
        every: Option<super::number::Counter>,
        /// Only after it.
        after: Option<super::number::Counter>,
        /// Only before it.
        before: Option<super::number::Counter>,
    },
}

impl Filter {
    /// Whether it can be built.
    pub fn is_valid(&self) -> bool {
        match self {
            Filter::Every(n) | Filter::Once(n) => n.0 > 0,
            Filter::Window { every, .. } => every.is_none_or(|every| every.0 > 0),
            Filter::All => true,
        }
    }

    /// Whether it lets `value` through.
    pub fn lets(&self, value: u32) -> bool {
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
