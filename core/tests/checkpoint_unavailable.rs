//! Tests of tensors that cannot be loaded. A read-only tensor can be saved but not loaded. A tensor that is not
//! available can be neither saved nor loaded.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;
#[path = "common/store_access.rs"]
mod store_access;
#[path = "common/streams.rs"]
mod streams;

use std::cell::Cell;
use store_access::list_checkpoints;
use streams::encode;
use training_monitor::checkpoint::{
    self, Contents, DecodeError, EncodeError, Loader, Named, ObjectVisitor, ReadOnly, TensorUnavailable, TensorVisitor,
};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::run_record::RestoreError;
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, ModelCheckpoint, Objects, RunError, StateDict};

/// The contents of a checkpoint without score and run record.
const CONTENTS: Contents<'static> = Contents::new(0);

const PRETRAINED: ReadOnly<'static> = ReadOnly { shape: &[2, 3], elements: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };

/// A model whose second tensor has the type `D`.
#[derive(StateDict, Clone, Debug, PartialEq)]
struct Net<D: StateDict> {
    head: [f32; 2],
    embedding: D,
    tail: f32,
}

/// Two objects: a value, and a model whose second tensor has the type `D`.
#[derive(Objects, Clone, Debug, PartialEq)]
struct Training<D: StateDict> {
    #[objects(value)]
    rng: u64,
    net: Net<D>,
}

fn training<D: StateDict>(embedding: D) -> Training<D> {
    Training { rng: 7, net: Net { head: [0.5, 0.25], embedding, tail: -1.0 } }
}

/// Returns objects with zeros in all fields except `embedding`. A test can then see what a load has changed.
fn blank<D: StateDict>(embedding: D) -> Training<D> {
    Training { rng: 0, net: Net { head: [0.0; 2], embedding, tail: 0.0 } }
}

#[test]
fn a_read_only_tensor_is_saved_like_a_mutable_one() {
    let array = [[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let bytes = encode(&CONTENTS, &mut training(PRETRAINED));
    assert_eq!(bytes, encode(&CONTENTS, &mut training(array)));
    let mut loaded = blank([[0.0_f32; 3]; 2]);
    checkpoint::load(&bytes, &mut loaded, None).unwrap();
    assert_eq!(loaded, training(array));
}

#[test]
fn a_read_only_tensor_with_a_nan_is_not_saved() {
    let mut model = training(ReadOnly { shape: &[1], elements: &[f32::NAN] });
    assert_named_error!(checkpoint::measure(&CONTENTS, &mut model), EncodeError::NonFinite, "embedding");
    let allowed = Contents { allow_non_finite: true, ..CONTENTS };
    assert!(checkpoint::measure(&allowed, &mut model).is_ok());
}

#[test]
fn a_load_into_a_read_only_tensor_is_an_error_and_changes_nothing() {
    let bytes = encode(&CONTENTS, &mut training(PRETRAINED));
    let zeros = [0.0; 6];
    let mut model = blank(ReadOnly { shape: &[2, 3], elements: &zeros });
    assert_named_error!(checkpoint::load(&bytes, &mut model, None), DecodeError::ReadOnly, "embedding");
    assert_eq!((model.rng, model.net.head, model.net.tail), (0, [0.0; 2], 0.0));
    // A read-only tensor of another length also gives the error `ReadOnly`, not an error about the length.
    let mut model = blank(ReadOnly { shape: &[1], elements: &zeros[..1] });
    assert_named_error!(checkpoint::load(&bytes, &mut model, None), DecodeError::ReadOnly, "embedding");
    assert_eq!((model.rng, model.net.head, model.net.tail), (0, [0.0; 2], 0.0));
    let mut nested = Named::new("m", training(PRETRAINED).net);
    let bytes = encode(&CONTENTS, &mut nested);
    assert_named_error!(checkpoint::load(&bytes, &mut nested, None), DecodeError::ReadOnly, "embedding");
}

#[test]
fn a_read_only_tensor_that_the_checkpoint_does_not_contain_is_missing() {
    #[derive(StateDict)]
    struct Head {
        head: [f32; 2],
        tail: f32,
    }
    let bytes = encode(&CONTENTS, &mut Named::new("net", Head { head: [1.0, 2.0], tail: 3.0 }));
    let mut model = Named::new("net", blank(PRETRAINED).net);
    assert_named_error!(checkpoint::load(&bytes, &mut model, None), DecodeError::Missing, "embedding");
    assert_eq!((model.head, model.tail), ([0.0; 2], 0.0));
}

#[test]
fn a_run_does_not_resume_into_a_model_with_a_read_only_tensor() {
    let mut model = training(PRETRAINED);
    let policy = || ModelCheckpoint::<1>::every(1).unwrap();
    let mut checkpoints = policy().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap();
    // Each save during the run succeeds, because a read-only tensor can be saved.
    Engine::<u32>::new(1).run(&mut model, 0..2, &mut checkpoints, |_, batch, _| batch).unwrap();
    assert_eq!(checkpoints.policy().latest().map(|latest| latest.step), Some(2));
    let mut model = blank(PRETRAINED);
    let mut engine = Engine::<u32>::new(1);
    let before = engine.engine_state();
    assert_eq!(engine.resume(&mut model, &mut checkpoints), Err(RestoreError::NoneLoadable { skipped: 1 }));
    assert_eq!(engine.engine_state(), before);
    assert_eq!((model.rng, model.net.head, model.net.tail), (0, [0.0; 2], 0.0));
}

impl PartialEq for Lent<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.elements == other.elements
    }
}

