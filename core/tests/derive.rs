//! Tests of the derive macros `StateDict` and `Objects`. A derived implementation and an implementation written by hand
//! must save the same bytes.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;
#[path = "common/streams.rs"]
mod streams;

use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use streams::encode;
use training_monitor::checkpoint::{
    self, Contents, EncodeError, Named, ObjectVisitor, ReadOnly, TensorView, TensorVisitor,
};
use training_monitor::{Objects, StateDict};

/// The contents of a checkpoint without score and run record.
const CONTENTS: Contents<'static> = Contents::new(0);

/// A type that is neither a state dict nor serializable.
#[derive(Clone, PartialEq, Debug)]
struct Foreign(u8);

#[derive(StateDict, Clone, PartialEq, Debug)]
struct Layer {
    weight: [[f32; 3]; 2],
    bias: [f32; 2],
}

/// Returns a layer with the elements `first`, `first + 1`, …
fn layer(first: f32) -> Layer {
    let mut layer = Layer { weight: [[0.0; 3]; 2], bias: [0.0; 2] };
    let elements = layer.weight.as_flattened_mut().iter_mut().chain(&mut layer.bias);
    elements.zip(0_u8..).for_each(|(element, index)| *element = first + f32::from(index));
    layer
}

#[derive(StateDict, Clone, PartialEq, Debug)]
struct Gains(f32, [f32; 2], #[state_dict(skip)] Foreign, #[state_dict(rename = "last")] f32);

#[derive(StateDict, Clone, PartialEq, Debug)]
struct Net {
    layer1: Layer,
    #[state_dict(rename = "out")]
    layer2: Layer,
    #[state_dict(skip)]
    scratch: Foreign,
    #[state_dict(flatten)]
    shared: Layer,
    r#type: f32,
    gains: Gains,
    #[state_dict(rename = "lr")]
    learning_rate: f32,
    empty: [[f32; 4]; 0],
}

fn net() -> Net {
    Net {
        layer1: layer(1.0),
        layer2: layer(11.0),
        scratch: Foreign(1),
        shared: layer(21.0),
        r#type: 31.0,
        gains: Gains(41.0, [42.0, 43.0], Foreign(2), 44.0),
        learning_rate: 51.0,
        empty: [],
    }
}

/// An implementation of `StateDict` for [`Net`] that is written by hand. It uses no nested modules.
struct HandWritten<'a>(&'a mut Net);

