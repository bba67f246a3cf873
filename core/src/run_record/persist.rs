//! Handlers whose state is saved with the run.

use super::codec::{StateCodec, StateDecoder, StateEncoder};
use super::{HandlerKind, RestoreError, RunRecord, split_state};

/// A handler whose state survives a restart.
///
/// Implement this trait in addition to [`Handler`](crate::Handler), and call [`HandlerStates::visit`] in the
/// method [`Handler::persist`](crate::Handler::persist). Without that call, the state is not saved. `restore` is called
/// only after the states of all handlers have been decoded, so a failed restore changes no handler.
///
/// ```
/// use training_monitor::run_record::{HandlerKind, HandlerStates, Persist};
/// use training_monitor::{Engine, Event, Handler, State};
///
/// /// Counts the iterations whose loss exceeds a limit.
/// struct SpikeCounter { limit: f32, count: u32 }
///
/// impl<T: ?Sized> Handler<T, f32> for SpikeCounter {
///     fn on_event(&mut self, event: Event, _model: &mut T, state: &mut State<f32>) {
///         if event == Event::IterationCompleted && state.output.is_some_and(|loss| loss > self.limit) {
///             self.count += 1;
///         }
///     }
///     fn persist(&mut self, _run: &mut State<f32>, states: &mut HandlerStates<'_>) {
///         states.visit(self);
///     }
/// }
///
/// impl Persist for SpikeCounter {
///     const KIND: HandlerKind = HandlerKind::user(1);
///     type State = u32;
///     fn save(&mut self) -> u32 { self.count }
///     fn restore(&mut self, count: u32) { self.count = count; }
/// }
///
/// let mut spikes = SpikeCounter { limit: 1.0, count: 0 };
/// let mut engine = Engine::new(1);
/// engine.run(&mut (), &[0.5, 2.0][..], &mut spikes, |_, loss, _| *loss)?;
/// let record = engine.record::<(), _>(&mut spikes)?;
///
/// let mut restored = SpikeCounter { limit: 1.0, count: 0 };
/// engine.restore::<(), _>(&record, &mut restored)?;
/// assert_eq!(restored.count, 1);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub trait Persist {
    /// Identifies this kind of handler in a checkpoint, so that a state is never restored into another kind of handler.
    const KIND: HandlerKind;
    /// The type of the state. Any `serde` type is suitable if its postcard encoding has at most 127 bytes.
    type State: StateCodec;
    /// Returns the current state of the handler, which a checkpoint then stores.
    fn save(&mut self) -> Self::State;
    /// Replaces the current state of the handler with `state`, which was read from a checkpoint.
    fn restore(&mut self, state: Self::State);
}

/// Saves, checks or restores the states of all handlers of a run. The engine passes a value of this type to the method
/// [`Handler::persist`](crate::Handler::persist).
#[derive(Debug)]
pub struct HandlerStates<'a>(Access<'a>);

#[derive(Debug)]
enum Access<'a> {
    Save(&'a mut RunRecord),
    Read {
        /// The encoded states that no handler has read yet.
        rest: &'a [u8],
        /// False in a first pass, which only checks that all states can be decoded. True in a second pass, which
        /// restores them.
        restoring: bool,
        /// The first error. No state is read after it.
        error: Option<RestoreError>,
    },
}

impl<'a> HandlerStates<'a> {
    /// Prepares to save handler states to the run record `record`. Removes the states that `record` already contains.
    pub(crate) fn save(record: &'a mut RunRecord) -> Self {
        record.start(0);
        HandlerStates(Access::Save(record))
    }

    /// Prepares to decode the handler states in the run record `record`, to check them without restoring them.
    pub(crate) fn check(record: &'a RunRecord) -> Self {
        HandlerStates(Access::Read { rest: &record.states, restoring: false, error: None })
    }

    /// Prepares to restore the handlers from the states in the run record `record`.
    pub(crate) fn restore(record: &'a RunRecord) -> Self {
        HandlerStates(Access::Read { rest: &record.states, restoring: true, error: None })
    }

    /// Saves, checks or restores the state of `handler`. Returns true only if the state was restored.
    pub fn visit<P: Persist + ?Sized>(&mut self, handler: &mut P) -> bool {
        if let Access::Save(record) = &mut self.0 {
            let state = handler.save();
            let mut encoder = StateEncoder::start(record, P::KIND.code());
            state.encode(&mut encoder);
            encoder.finish();
            return false;
        }
        let Some(mut decoder) = self.next(P::KIND) else { return false };
        let state = P::State::decode(&mut decoder);
        if !self.accept(P::KIND, state.is_some() && decoder.rest.is_empty()) {
            return false;
        }
        state.map(|state| handler.restore(state)).is_some()
    }

    /// Returns a decoder for the next handler state in the record. Stores an error and returns `None` if the record has
    /// no further state, or if the state is not of `kind`.
    #[inline(never)] // One copy of the code for all handlers.
    fn next(&mut self, kind: HandlerKind) -> Option<StateDecoder<'a>> {
        let Access::Read { rest, error, .. } = &mut self.0 else { return None };
        let found = match split_state(rest) {
            _ if error.is_some() => return None,
            None => RestoreError::Missing { kind },
            Some((found, ..)) if found != kind => RestoreError::OtherHandler { expected: kind, found },
            Some((_, state, tail)) => {
                *rest = tail;
                return Some(StateDecoder { rest: state });
            }
        };
        *error = Some(found);
        None
    }

    /// Stores an error if `decoded` is false. Returns whether the decoded state may be restored into its handler.
    #[inline(never)] // One copy of the code for all handlers.
    fn accept(&mut self, kind: HandlerKind, decoded: bool) -> bool {
        let Access::Read { restoring, error, .. } = &mut self.0 else { return false };
        if !decoded {
            *error = Some(RestoreError::Malformed { kind });
        }
        decoded && *restoring
    }

    /// Returns the first error. If all handlers succeeded but a state is left over,
    /// returns [`RestoreError::Unclaimed`].
    pub(crate) fn finish(&self) -> Result<(), RestoreError> {
        let Access::Read { rest, error, .. } = &self.0 else { return Ok(()) };
        match (*error, split_state(rest)) {
            (Some(error), _) => Err(error),
            (None, None) => Ok(()),
            (None, Some((kind, ..))) => Err(RestoreError::Unclaimed { kind }),
        }
    }
}
