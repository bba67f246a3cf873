//! Tests of `Persist` and `HandlerStates`, which save and restore the state of user-defined handlers.

use training_monitor::checkpoint::{self, Contents, Inspect, Named};
use training_monitor::event::IterationCompleted;
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError, RunRecord};
use training_monitor::{EarlyStopping, Engine, Event, Handler, State};

/// A handler that counts iterations. `N` is its kind number, which identifies the handler type in a saved run.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
struct Counter<const N: u8> {
    count: u32,
    /// The number of calls of `restore`.
    restores: u32,
}

impl<const N: u8> Handler<(), f32> for Counter<N> {
    fn on_event(&mut self, event: Event, (): &mut (), _: &mut State<f32>) {
        self.count += u32::from(event == Event::IterationCompleted);
    }
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

impl<const N: u8> Persist for Counter<N> {
    const KIND: HandlerKind = HandlerKind::user(N);
    type State = u32;
    fn save(&mut self) -> u32 {
        self.count
    }
    fn restore(&mut self, count: u32) {
        self.count = count;
        self.restores += 1;
    }
}

/// A handler of the same kind as [`Counter`], but with a `bool` as its state.
#[derive(Default)]
struct Flag<const N: u8>;

impl<const N: u8> Handler<(), f32> for Flag<N> {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        assert!(!states.visit(self));
    }
}

impl<const N: u8> Persist for Flag<N> {
    const KIND: HandlerKind = HandlerKind::user(N);
    type State = bool;
    fn save(&mut self) -> bool {
        true
    }
    fn restore(&mut self, _: bool) {
        panic!("a malformed state is restored");
    }
}

/// Returns the run record of three counters after five iterations.
fn record_of_three() -> RunRecord {
    let mut handlers = (Counter::<1>::default(), Counter::<2>::default(), Counter::<3>::default());
    let mut engine = Engine::new(1);
    engine.run(&mut (), 0..5, &mut handlers, |(), _, _| 0.0).unwrap();
    engine.record::<(), _>(&mut handlers).unwrap()
}

#[test]
fn the_state_of_a_user_defined_handler_is_restored() {
    let record = record_of_three();
    let states: Vec<_> = record.handlers().map(|(kind, tag, state)| (kind, tag, state.to_vec())).collect();
    assert_eq!(states, [1, 2, 3].map(|number| (HandlerKind::user(number), 0, vec![5])));
    let mut engine = Engine::<f32>::new(2);
    let mut handlers = (Counter::<1>::default(), [Counter::<2>::default()], Some(Counter::<3>::default()));
    engine.restore::<(), _>(&record, &mut handlers).unwrap();
    // Each handler has the saved count 5, and its function `restore` was called once.
    let (count, restores) = (5, 1);
    assert_eq!(handlers.0, Counter { count, restores });
    assert_eq!(handlers.1, [Counter { count, restores }]);
    assert_eq!(handlers.2, Some(Counter { count, restores }));
    // The record is from the end of epoch 1. The run therefore performs the five iterations of epoch 2, and the count
    // rises from 5 to 10.
    engine.run(&mut (), 0..5, &mut handlers, |(), _, _| 0.0).unwrap();
    assert_eq!(handlers.0.count, 10);
}

/// Tries to restore the run record of three counters into the given handlers, and returns the error. Checks that the
/// engine and all handlers are unchanged.
macro_rules! failed_restore {
    ($($handler:expr),*) => {{
        let mut engine = Engine::<f32>::new(2);
        let before = engine.engine_state();
        let mut handlers = ($($handler,)*);
        let error = engine.restore::<(), _>(&record_of_three(), &mut handlers).unwrap_err();
        assert_eq!(engine.engine_state(), before);
        handlers.assert_unchanged();
        error
    }};
}

/// A handler that can check that it was not restored.
trait AssertUnchanged {
    fn assert_unchanged(&self);
}

impl<const N: u8> AssertUnchanged for Counter<N> {
    fn assert_unchanged(&self) {
        assert_eq!((self.count, self.restores), (0, 0), "counter {N}");
    }
}

impl<const N: u8> AssertUnchanged for Flag<N> {
    fn assert_unchanged(&self) {}
}

macro_rules! tuples {
    ($($name:ident . $index:tt)+) => {
        impl<$($name: AssertUnchanged),+> AssertUnchanged for ($($name,)+) {
            fn assert_unchanged(&self) {
                $(self.$index.assert_unchanged();)+
            }
        }
    };
}

tuples!(A.0 B.1);
tuples!(A.0 B.1 C.2);
tuples!(A.0 B.1 C.2 D.3);