impl StateDict for HandWritten<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let net = &mut *self.0;
        visitor.tensor("layer1.weight", TensorView::new(&[2, 3], net.layer1.weight.as_flattened_mut()))?;
        visitor.tensor("layer1.bias", TensorView::new(&[2], &mut net.layer1.bias))?;
        visitor.tensor("out.weight", TensorView::new(&[2, 3], net.layer2.weight.as_flattened_mut()))?;
        visitor.tensor("out.bias", TensorView::new(&[2], &mut net.layer2.bias))?;
        visitor.tensor("weight", TensorView::new(&[2, 3], net.shared.weight.as_flattened_mut()))?;
        visitor.tensor("bias", TensorView::new(&[2], &mut net.shared.bias))?;
        visitor.tensor("type", TensorView::new(&[], std::slice::from_mut(&mut net.r#type)))?;
        visitor.tensor("gains.0", TensorView::new(&[], std::slice::from_mut(&mut net.gains.0)))?;
        visitor.tensor("gains.1", TensorView::new(&[2], &mut net.gains.1))?;
        visitor.tensor("gains.last", TensorView::new(&[], std::slice::from_mut(&mut net.gains.3)))?;
        visitor.tensor("lr", TensorView::new(&[], std::slice::from_mut(&mut net.learning_rate)))?;
        visitor.tensor("empty", TensorView::new::<f32>(&[0, 4], &mut []))
    }
}

/// A visitor that sets all tensors to zero.
struct Clear;

impl TensorVisitor for Clear {
    type Error = checkpoint::TensorUnavailable;
    fn visit_tensor(&mut self, _: &str, mut tensor: TensorView<'_>) -> Result<(), Self::Error> {
        tensor.elements_mut::<f32>().into_iter().for_each(|elements| elements.fill(0.0));
        Ok(())
    }
}

#[test]
fn a_derived_state_dict_produces_the_bytes_of_a_hand_written_listing() {
    let mut original = net();
    let bytes = encode(&CONTENTS, &mut Named::new("net", &mut original));
    assert_eq!(bytes, encode(&CONTENTS, &mut Named::new("net", HandWritten(&mut original))));
    assert_eq!(original, net());

    let mut loaded = net();
    loaded.tensors(&mut Clear).unwrap();
    assert_eq!((loaded.gains.1, loaded.shared.bias), ([0.0; 2], [0.0; 2]));
    checkpoint::load(&bytes, &mut Named::new("net", &mut loaded), None).unwrap();
    assert_eq!(loaded, original);
}

#[test]
fn a_skipped_field_is_neither_saved_nor_loaded() {
    let mut other = net();
    (other.scratch, other.gains.2) = (Foreign(77), Foreign(78));
    let bytes = encode(&CONTENTS, &mut Named::new("net", net()));
    assert_eq!(bytes, encode(&CONTENTS, &mut Named::new("net", &mut other)));
    checkpoint::load(&bytes, &mut Named::new("net", &mut other), None).unwrap();
    assert_eq!((&other.scratch, &other.gains.2), (&Foreign(77), &Foreign(78)));
}

#[test]
fn a_generic_state_dict_can_be_derived() {
    #[derive(StateDict)]
    struct Generic<'a, D: StateDict, const N: usize>
    where
        D: Clone,
    {
        inner: D,
        array: [[f32; N]; 2],
        slice: &'a mut [f32],
        table: ReadOnly<'a>,
    }
    struct Listed<'a>(Generic<'a, Layer, 3>);
    impl StateDict for Listed<'_> {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.module("inner", &mut self.0.inner)?;
            visitor.tensor("array", &mut self.0.array)?;
            visitor.tensor("slice", TensorView::new(&[4], self.0.slice))?;
            visitor.visit_tensor("table", TensorView::read_only(&[1, 2], &[8.0_f32, 9.0]))
        }
    }
    let (mut first, mut second) = ([7.0; 4], [7.0; 4]);
    let table = ReadOnly { shape: &[1, 2], elements: &[8.0, 9.0] };
    let derived = Generic { inner: layer(1.0), array: [[5.0; 3]; 2], slice: &mut first, table };
    let listed = Listed(Generic { inner: layer(1.0), array: [[5.0; 3]; 2], slice: &mut second, table });
    assert_eq!(encode(&CONTENTS, &mut Named::new("m", derived)), encode(&CONTENTS, &mut Named::new("m", listed)));
}

#[test]
fn a_unit_struct_lists_nothing() {
    #[derive(StateDict, Objects)]
    struct Unit;
    struct Listed;
    impl StateDict for Listed {
        fn tensors<V: TensorVisitor>(&mut self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
    }
    assert_eq!(encode(&CONTENTS, &mut Named::new("m", Unit)), encode(&CONTENTS, &mut Named::new("m", Listed)));
    assert_eq!(checkpoint::measure(&CONTENTS, &mut Unit), Err(EncodeError::NoObjects));
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Schedule {
    warm: bool,
    rates: [f32; 2],
}

#[derive(Objects, Clone, PartialEq, Debug)]
struct Training {
    model: Net,
    #[objects(rename = "opt")]
    momentum: [[f32; 2]; 2],
    #[objects(skip)]
    clock: Foreign,
    #[objects(value)]
    rng: u64,
    #[objects(value, rename = "s")]
    schedule: Schedule,
    temperature: f32,
    #[objects(rename = "v")]
    #[objects(value)]
    version: u8,
}

fn training() -> Training {
    Training {
        model: net(),
        momentum: [[61.0, 62.0], [63.0, 64.0]],
        clock: Foreign(3),
        rng: 1 << 60,
        schedule: Schedule { warm: true, rates: [0.5, 0.25] },
        temperature: 71.0,
        version: 200,
    }
}

/// An implementation of `Objects` for [`Training`] that is written by hand.
struct HandWrittenObjects<'a>(&'a mut Training);

impl Objects for HandWrittenObjects<'_> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", &mut HandWritten(&mut self.0.model))?;
        visitor.state_dict("opt", &mut self.0.momentum)?;
        visitor.value("rng", &mut self.0.rng)?;
        visitor.value("s", &mut self.0.schedule)?;
        visitor.state_dict("temperature", &mut self.0.temperature)?;
        visitor.value("v", &mut self.0.version)
    }
}

