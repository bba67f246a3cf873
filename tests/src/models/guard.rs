//! A model of the NaN guard that checks each number separately, according to the schedule.

/// The model of the NaN guard: a second, simple implementation that the tests compare with the library.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The period of the schedule, in calls. `check` examines all numbers in every `every`th call. `check_stripe`
    /// examines one of `every` parts in each call.
    pub every: u32,
    /// The number of calls.
    pub calls: u64,
}

impl Guard {
    /// Counts a call. If a check is due, returns whether one of `values` is not finite; otherwise false.
    pub fn check(&mut self, values: &[f32]) -> bool {
        self.calls += 1;
        self.calls.is_multiple_of(u64::from(self.every)) && values.iter().any(|value| !value.is_finite())
    }

    /// Checks the next stripe of `values`. Returns the index of the first number of the stripe that is not finite.
    pub fn check_stripe(&mut self, values: &[f32]) -> Option<usize> {
        let stripe = self.calls % u64::from(self.every);
        self.calls += 1;
        let len = (values.len() as u64).div_ceil(u64::from(self.every)).max(1);
        let is_match = |(index, value): &(usize, &f32)| *index as u64 / len == stripe && !value.is_finite();
        values.iter().enumerate().find(is_match).map(|(index, _)| index)
    }
}