fn counter<const N: u8>() -> Counter<N> {
    Counter::default()
}

#[test]
fn a_malformed_state_at_any_position_changes_no_handler() {
    let malformed = |number| RestoreError::Malformed { kind: HandlerKind::user(number) };
    // The saved state is the number 5. A `Flag` expects a `bool`, so its state is malformed.
    assert_eq!(failed_restore!(Flag::<1>, counter::<2>(), counter::<3>()), malformed(1));
    assert_eq!(failed_restore!(counter::<1>(), Flag::<2>, counter::<3>()), malformed(2));
    assert_eq!(failed_restore!(counter::<1>(), counter::<2>(), Flag::<3>), malformed(3));
    // The second and the third handler do not match the saved state. `restore` returns the error of the second one
    // only.
    assert_eq!(failed_restore!(counter::<1>(), Flag::<2>, Flag::<3>), malformed(2));
}

#[test]
fn another_handler_at_any_position_changes_no_handler() {
    let missing = RestoreError::Missing { kind: HandlerKind::user(9) };
    assert_eq!(failed_restore!(counter::<9>(), counter::<2>(), counter::<3>()), missing);
    assert_eq!(failed_restore!(counter::<1>(), counter::<9>(), counter::<3>()), missing);
    assert_eq!(failed_restore!(counter::<1>(), counter::<2>(), counter::<9>()), missing);
}

#[test]
fn the_order_of_the_handlers_does_not_matter() {
    /// A counter whose tag is its first field.
    struct Tagged(u16, Counter<5>);
    impl Handler<(), f32> for Tagged {
        fn on_event(&mut self, event: Event, (): &mut (), state: &mut State<f32>) {
            self.1.on_event(event, &mut (), state);
        }
        fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
            states.visit(self);
        }
    }
    impl Persist for Tagged {
        const KIND: HandlerKind = HandlerKind::user(5);
        type State = u32;
        fn tag(&self) -> u16 {
            self.0
        }
        fn save(&mut self) -> u32 {
            self.1.count
        }
        fn restore(&mut self, count: u32) {
            self.1.count = count;
        }
    }
    let tagged = |tag, count| Tagged(tag, Counter { count, restores: 0 });
    let mut saved = (tagged(0x1234, 1), counter::<2>(), tagged(0xABCD, 2), tagged(7, 3));
    let mut engine = Engine::<f32>::new(1);
    let record = engine.record::<(), _>(&mut saved).unwrap();
    let tags: Vec<_> = record.handlers().map(|(_, tag, _)| tag).collect();
    assert_eq!(tags, [0x1234, 0, 0xABCD, 7]);

    let mut reordered = (tagged(7, 0), tagged(0xABCD, 0), tagged(0x1234, 0), counter::<2>());
    engine.restore::<(), _>(&record, &mut reordered).unwrap();
    assert_eq!((reordered.0.1.count, reordered.1.1.count, reordered.2.1.count, reordered.3.restores), (3, 2, 1, 1));
    // The tag of one handler has changed. It receives the state that no other handler claims, at any position.
    let mut changed = (tagged(9, 0), tagged(0x1234, 0), counter::<2>(), tagged(7, 0));
    engine.restore::<(), _>(&record, &mut changed).unwrap();
    assert_eq!((changed.0.1.count, changed.1.1.count, changed.3.1.count), (2, 1, 3));
    // Several tags have changed. Their handlers receive the remaining states in the order of the record.
    let mut changed = (tagged(9, 0), tagged(10, 0), counter::<2>(), tagged(0x1234, 0));
    engine.restore::<(), _>(&record, &mut changed).unwrap();
    assert_eq!((changed.0.1.count, changed.1.1.count, changed.3.1.count), (2, 3, 1));
}

#[test]
fn a_missing_or_an_additional_handler_at_any_position_changes_no_handler() {
    let unclaimed = |number| RestoreError::Unclaimed { kind: HandlerKind::user(number) };
    assert_eq!(failed_restore!(counter::<2>(), counter::<3>()), unclaimed(1));
    assert_eq!(failed_restore!(counter::<1>(), counter::<3>()), unclaimed(2));
    assert_eq!(failed_restore!(counter::<1>(), counter::<2>()), unclaimed(3));
    let missing = RestoreError::Missing { kind: HandlerKind::user(4) };
    let (a, b, c, d) = (counter::<1>(), counter::<2>(), counter::<3>(), counter::<4>());
    assert_eq!(failed_restore!(d, a, b, c), missing);
    assert_eq!(failed_restore!(a, d, b, c), missing);
    assert_eq!(failed_restore!(a, b, d, c), missing);
    assert_eq!(failed_restore!(a, b, c, d), missing);
}

