//! Tests of objects that cannot be saved so that they load again: duplicate names, and values that `postcard` cannot
//! restore. A save refuses them before it changes the store. A load compares each dimension of a tensor.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;
#[path = "common/store_access.rs"]
mod store_access;
#[path = "common/streams.rs"]
mod streams;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::convert::Infallible;
use store_access::list_checkpoints;
use streams::encode;
use training_monitor::checkpoint::{
    self, Contents, DecodeError, EncodeError, Named, ObjectVisitor, Objects, StateDict, TensorView, TensorVisitor,
};
use training_monitor::embedded_io::ErrorKind;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, ModelCheckpoint, RunError};

const CONTENTS: Contents<'static> = Contents::new(0);

/// Objects that consist of one value, named `options`.
struct Value<S>(S);
impl<S: Serialize + DeserializeOwned> Objects for Value<S> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.value("options", &mut self.0)
    }
}

fn measure(mut objects: impl Objects) -> Result<u32, EncodeError<Infallible>> {
    checkpoint::measure(&CONTENTS, &mut objects)
}

/// Checks that `value` cannot be saved, neither with other objects nor in its own stream, and that a run with it does
/// not start.
fn assert_refused<S: Serialize + DeserializeOwned>(value: S) {
    let mut objects = Value(value);
    assert_named_error!(checkpoint::measure(&CONTENTS, &mut objects), EncodeError::Value, "options");
    let mut bytes = Vec::new();
    assert_named_error!(checkpoint::encode(&mut bytes, &CONTENTS, &mut objects), EncodeError::Value, "options");
    assert_eq!(bytes.len(), 0, "the encoder finds the error before its first write");

    let policy = ModelCheckpoint::<1>::every(1).unwrap();
    let mut handler = policy.attach(IterationCompleted, Ram::<2, 1024>::new()).unwrap();
    let decision = SaveDecision { step: 1, score: None };
    assert_named_error!(handler.save(decision, 1, None, &mut objects), EncodeError::Value, "options");
    let result = Engine::new(1).run(&mut objects, 0..1, &mut handler, |_, batch, _| batch);
    let Err(RunError::Start(error)) = result else { panic!("{result:?}") };
    assert_named_error!(Err::<(), EncodeError<ErrorKind>>(error), EncodeError::Value, "options");
    assert_eq!(list_checkpoints(handler.store_mut()), Ok(vec![]));
}

/// Checks that `value` can be saved and loaded.
fn assert_loads_again<S: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug>(value: &S, other: S) {
    let bytes = encode(&CONTENTS, &mut Value(value.clone()));
    let mut loaded = Value(other);
    checkpoint::load(&bytes, &mut loaded, None).unwrap();
    assert_eq!(loaded.0, *value);
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged {
    Rate(f32),
    Steps(Vec<u32>),
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(tag = "kind")]
enum Tagged {
    Rate { rate: f32 },
    Steps { steps: u32 },
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Skipping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<f32>,
    steps: u32,
}

/// Serializes 1 for each number, so that another number is loaded.
#[derive(Clone, PartialEq, Debug)]
struct Lossy(u32);
impl Serialize for Lossy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0 + 1)
    }
}
impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Lossy)
    }
}

/// A type whose serialization always fails.
#[derive(Deserialize)]
struct Unserializable;
impl Serialize for Unserializable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[test]
fn a_value_that_postcard_cannot_restore_is_refused() {
    assert_refused(Untagged::Rate(0.5));
    assert_refused(Untagged::Steps(vec![1, 2]));
    assert_refused(Tagged::Rate { rate: 0.5 });
    assert_refused(Tagged::Steps { steps: 3 });
    assert_refused(Skipping { rate: None, steps: 3 });
    assert_refused(Lossy(4));
    assert_refused(Unserializable);
    // With a rate, no field is skipped.
    assert_loads_again(&Skipping { rate: Some(0.25), steps: 3 }, Skipping { rate: None, steps: 0 });
}

/// A value whose strings are stored in a buffer of 100 bytes.
struct Buffered(String);
impl Objects for Buffered {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.value_with("text", &mut self.0, &mut [0; 100])
    }
}

/// With the feature `alloc`, strings have no limit. `cargo test -p training-monitor` tests without this feature.
#[test]
fn strings_that_do_not_fit_into_the_scratch_buffer_are_refused() {
    let unlimited = cfg!(feature = "alloc");
    let check = |result: Result<u32, _>, name: &str| match result {
        Ok(_) => assert!(unlimited, "{name} was accepted"),
        refused => assert_eq!(refused, Err(EncodeError::ValueTooLarge { name: name.into() })),
    };
    assert_loads_again(&"x".repeat(64), String::new());
    check(measure(Value("x".repeat(65))), "options");
    assert_loads_again(&["x".repeat(40), "y".repeat(24)], [String::new(), String::new()]);
    check(measure(Value(["x".repeat(40), "y".repeat(25)])), "options");

    check(measure(Buffered("x".repeat(101))), "text");
    let bytes = encode(&CONTENTS, &mut Buffered("x".repeat(100)));
    let mut loaded = Buffered(String::new());
    checkpoint::load(&bytes, &mut loaded, None).unwrap();
    assert_eq!(loaded.0, "x".repeat(100));
}

