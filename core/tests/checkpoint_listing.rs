//! Tests of the names and shapes of tensors in a checkpoint: nested arrays, nested modules, and the wrapper `Named`.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;
#[path = "common/streams.rs"]
mod streams;

use streams::encode;
use training_monitor::StateDict;
use training_monitor::checkpoint::{
    self, Contents, DecodeError, EncodeError, Inspect, MAX_NAME, Named, NestedArray, ReadOnly, Tensor, TensorView,
    TensorVisitor,
};

/// The contents of a checkpoint without score and run record.
const CONTENTS: Contents<'static> = Contents::new(0);

/// A visitor that collects the name and the shape of each tensor.
#[derive(Default)]
struct Tensors(Vec<(String, Vec<u32>)>);

impl Inspect for Tensors {
    fn tensor(&mut self, tensor: Tensor<'_>) {
        self.0.push((tensor.name.into(), tensor.shape.into()));
    }
}

/// Saves `object` and returns the names and shapes of the tensors in the checkpoint.
fn tensors_of<D: StateDict>(object: D) -> Vec<(String, Vec<u32>)> {
    let bytes = encode(&CONTENTS, &mut Named::new("m", object));
    let mut tensors = Tensors::default();
    checkpoint::inspect(&mut &bytes[..], &mut [0; 64], &mut tensors).unwrap();
    tensors.0
}

fn names_of<D: StateDict>(object: D) -> Vec<String> {
    tensors_of(object).into_iter().map(|(name, _)| name).collect()
}

/// Checks that `array` has the given shape and that its elements are in row-major order. A tensor view and a checkpoint
/// must both have this order.
fn check_array<A: NestedArray<Element = f32> + Clone>(mut array: A, shape: &[u32], last_element: fn(&A) -> f32) {
    let len: u32 = shape.iter().product();
    assert_eq!(A::SHAPE, shape);
    let mut view = TensorView::from(&mut array);
    assert_eq!((view.shape(), view.bytes().len()), (shape, 4 * len as usize));
    view.elements_mut::<f32>()
        .unwrap()
        .iter_mut()
        .zip(1_u16..)
        .for_each(|(element, number)| *element = f32::from(number));
    assert_eq!(last_element(&array), len as f32);

    /// A state dict whose only tensor is the array, with the name `w`.
    struct Only<A>(A);
    impl<A: NestedArray> StateDict for Only<A> {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.tensor("w", &mut self.0)
        }
    }
    let mut only = Named::new("m", Only(array));
    let bytes = encode(&CONTENTS, &mut only);
    assert_eq!(tensors_of(&mut only.object), [("w".to_string(), shape.to_vec())]);
    TensorView::from(&mut only.object.0).elements_mut::<f32>().unwrap().fill(0.0);
    checkpoint::load(&bytes, &mut only, None).unwrap();
    let loaded = TensorView::from(&mut only.object.0).elements::<f32>().unwrap().to_vec();
    assert_eq!(loaded, (1..=len).map(|number| number as f32).collect::<Vec<_>>());
}

#[test]
fn a_nested_array_has_the_shape_of_its_type_up_to_rank_6() {
    check_array(0.0_f32, &[], |array| *array);
    check_array([0.0_f32; 2], &[2], |array| array[1]);
    check_array([[0.0_f32; 2]; 3], &[3, 2], |array| array[2][1]);
    check_array([[[0.0_f32; 2]; 3]; 4], &[4, 3, 2], |array| array[3][2][1]);
    check_array([[[[0.0_f32; 2]; 3]; 4]; 5], &[5, 4, 3, 2], |array| array[4][3][2][1]);
    check_array([[[[[0.0_f32; 2]; 3]; 4]; 5]; 6], &[6, 5, 4, 3, 2], |array| array[5][4][3][2][1]);
    check_array([[[[[[0.0_f32; 2]; 3]; 4]; 5]; 6]; 7], &[7, 6, 5, 4, 3, 2], |array| array[6][5][4][3][2][1]);
}