#[test]
fn a_failed_restore_changes_no_handler_of_this_crate_either() {
    let stopping =
        || EarlyStopping::new(9).unwrap().attach(IterationCompleted, |state: &State<f32>| state.output.unwrap());
    let mut engine = Engine::new(1);
    let mut handlers = (counter::<1>(), stopping(), counter::<2>());
    engine.run(&mut (), &[2.0, 1.0][..], &mut handlers, |(), score, _| *score).unwrap();
    let record = engine.record::<(), _>(&mut handlers).unwrap();
    let mut other = (counter::<1>(), stopping(), counter::<3>());
    assert!(engine.restore::<(), _>(&record, &mut other).is_err());
    assert_eq!((other.0.count, other.1.early_stopping.best_score(), other.2.count), (0, None, 0));
}

#[test]
fn visit_returns_true_only_when_the_handler_was_restored() {
    /// A handler that keeps each result of `visit`, which is true if the call restored the state.
    struct Visits(Vec<bool>);
    impl Handler<(), f32> for Visits {
        fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
        fn persist(&mut self, run: &mut State<f32>, states: &mut HandlerStates<'_>) {
            let restored = states.visit(&mut Counter::<7>::default());
            // The engine restores its own counters before the handlers, so a restored handler sees iteration 5.
            assert!(!restored || run.iteration() == 5);
            self.0.push(restored);
        }
    }
    let mut visits = Visits(Vec::new());
    let mut engine = Engine::new(1);
    engine.run(&mut (), 0..5, &mut visits, |(), _, _| 0.0).unwrap();
    // Before the first event, the engine measures all states, to check that a save is possible.
    assert_eq!(visits.0, [false]);
    visits.0.clear();
    let record = engine.record::<(), _>(&mut visits).unwrap();
    assert_eq!(visits.0, [false]);
    visits.0.clear();
    // `restore` visits each handler three times: to compare the tags, to check the record, and to restore the state.
    Engine::<f32>::new(1).restore::<(), _>(&record, &mut visits).unwrap();
    assert_eq!(visits.0, [false, false, true]);
    visits.0.clear();
    assert!(Engine::<f32>::new(1).restore::<(), _>(&record, &mut (Flag::<1>, &mut visits)).is_err());
    assert_eq!(visits.0, [false, false]);
}

#[test]
fn a_handler_kind_is_displayed_with_the_name_of_its_handler() {
    for (kind, code, text) in [
        (HandlerKind::EARLY_STOPPING, 1, "EarlyStopping"),
        (HandlerKind::TIMER, 2, "Timer"),
        (HandlerKind::MODEL_CHECKPOINT, 3, "ModelCheckpoint"),
        (HandlerKind::TERMINATE_ON_NAN, 4, "TerminateOnNan"),
        (HandlerKind::KEEP_OUTPUT, 5, "KeepOutput"),
        (HandlerKind::KEEP_METRICS, 6, "KeepMetrics"),
        (HandlerKind::user(0), 128, "user-defined handler 0"),
        (HandlerKind::user(3), 131, "user-defined handler 3"),
        (HandlerKind::user(127), 255, "user-defined handler 127"),
        // Only the lowest seven bits of the number are used, so the number 128 gives the same kind as the number 0.
        (HandlerKind::user(128), 128, "user-defined handler 0"),
        (HandlerKind::user(255), 255, "user-defined handler 127"),
    ] {
        assert_eq!((kind.code(), kind.to_string().as_str()), (code, text));
    }
}

/// A later version of the crate may write a handler kind that this version does not know. Such a kind is displayed with
/// its number.
#[test]
fn an_unknown_kind_in_a_checkpoint_is_displayed_with_its_number() {
    #[derive(Default)]
    struct Kinds(Vec<String>);
    impl Inspect for Kinds {
        fn run(&mut self, record: &RunRecord<[u8]>) {
            self.0.extend(record.handlers().map(|(kind, _, _)| kind.to_string()));
        }
    }
    let record = Engine::<f32>::new(1).record::<(), _>(&mut counter::<99>()).unwrap();
    let contents = Contents { record: Some(&record), ..Contents::new(1) };
    let mut bytes = Vec::new();
    checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", [1.0_f32])).unwrap();
    let position = bytes.iter().position(|byte| *byte == HandlerKind::user(99).code()).unwrap();
    bytes[position] = 99;
    let body = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&crc);
    let mut kinds = Kinds::default();
    checkpoint::inspect(&mut &bytes[..], &mut [0; 64], &mut kinds).unwrap();
    assert_eq!(kinds.0, ["unknown handler 99"]);
}
