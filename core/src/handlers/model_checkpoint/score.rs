//! The sources of the score of a checkpoint.

#[cfg(doc)]
use super::ModelCheckpoint;
use crate::state::State;

/// A score source of a [`ModelCheckpoint`]: there is no score, and an interval decides when to save. Used
/// by [`ModelCheckpoint::every`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoScore;

/// A score source of a [`ModelCheckpoint`]: the program passes each score to [`ModelCheckpoint::update`]. Used
/// by [`ModelCheckpoint::by_score`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScoreArgument;

/// A score source of a [`ModelCheckpoint`]: a function computes the score. Used by [`ModelCheckpoint::best_by`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScoreFunction<F>(pub(super) F);

/// A marker trait for the score sources that provide a score: [`ScoreArgument`] and [`ScoreFunction`].
pub trait Scored {}

impl Scored for ScoreArgument {}
impl<F> Scored for ScoreFunction<F> {}

/// Provides the score of a checkpoint to an attached handler. [`NoScore`] provides no score. [`ScoreFunction`] calls
/// its closure, which must have the type `FnMut(&State<O, X>) -> f32`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not return a score for this engine",
    note = "construct the `ModelCheckpoint` with `every(n)` or with `best_by(|state| ...)` to attach it"
)]
pub trait GetScore<O, X> {
    /// Returns the current score, or `None` if there is no score.
    fn score(&mut self, state: &State<O, X>) -> Option<f32>;
}

impl<O, X> GetScore<O, X> for NoScore {
    #[inline]
    fn score(&mut self, _: &State<O, X>) -> Option<f32> {
        None
    }
}

impl<O, X, F: FnMut(&State<O, X>) -> f32> GetScore<O, X> for ScoreFunction<F> {
    #[inline]
    fn score(&mut self, state: &State<O, X>) -> Option<f32> {
        Some((self.0)(state))
    }
}
