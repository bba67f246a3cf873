//! A handler that calls a closure, and the types of closures.

use super::Handler;
use crate::event::{Event, EventFilter};
use crate::state::State;
use core::marker::PhantomData;

/// Creates a handler from the closure `call`. At each event that `filter` selects, the handler calls the closure and
/// passes it the model and the state of the run.
///
/// A closure that accesses fields of the model needs the type of the model. Annotate its parameter, or
/// use [`RunTypes::function`].
///
/// ```
/// use training_monitor::{Engine, event::EpochCompleted, on};
///
/// let mut epochs = 0;
/// let count = on(EpochCompleted, |_, _| epochs += 1);
/// Engine::new(3).run(&mut (), 0..5, &mut { count }, |_, batch, _| batch)?;
/// assert_eq!(epochs, 3);
/// # Ok::<(), training_monitor::RunError>(())
/// ```
pub const fn on<T, O, X, W, F>(filter: W, call: F) -> On<W, F>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&mut T, &mut State<O, X>),
{
    On { filter, call }
}

/// A handler that calls a closure at the events that its filter selects. Created by [`on`].
#[derive(Clone, Copy, Debug)]
pub struct On<W, F> {
    filter: W,
    call: F,
}

impl<T: ?Sized, O, X, W: EventFilter, F: FnMut(&mut T, &mut State<O, X>)> Handler<T, O, X> for On<W, F> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.filter.matches(event, state.counters()) {
            (self.call)(model, state);
        }
    }
}

/// The types of a run: the model, the output and the metrics. The closures of its handlers need these types.
///
/// The compiler cannot infer the argument types of a closure that accesses fields of its arguments. Pass such a closure
/// through a method of this struct. The method returns the closure unchanged, but its signature tells the compiler the
/// types:
///
/// ```
/// use training_monitor::event::{EpochCompleted, IterationCompleted};
/// use training_monitor::handler::RunTypes;
/// use training_monitor::{EarlyStopping, Engine, TerminateOnNan, on};
///
/// struct Net { weights: [f32; 4] }
/// #[derive(Clone, Copy)]
/// struct Output { loss: f32 }
///
/// let types = RunTypes::<Net, Output>::new();
/// let mut handlers = (
///     TerminateOnNan::new().attach(IterationCompleted, types.reference(|net, _| &net.weights)),
///     EarlyStopping::new(3)?.attach(EpochCompleted, types.score(|state| -state.output.map_or(0.0, |output| output.loss))),
///     on(EpochCompleted, types.function(|net, _| net.weights[0] *= 0.9)),
/// );
/// let mut net = Net { weights: [1.0; 4] };
/// Engine::new(2).run(&mut net, 0..4, &mut handlers, |net, _, _| Output { loss: net.weights[0] })?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunTypes<T: ?Sized, O, X = ()>(PhantomData<fn(&T, &O, &X)>);

impl<T: ?Sized, O, X> RunTypes<T, O, X> {
    /// Creates a value for the types `T`, `O` and `X`.
    #[must_use]
    pub const fn new() -> Self {
        RunTypes(PhantomData)
    }

    /// Returns the closure `score` unchanged and tells the compiler its argument types. The closure computes a score
    /// for [`EarlyStopping`](crate::EarlyStopping), [`ModelCheckpoint`](crate::ModelCheckpoint)
    /// or [`ReduceOnPlateau`](crate::ReduceOnPlateau).
    pub const fn score<F: FnMut(&State<O, X>) -> f32>(&self, score: F) -> F {
        score
    }

    /// Returns the closure `reference` unchanged and tells the compiler its argument types. The closure returns a
    /// reference into the model or the state, for [`TerminateOnNan`](crate::TerminateOnNan).
    pub const fn reference<R: ?Sized, F: for<'a> FnMut(&'a T, &'a State<O, X>) -> &'a R>(&self, reference: F) -> F {
        reference
    }

    /// Returns the closure `slices` unchanged and tells the compiler its argument types. The closure passes slices of
    /// the model to its second argument, for [`TerminateOnNan::attach_slices`](crate::TerminateOnNan::attach_slices).
    pub const fn slices<F: FnMut(&T, &mut dyn FnMut(&[f32]))>(&self, slices: F) -> F {
        slices
    }

    /// Returns the closure `pairs` unchanged and tells the compiler its argument types. The closure passes pairs of
    /// averages and weights to its second argument, for [`WeightAverage::attach`](crate::WeightAverage::attach).
    pub const fn pairs<F: FnMut(&mut T, &mut dyn FnMut(&mut [f32], &mut [f32]))>(&self, pairs: F) -> F {
        pairs
    }

    /// Returns the closure `store` unchanged and tells the compiler its argument types. The closure stores an average in
    /// the state of the run, for [`RunningAverage::attach`](crate::RunningAverage::attach).
    pub const fn store<F: FnMut(&mut State<O, X>, f32)>(&self, store: F) -> F {
        store
    }

    /// Returns the closure `parameter` unchanged and tells the compiler its argument types. The closure writes a value to
    /// the model, for [`Schedule::attach`](crate::Schedule::attach) or
    /// [`ReduceOnPlateau::attach`](crate::ReduceOnPlateau::attach).
    pub const fn parameter<F: FnMut(&mut T, f32)>(&self, parameter: F) -> F {
        parameter
    }

    /// Returns the closure `function` unchanged and tells the compiler its argument types. Pass the closure to [`on`].
    pub const fn function<F: FnMut(&mut T, &mut State<O, X>)>(&self, function: F) -> F {
        function
    }
}

impl<T: ?Sized, O, X> Default for RunTypes<T, O, X> {
    fn default() -> Self {
        Self::new()
    }
}