#[test]
fn the_elements_of_a_nested_array_are_in_row_major_order() {
    let mut array = [[[0.0_f32; 4]; 3]; 2];
    for (index, element) in array.as_flattened_mut().as_flattened_mut().iter_mut().enumerate() {
        *element = index as f32;
    }
    assert_eq!(array[1][2], [20.0, 21.0, 22.0, 23.0]);
    assert_eq!(TensorView::from(&mut array).elements::<f32>().unwrap()[20..], [20.0, 21.0, 22.0, 23.0]);
}

#[test]
fn an_array_without_elements_is_a_tensor() {
    assert_eq!(tensors_of([[0.0_f32; 0]; 3]), [("data".to_string(), vec![3, 0])]);
    assert_eq!(tensors_of([[0.0_f32; 3]; 0]), [("data".to_string(), vec![0, 3])]);
}

#[test]
fn numbers_arrays_slices_and_references_are_named_data_or_after_their_field() {
    /// A state dict that lists its content as the field `w`.
    struct Field<D>(D);
    impl<D: StateDict> StateDict for Field<D> {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            self.0.visit_as_field("w", visitor)
        }
    }
    fn check<D: StateDict>(mut object: D, shape: &[u32]) {
        assert_eq!(tensors_of(&mut object), [("data".to_string(), shape.to_vec())]);
        assert_eq!(tensors_of(Field(&mut object)), [("w".to_string(), shape.to_vec())]);
        // The content is inside two nested modules. Each of them contributes one `w` to the joined name.
        assert_eq!(names_of(Field(Field(object))), ["w.w"]);
    }
    check(1.5_f32, &[]);
    check([1.5_f32; 2], &[2]);
    check([[1.5_f32; 2]; 3], &[3, 2]);
    check(&mut [[1.5_f32; 2]; 3], &[3, 2]);
    check(&mut [1.5_f32; 4][..], &[4]);
    check(ReadOnly { shape: &[2, 2], elements: &[1.5; 4] }, &[2, 2]);
}

/// A module that contains one tensor or one other module. The first field is the name of the module.
struct Module<'a, D>(&'a str, D);

impl<D: StateDict> StateDict for Module<'_, D> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.module(self.0, &mut self.1)
    }
}

/// A state dict with one tensor. The first field is the name of the tensor.
struct Leaf<'a>(&'a str, [f32; 2]);

impl StateDict for Leaf<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor(self.0, &mut self.1)
    }
}

#[test]
fn names_of_nested_modules_are_joined_with_dots() {
    let leaf = || Leaf("weight", [1.0, 2.0]);
    assert_eq!(names_of(leaf()), ["weight"]);
    assert_eq!(names_of(Module("conv", leaf())), ["conv.weight"]);
    assert_eq!(names_of(Module("block", Module("0", Module("conv", leaf())))), ["block.0.conv.weight"]);
    // A module whose content is an array is a single tensor. The tensor has the name of the module.
    assert_eq!(names_of(Module("conv", [1.0_f32; 2])), ["conv"]);
    let read_only = ReadOnly { shape: &[2], elements: &[1.0; 2] };
    assert_eq!(names_of(Module("a", Module("b", read_only))), ["a.b"]);
}

#[test]
fn a_nested_name_longer_than_the_limit_is_rejected_and_not_truncated() {
    let measure = |outer: &str, inner: &str, leaf: &str| {
        let module = Module(outer, Module(inner, Leaf(leaf, [1.0, 2.0])));
        checkpoint::measure(&CONTENTS, &mut Named::new("m", module)).map(|_| ())
    };
    let long = |len| "n".repeat(len);
    for (outer, inner, leaf) in [(100, 50, 103), (1, 1, 251), (251, 1, 1), (1, 251, 1)] {
        assert_eq!(outer + inner + leaf + 2, MAX_NAME);
        assert_eq!(measure(&long(outer), &long(inner), &long(leaf)), Ok(()));
        for (outer, inner, leaf) in [(outer + 1, inner, leaf), (outer, inner + 1, leaf), (outer, inner, leaf + 1)] {
            assert_named_error!(measure(&long(outer), &long(inner), &long(leaf)), EncodeError::Name, "");
        }
        // The character `é` takes two bytes in UTF-8, so the joined name exceeds the limit of 255 bytes by one.
        assert_named_error!(measure(&long(outer), &long(inner), &(long(leaf - 1) + "é")), EncodeError::Name, "");
    }
    assert_named_error!(measure(&long(500), "a", "b"), EncodeError::Name, "");
    let long_module = long(253);
    let mut read_only = Named::new("m", Module("ab", Module(&long_module, ReadOnly { shape: &[1], elements: &[1.0] })));
    assert_named_error!(checkpoint::measure(&CONTENTS, &mut read_only), EncodeError::Name, "");
    // `encode` reports the same error without an earlier call of `measure`.
    let mut model = Named::new("m", Module(&long_module, Leaf("abc", [1.0, 2.0])));
    assert_named_error!(checkpoint::encode(&mut Vec::new(), &CONTENTS, &mut model), EncodeError::Name, "");
}

