//! Handlers whose state is saved with the run.

use super::codec::{StateCodec, StateDecoder, StateEncoder};
use super::{HandlerKind, MAX_STATE, RestoreError, RunRecord, RunRecordFull, STATE_PREFIX, StoredState, split_state};
use core::mem::size_of;

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
    /// The maximum length of the state's postcard encoding, in bytes. At the start of a run, the engine checks that the
    /// states of all handlers fit into its run record. The default is right for numbers of 32 bits, and for arrays and
    /// structs of them. Override it if the encoding can be longer.
    const MAX_LEN: usize = size_of::<Self::State>() + size_of::<Self::State>() / 4;
    /// The type of the state. Any `serde` type is suitable if its postcard encoding has at most 127 bytes.
    type State: StateCodec;

    /// Distinguishes handlers of the same kind: a hash of the settings and of the name of the handler. The state of a
    /// handler is restored into the handler with the same tag, at any position. If there is none, the settings of
    /// the program have changed. The state is then restored by position, and
    /// [`Resumed::changed_settings`](crate::engine::Resumed::changed_settings) reports it.
    fn tag(&self) -> u16 {
        0
    }
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
    /// Adds up the maximum lengths of all states.
    Measure(usize),
    Save(&'a mut RunRecord<[u8]>),
    Read(Reading<'a>),
}

/// Reads the states of a record.
#[derive(Debug)]
struct Reading<'a> {
    states: &'a [u8],
    pass: ReadPass,
    /// The states that a handler with the same tag reads. Bit n stands for the n-th state of the record.
    claimed: u32,
    /// The states that a handler has read in this pass.
    taken: u32,
    /// The first handler that read a state with another tag.
    changed: Option<HandlerKind>,
    /// Whether the last handler read a state with another tag.
    last_changed: bool,
    /// The first error. No state is read after it.
    error: Option<RestoreError>,
}

/// What the visit of a handler does with its state.
enum Visit<'b, 'a> {
    Nothing,
    Save(StateEncoder<'b>),
    Read(StateDecoder<'a>),
}

/// What one pass over all handlers does with their states. The passes run in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReadPass {
    /// Finds the states that belong to a handler with the same tag.
    Claim,
    /// Checks that every handler can decode its state.
    Check,
    /// Restores the states.
    Restore,
}

impl<'a> HandlerStates<'a> {
    /// Prepares to add up the maximum lengths of all states.
    pub(crate) const fn measure() -> Self {
        HandlerStates(Access::Measure(0))
    }

    /// Returns the sum of the maximum lengths of all states.
    pub(crate) const fn max_len(&self) -> usize {
        if let Access::Measure(len) = self.0 { len } else { 0 }
    }

    /// Prepares to save handler states to the run record `record`. Removes the states that `record` already contains.
    pub(crate) fn save(record: &'a mut RunRecord<[u8]>) -> Self {
        record.start(0);
        HandlerStates(Access::Save(record))
    }

    /// Prepares to read the handler states in the run record `record`. The first of three passes follows.
    pub(crate) fn read(record: &'a RunRecord<[u8]>) -> Self {
        let states = record.states();
        HandlerStates(Access::Read(Reading {
            states,
            pass: ReadPass::Claim,
            claimed: 0,
            taken: 0,
            changed: None,
            last_changed: false,
            error: None,
        }))
    }

    /// Starts the next pass over all handlers: after the first pass, a check of all states; then their restoration.
    pub(crate) fn next_pass(&mut self) {
        if let Access::Read(reading) = &mut self.0 {
            reading.pass = if reading.pass == ReadPass::Claim { ReadPass::Check } else { ReadPass::Restore };
            reading.taken = 0;
        }
    }

    /// Saves, checks or restores the state of `handler`. Returns true only if the state was restored.
    pub fn visit<P: Persist + ?Sized>(&mut self, handler: &mut P) -> bool {
        match self.begin(P::KIND, handler.tag(), P::MAX_LEN) {
            Visit::Nothing => false,
            Visit::Save(mut encoder) => {
                handler.save().encode(&mut encoder);
                encoder.finish();
                false
            }
            Visit::Read(mut decoder) => {
                let state = P::State::decode(&mut decoder).filter(|_| decoder.rest.is_empty());
                let accepted = self.accept(P::KIND, state.is_some());
                state.filter(|_| accepted).map(|state| handler.restore(state)).is_some()
            }
        }
    }

    /// Returns whether the states are being restored. A handler without a state then notices that the run resumes.
    pub(crate) const fn is_restoring(&self) -> bool {
        matches!(&self.0, Access::Read(Reading { pass: ReadPass::Restore, .. }))
    }

    /// Begins the visit of a handler.
    #[inline(never)] // One copy of the code for all handlers.
    fn begin(&mut self, kind: HandlerKind, tag: u16, max_len: usize) -> Visit<'_, 'a> {
        match &mut self.0 {
            Access::Measure(len) => {
                *len = len.saturating_add(max_len).saturating_add(STATE_PREFIX);
                Visit::Nothing
            }
            Access::Save(record) => Visit::Save(StateEncoder::start(record, kind.code(), tag)),
            Access::Read(reading) => reading.next(kind, tag).map_or(Visit::Nothing, Visit::Read),
        }
    }

    /// Stores an error if `decoded` is false. Returns whether the decoded state may be restored into its handler.
    #[inline(never)] // One copy of the code for all handlers.
    fn accept(&mut self, kind: HandlerKind, decoded: bool) -> bool {
        let Access::Read(reading) = &mut self.0 else { return false };
        if !decoded {
            reading.error = Some(RestoreError::Malformed { kind });
        }
        decoded && reading.pass == ReadPass::Restore
    }