/// A tensor that can be listed (passed to the visitor) only a limited number of times. A later listing is an error.
#[derive(Clone, Debug)]
struct Lent<'a> {
    elements: [f32; 2],
    /// The number of listings that still succeed.
    loans: &'a Cell<u32>,
}

impl StateDict for Lent<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let left = self.loans.get().checked_sub(1).ok_or(TensorUnavailable)?;
        self.loans.set(left);
        visitor.tensor("data", &mut self.elements)
    }
}

/// Calls `function` again and again until it succeeds. In each call, a tensor can be listed once more than in the call
/// before. Returns all errors and the final result.
fn with_loans<T, E>(mut function: impl FnMut(&Cell<u32>) -> Result<T, E>) -> (Vec<E>, T) {
    let mut errors = Vec::new();
    loop {
        assert!(errors.len() < 50, "the function does not succeed");
        match function(&Cell::new(errors.len() as u32)) {
            Ok(result) => return (errors, result),
            Err(error) => errors.push(error),
        }
    }
}

#[test]
fn a_tensor_that_is_unavailable_at_any_listing_of_a_save_is_an_error() {
    let elements = [3.0, 4.0];
    let (errors, len) = with_loans(|loans| checkpoint::measure(&CONTENTS, &mut training(Lent { elements, loans })));
    assert!(!errors.is_empty() && errors.iter().all(|error| *error == EncodeError::Unavailable), "{errors:?}");
    let (errors, bytes) = with_loans(|loans| {
        let mut bytes = Vec::new();
        checkpoint::encode(&mut bytes, &CONTENTS, &mut training(Lent { elements, loans })).map(|_| bytes)
    });
    assert!(!errors.is_empty() && errors.iter().all(|error| *error == EncodeError::Unavailable), "{errors:?}");
    assert_eq!(bytes.len(), len as usize);
}