/// The joined name of the inner module and the tensor exceeds 255 bytes. The outer module must reject this name and not
/// shorten it to a valid one.
#[test]
fn a_name_that_is_too_long_in_an_inner_module_is_rejected() {
    let long = "n".repeat(255);
    for (inner, leaf) in [("b", long.as_str()), (&long, "c"), (&long, &long)] {
        let mut model = Named::new("m", Module("a", Module(inner, Leaf(leaf, [1.0, 2.0]))));
        assert_named_error!(checkpoint::measure(&CONTENTS, &mut model), EncodeError::Name, "");
    }
}

#[test]
fn a_tensor_with_an_empty_name_inside_a_module_is_rejected() {
    let mut leaf = Named::new("m", Module("a", Leaf("", [1.0, 2.0])));
    assert_named_error!(checkpoint::measure(&CONTENTS, &mut leaf), EncodeError::Name, "");
}

#[test]
fn a_tensor_with_a_too_long_name_is_not_loaded_from_the_truncated_name() {
    // The name of the model's tensor has 256 bytes. The checkpoint contains a tensor whose name is the first 255 of
    // these bytes.
    let (module, leaf) = ("n".repeat(200), "w".repeat(55));
    let truncated = format!("{module}.{}", &leaf[1..]);
    assert_eq!(truncated.len(), MAX_NAME);
    let bytes = encode(&CONTENTS, &mut Named::new("m", Leaf(&truncated, [1.0, 2.0])));
    let mut model = Named::new("m", Module(&module, Leaf(&leaf, [7.0, 8.0])));
    assert!(matches!(checkpoint::load(&bytes, &mut model, None), Err(DecodeError::Unexpected { .. })));
    assert_eq!(model.object.1.1, [7.0, 8.0]);
    // A model with the name of 255 bytes loads the tensor.
    let mut model = Named::new("m", Module(&module, Leaf(&leaf[1..], [7.0, 8.0])));
    checkpoint::load(&bytes, &mut model, None).unwrap();
    assert_eq!(model.object.1.1, [1.0, 2.0]);
}

#[test]
fn the_name_of_a_module_must_be_valid_too() {
    for (name, shown) in [("a/b", "a/b"), ("a\\b", "a\\b"), ("\n", "?")] {
        let mut model = Named::new("m", Module(name, [1.0_f32; 2]));
        assert_named_error!(checkpoint::measure(&CONTENTS, &mut model), EncodeError::Name, shown);
    }
}

#[test]
fn named_dereferences_to_its_object() {
    let mut weights = [1.0_f32, 2.0];
    let mut model = Named::new("m", &mut weights);
    assert_eq!((model.len(), model[1]), (2, 2.0));
    model[1] = 5.0;
    model.reverse();
    assert_eq!(*model.object, [5.0, 1.0]);
    let bytes = encode(&CONTENTS, &mut model);
    assert_eq!(weights, [5.0, 1.0]);

    let mut owned = Named { name: "m", object: [0.0_f32; 2] };
    checkpoint::load(&bytes, &mut owned, None).unwrap();
    assert_eq!(*owned, [5.0, 1.0]);
    *owned = [3.0, 4.0];
    assert_eq!(owned.object, [3.0, 4.0]);
    // The checkpoint contains no object with the name `other`.
    owned.name = "other";
    assert_named_error!(checkpoint::load(&bytes, &mut owned, None), DecodeError::Missing, "data");
}