#[test]
fn derived_objects_produce_the_bytes_of_a_hand_written_listing() {
    let mut original = training();
    let bytes = encode(&CONTENTS, &mut original);
    assert_eq!(bytes, encode(&CONTENTS, &mut HandWrittenObjects(&mut original)));

    let mut loaded = training();
    loaded.model.tensors(&mut Clear).unwrap();
    loaded.momentum = [[0.0; 2]; 2];
    (loaded.rng, loaded.temperature, loaded.version) = (0, 0.0, 0);
    loaded.schedule = Schedule { warm: false, rates: [0.0; 2] };
    loaded.clock = Foreign(99);
    checkpoint::load(&bytes, &mut loaded, None).unwrap();
    // A checkpoint does not contain the skipped field `clock`, so the field keeps its value 99 when the rest is loaded.
    assert_eq!(loaded, Training { clock: Foreign(99), ..original });
}

#[test]
fn derived_objects_have_one_stream_each() {
    let mut objects = training();
    for name in ["model", "opt", "rng", "s", "temperature", "v"] {
        let contents = Contents { single_object: Some(name), ..CONTENTS };
        let stream = encode(&contents, &mut objects);
        assert_eq!(stream, encode(&contents, &mut HandWrittenObjects(&mut training())), "{name}");
    }
    for name in ["momentum", "clock", "schedule", "version"] {
        let contents = Contents { single_object: Some(name), ..CONTENTS };
        assert_eq!(checkpoint::measure(&contents, &mut objects), Err(EncodeError::NoObjects), "{name}");
    }
}

#[test]
fn objects_of_a_tuple_struct_are_numbered() {
    #[derive(Objects)]
    struct Pair<D: StateDict>(D, #[objects(skip)] (), #[objects(value)] u16);
    struct Listed;
    impl Objects for Listed {
        fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.state_dict("0", &mut layer(1.0))?;
            visitor.value("2", &mut 300_u16)
        }
    }
    assert_eq!(encode(&CONTENTS, &mut Pair(layer(1.0), (), 300)), encode(&CONTENTS, &mut Listed));
}

#[test]
fn a_derived_name_longer_than_the_limit_is_rejected() {
    #[derive(StateDict)]
    struct Inner {
        #[state_dict(
            rename = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567\
        8901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456\
        789012345678901234567890123456789012345678901234567"
        )]
        long: f32,
    }
    #[derive(StateDict)]
    struct Fits {
        module: Inner,
    }
    #[derive(StateDict)]
    struct TooLong {
        modules: Inner,
    }
    // The name of the tensor has 248 bytes.
    let inner = || Inner { long: 1.0 };
    assert_eq!("module.".len() + 248, checkpoint::MAX_NAME);
    assert!(checkpoint::measure(&CONTENTS, &mut Named::new("m", Fits { module: inner() })).is_ok());
    let too_long = checkpoint::measure(&CONTENTS, &mut Named::new("m", TooLong { modules: inner() }));
    assert_named_error!(too_long, EncodeError::Name, "");
}