#[test]
fn a_failed_save_of_an_unavailable_tensor_leaves_the_store_unchanged() {
    let loans = Cell::new(u32::MAX);
    let mut model = training(Lent { elements: [3.0, 4.0], loans: &loans });
    let policy = ModelCheckpoint::<1>::every(1).unwrap();
    let mut checkpoints = policy.attach(IterationCompleted, Ram::<2, 512>::new()).unwrap();
    let decision = |step| SaveDecision { step, score: None };
    checkpoints.save(decision(1), 1, None, &mut model).unwrap();
    let before = list_checkpoints(checkpoints.store_mut()).unwrap();
    loans.set(0);
    assert_eq!(checkpoints.save(decision(2), 2, None, &mut model), Err(EncodeError::Unavailable));
    assert_eq!(list_checkpoints(checkpoints.store_mut()).unwrap(), before);
    assert_eq!(checkpoints.policy().latest().map(|latest| latest.step), Some(1));
    // The run does not start, because no save can succeed. The handler keeps the cause: one tensor is not available.
    let result = Engine::new(1).run(&mut model, 0..3, &mut checkpoints, |_, batch, _| batch);
    assert_eq!(result, Err(RunError::Start(EncodeError::Unavailable)));
    assert_eq!(checkpoints.last_error(), Some(&EncodeError::Unavailable));
}

#[test]
fn a_tensor_that_is_unavailable_while_a_checkpoint_is_verified_is_an_error_and_nothing_changes() {
    let all = Cell::new(u32::MAX);
    let bytes = encode(&CONTENTS, &mut training(Lent { elements: [3.0, 4.0], loans: &all }));
    let (errors, ()) = with_loans(|loans| {
        let mut model = blank(Lent { elements: [0.0; 2], loans });
        let mut scratch = [0; 64];
        let mut loader = Loader::new(&mut model, &mut scratch);
        let verified = loader.verify::<checkpoint::Crc32, _>(&mut &bytes[..], None);
        let result = verified.map(|_| ()).and_then(|()| loader.check_complete());
        assert_eq!(model, blank(Lent { elements: [0.0; 2], loans }));
        result
    });
    // The check lists the tensor five times: once for each of the four items, and once in `check_complete`.
    // `with_loans` lets one more listing succeed in each attempt, so five attempts fail.
    assert_eq!(errors, vec![DecodeError::Unavailable; 5]);
}

#[test]
fn a_tensor_that_is_unavailable_at_any_listing_of_a_load_is_an_error() {
    let all = Cell::new(u32::MAX);
    let mut saved = training(Lent { elements: [3.0, 4.0], loans: &all });
    let bytes = encode(&CONTENTS, &mut saved);
    let (errors, ()) = with_loans(|loans| {
        let limit = loans.get();
        let mut model = blank(Lent { elements: [0.0; 2], loans });
        let result = checkpoint::load(&bytes, &mut model, None).map(|_| ());
        // The first five listings of the tensor verify the checkpoint. The model must not change during the
        // verification.
        if limit < 5 {
            assert_eq!(model, blank(Lent { elements: [0.0; 2], loans }));
        } else if result.is_ok() {
            assert_eq!(model, saved);
        }
        result
    });
    assert!(errors.len() > 5 && errors.iter().all(|error| *error == DecodeError::Unavailable), "{errors:?}");
}

#[test]
fn objects_that_are_unavailable_are_an_error() {
    /// A listing of two objects. If the `bool` is false, the second object is not available.
    struct Partial([f32; 2], bool);
    impl Objects for Partial {
        fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.state_dict("first", &mut self.0)?;
            if !self.1 {
                return Err(TensorUnavailable.into());
            }
            visitor.value("second", &mut 5_u8)
        }
    }
    assert_eq!(checkpoint::measure(&CONTENTS, &mut Partial([1.0; 2], false)), Err(EncodeError::Unavailable));
    let bytes = encode(&CONTENTS, &mut Partial([1.0; 2], true));
    let mut partial = Partial([0.0; 2], false);
    assert_eq!(checkpoint::load(&bytes, &mut partial, None), Err(DecodeError::Unavailable));
    assert_eq!(partial.0, [0.0; 2]);
    // This checkpoint is truncated, and one of the objects is not available. The decoder reports the truncation.
    assert_eq!(checkpoint::load(&bytes[..3], &mut partial, None), Err(DecodeError::Truncated));
}
