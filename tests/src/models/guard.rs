//! The NaN guard: looks at every number on its own, at its cadence.

/// The model.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Looks at every so manyth call, or at such a part at every call.
    pub every: u32,
    /// All calls.
    pub calls: u64,
}

impl Guard {
    /// A call that looks at all of `values`, if it is due: whether one is not finite.
    pub fn check(&mut self, values: &[f32]) -> bool {
        self.calls += 1;
        self.calls.is_multiple_of(u64::from(self.every)) && values.iter().any(|value| !value.is_finite())
    }

    /// A call that looks at a stripe of `values`: where the first is that is not finite.
    pub fn stripe(&mut self, values: &[f32]) -> Option<usize> {
        let stripe = self.calls % u64::from(self.every);
        self.calls += 1;
        let length = (values.len() as u64).div_ceil(u64::from(self.every)).max(1);
        let bad = |(index, value): &(usize, &f32)| *index as u64 / length == stripe && !value.is_finite();
        values.iter().enumerate().find(bad).map(|(index, _)| index)
    }
}