#[test]
fn sequences_of_numbers_have_no_limit() {
    // Sequences of numbers have no limit. The encoder needs several pieces of 64 bytes to check them.
    let numbers: Vec<u16> = (0..500).map(|number| number * 131).collect();
    assert_loads_again(&numbers, Vec::new());
    let map: BTreeMap<u32, (f64, bool)> =
        (0..50).map(|key| (key * 1000, (f64::from(key) / 7.0, key % 3 == 0))).collect();
    assert_loads_again(&map, BTreeMap::new());
    assert_loads_again(&(f64::NAN.to_bits(), i128::MIN, 'é', Some(())), (0, 0, 'a', None));
}

/// A NaN is not equal to itself, but it has the same bytes after a load.
#[test]
fn a_value_with_a_nan_is_saved() {
    let bytes = encode(&CONTENTS, &mut Value([f32::NAN, -0.0]));
    let mut loaded = Value([0.0_f32; 2]);
    checkpoint::load(&bytes, &mut loaded, None).unwrap();
    assert_eq!(loaded.0.map(f32::to_bits), [f32::NAN, -0.0].map(f32::to_bits));
}

/// A listing of objects with these names. The first object is a value, the others are state dicts.
struct Names(&'static [&'static str]);
impl Objects for Names {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.value(self.0[0], &mut 7_u8)?;
        self.0[1..].iter().try_for_each(|name| visitor.state_dict(name, &mut [1.0_f32; 2]))
    }
}

/// A state dict with tensors of these names.
struct Tensors(&'static [&'static str]);
impl StateDict for Tensors {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.iter().try_for_each(|name| visitor.tensor(name, &mut [1.0_f32; 2]))
    }
}

/// Two state dicts with tensors of these names.
struct TwoDicts(&'static [&'static str], &'static [&'static str]);
impl Objects for TwoDicts {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("one", &mut Tensors(self.0))?;
        visitor.state_dict("two", &mut Tensors(self.1))
    }
}

#[test]
fn duplicate_names_are_refused() {
    for (names, duplicate) in [
        (&["a", "a"][..], "a"),
        (&["a", "b", "a"], "a"),
        (&["a", "b", "c", "b"], "b"),
        (&["b", "a", "c", "c"], "c"),
        (&["a", "b", "c", "d", "e", "a"], "a"),
    ] {
        assert_named_error!(measure(Names(names)), EncodeError::Duplicate, duplicate);
        assert_named_error!(measure(Named::new("m", Tensors(names))), EncodeError::Duplicate, duplicate);
        assert_named_error!(measure(TwoDicts(&["x"], names)), EncodeError::Duplicate, duplicate);
        assert_named_error!(measure(TwoDicts(names, &["x"])), EncodeError::Duplicate, duplicate);
        // One stream per object: the duplicate is found in each stream, even if it is in another object.
        let single = Contents { single_object: Some("one"), ..CONTENTS };
        let error = checkpoint::measure(&single, &mut TwoDicts(&["x"], names));
        assert_named_error!(error, EncodeError::Duplicate, duplicate);
    }
}

/// A name of a tensor is unique in its object only, and a tensor can have the name of an object.
#[test]
fn equal_names_in_different_places_are_not_duplicates() {
    assert!(measure(Names(&["a", "b", "c", "data"])).is_ok());
    assert!(measure(TwoDicts(&["a", "b"], &["b", "a"])).is_ok());
    assert!(measure(TwoDicts(&["one", "two"], &["two", "one"])).is_ok());
    assert!(measure(Named::new("m", Tensors(&["m", "n"]))).is_ok());
    assert!(measure(Named::new("m", Tensors(&["a", "aa", "A", "á"]))).is_ok());
}

/// A state dict with one tensor `w` of six elements. The first field is its shape.
struct Shaped(&'static [u32], [f32; 6]);
impl StateDict for Shaped {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("w", TensorView::new(self.0, &mut self.1))
    }
}

#[test]
fn a_load_compares_each_dimension() {
    let save = |shape| encode(&CONTENTS, &mut Named::new("m", Shaped(shape, [1.0; 6])));
    let load = |bytes: &[u8], shape| {
        let mut model = Named::new("m", Shaped(shape, [0.0; 6]));
        let loaded = checkpoint::load(bytes, &mut model, None);
        assert_eq!(model.object.1, if loaded.is_ok() { [1.0; 6] } else { [0.0; 6] });
        loaded
    };
    let shapes = [&[6][..], &[2, 3], &[3, 2], &[1, 6], &[6, 1], &[1, 2, 3], &[2, 1, 3]];
    for saved in shapes {
        let bytes = save(saved);
        for expected in shapes {
            let loaded = load(&bytes, expected);
            if saved == expected {
                loaded.unwrap();
            } else if saved.len() == expected.len() {
                let first = saved.iter().zip(expected).position(|(saved, expected)| saved != expected).unwrap();
                let Err(DecodeError::Shape { name, dimension, expected: in_model, found }) = loaded else {
                    panic!("{loaded:?}")
                };
                assert_eq!((name.as_str(), dimension as usize), ("w", first));
                assert_eq!((in_model, found), (expected[first], saved[first]));
            } else {
                let Err(DecodeError::Rank { name, expected: in_model, found }) = loaded else { panic!("{loaded:?}") };
                assert_eq!((name.as_str(), in_model as usize, found as usize), ("w", expected.len(), saved.len()));
            }
        }
    }
}