    /// Returns whether the settings of the handler that was visited last differ from those in the record.
    pub(crate) const fn settings_changed(&self) -> bool {
        matches!(&self.0, Access::Read(Reading { last_changed: true, .. }))
    }

    /// Returns the first error. If all handlers succeeded but a state is left over,
    /// returns [`RestoreError::Unclaimed`].
    pub(crate) fn finish(&self) -> Result<(), RestoreError> {
        let Access::Read(reading) = &self.0 else { return Ok(()) };
        match (reading.error, reading.find(|index, _| reading.taken & bit(index) == 0)) {
            (Some(error), _) => Err(error),
            (None, None) => Ok(()),
            (None, Some((_, state))) => Err(RestoreError::Unclaimed { kind: state.kind }),
        }
    }

    /// Returns the kind of the first handler whose settings differ from those in the record.
    pub(crate) const fn changed(&self) -> Option<HandlerKind> {
        if let Access::Read(reading) = &self.0 { reading.changed } else { None }
    }
}

/// Returns a number with one bit that stands for the state with this index. A record has at most 32 states.
fn bit(index: u32) -> u32 {
    1u32.checked_shl(index).unwrap_or(0)
}

impl<'a> Reading<'a> {
    /// Returns the first state that `select` accepts, and its index.
    fn find(&self, mut select: impl FnMut(u32, &StoredState<'a>) -> bool) -> Option<(u32, StoredState<'a>)> {
        let mut rest = self.states;
        let mut index = 0;
        while let Some((state, tail)) = split_state(rest) {
            if select(index, &state) {
                return Some((index, state));
            }
            rest = tail;
            index += 1;
        }
        None
    }

    /// Returns a decoder for the state of the next handler. Stores an error and returns `None` if the record has no
    /// state for the handler.
    fn next(&mut self, kind: HandlerKind, tag: u16) -> Option<StateDecoder<'a>> {
        let taken = self.taken;
        let is_free = |index, state: &StoredState<'_>| taken & bit(index) == 0 && state.kind == kind;
        let same = self.find(|index, state| is_free(index, state) && state.tag == tag);
        if self.pass == ReadPass::Claim {
            let claimed = same.map_or(0, |(index, _)| bit(index));
            self.claimed |= claimed;
            self.taken |= claimed;
            return None;
        }
        // No state has the tag of this handler, so its settings have changed. It receives the first state of its kind
        // that no other handler claims.
        let found = same.or_else(|| self.find(|index, state| is_free(index, state) && self.claimed & bit(index) == 0));
        self.last_changed = same.is_none();
        if self.last_changed && self.changed.is_none() {
            self.changed = found.map(|_| kind);
        }
        if found.is_none() && self.error.is_none() {
            self.error = Some(RestoreError::Missing { kind });
        }
        let (index, state) = found.filter(|_| self.error.is_none())?;
        self.taken |= bit(index);
        Some(StateDecoder { rest: state.bytes })
    }
}

/// Saves the state of one handler that a program uses without an engine. Writes the kind, the tag and the state of
/// `handler` to `bytes`, as a run record contains them, and returns their length.
///
/// # Errors
/// Returns [`RunRecordFull`] if `bytes` is too short. Its content is then unspecified.
///
/// ```
/// use training_monitor::EarlyStopping;
/// use training_monitor::run_record::{restore_handler_state, encode_handler_state};
///
/// let mut stopping = EarlyStopping::new(3)?;
/// stopping.update(0.5);
/// stopping.update(0.25);
/// let mut bytes = [0; 16];
/// let len = encode_handler_state(&mut stopping, &mut bytes)?;
///
/// let mut restored = EarlyStopping::new(3)?;
/// restore_handler_state(&mut restored, &bytes[..len])?;
/// assert_eq!((restored.counter(), restored.best_score()), (1, Some(0.5)));
/// assert!(restore_handler_state(&mut restored, &bytes[..len - 1]).is_err());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn encode_handler_state<P: Persist + ?Sized>(handler: &mut P, bytes: &mut [u8]) -> Result<usize, RunRecordFull> {
    let mut buffer = RunRecord::<[u8; STATE_PREFIX + MAX_STATE]>::with_capacity();
    let record: &mut RunRecord<[u8]> = &mut buffer;
    HandlerStates::save(record).visit(handler);
    record.check_complete()?;
    let states = record.states();
    let full = RunRecordFull { required: states.len(), capacity: bytes.len() };
    let into = bytes.get_mut(..states.len()).ok_or(full)?;
    into.iter_mut().zip(states).for_each(|(place, byte)| *place = *byte);
    Ok(states.len())
}

/// Restores a state that [`encode_handler_state`] has saved. The settings of `handler` may differ from those of the saved one.
///
/// # Errors
/// Returns a [`RestoreError`] if `bytes` is not the state of a handler of this kind. `handler` is unchanged.
pub fn restore_handler_state<P: Persist + ?Sized>(handler: &mut P, bytes: &[u8]) -> Result<(), RestoreError> {
    let malformed = RestoreError::Malformed { kind: P::KIND };
    let (state, rest) = split_state(bytes).ok_or(malformed)?;
    if state.kind != P::KIND {
        return Err(RestoreError::Unclaimed { kind: state.kind });
    }
    let mut decoder = StateDecoder { rest: state.bytes };
    let decoded = P::State::decode(&mut decoder).filter(|_| decoder.rest.is_empty() && rest.is_empty());
    handler.restore(decoded.ok_or(malformed)?);
    Ok(())
}
